/** Keys and rows of local linear attention on a GPU: what keys have in common, rows as vectors of a tile, and back. */
import { LARGEST_HEAD } from '../../../runtime/cpu/params';
import { type Kernel, u32s } from '../../../runtime/webgpu/kernel';
import { CHUNK, READ, tileKernel, WRITE } from './tile';

/** Keys that tell what all have in common (pack.as.ts says why). */
const SAMPLES = 16;

/**
 * For some keys of a head: the keys less what all have in common, their largest squared norm then, and the first at which a
 * value of each column is no number.
 */
export const chunkKernel: Kernel = {
  name: 'local linear attention: keys and extremes',
  invocations: CHUNK,
  operands: {
    k: { access: 'read', rank: 4 },
    v: { access: 'read', rank: 4 },
    keys: WRITE,
    common: WRITE,
    largest: WRITE,
    bad: WRITE,
  },
  numbers: u32s('m', 'd', 'e', 'key_heads', 'chunks'),
  body: `
var<workgroup> norms: array<f32, ${CHUNK}>;
var<workgroup> shared_part: array<f32, ${LARGEST_HEAD}>;
fn run(task: u32, lane: u32) {
  let group = task / numbers.chunks;
  let batch = group / numbers.key_heads;
  let head = group % numbers.key_heads;
  let first = task % numbers.chunks * ${CHUNK};
  for (var c = lane; c < numbers.d; c += ${CHUNK}) {
    var least = load_k(at_k(batch, 0, head, c));
    var most = least;
    for (var i = 1u; i < ${SAMPLES}; i++) {
      let x = load_k(at_k(batch, i * (numbers.m - 1) / ${SAMPLES - 1}, head, c));
      least = min(least, x);
      most = max(most, x);
    }
    let part = max(0.0, least) + min(0.0, most);
    shared_part[c] = part;
    if (first == 0) { store_common(group * numbers.d + c, part); }
  }
  workgroupBarrier();
  let key = first + lane;
  var norm = 0.0;
  if (key < numbers.m) {
    for (var c = 0u; c < numbers.d; c++) {
      let x = load_k(at_k(batch, key, head, c)) - shared_part[c];
      store_keys(((batch * numbers.m + key) * numbers.key_heads + head) * numbers.d + c, x);
      norm = fma(x, x, norm);
    }
  }
  norms[lane] = norm;
  workgroupBarrier();
  if (lane == 0) {
    for (var i = 1u; i < ${CHUNK}; i++) { norm = max(norm, norms[i]); }
    store_largest(task, norm);
  }
  for (var c = lane; c < numbers.e; c += ${CHUNK}) {
    var found = numbers.m;
    for (var i = 0u; i < ${CHUNK} && first + i < numbers.m; i++) {
      let bits = bitcast<u32>(load_v(at_v(batch, first + i, head, c)));
      if ((bits & 0x7f800000) == 0x7f800000) { found = first + i; break; }
    }
    store_bad(task * numbers.e + c, f32(found));
  }
}`,
};

/** Vectors of rows into tensors: scale times sums with keys from their means, plus another vector; and that by itself. */
export const queriesKernel = tileKernel({
  name: 'gradient of queries',
  of: 'tile',
  operands: { sums: READ, vector: READ, means: READ, common: READ, state: READ, out: WRITE, second: WRITE },
  numbers: { scale: 'f32' },
  run: `
  if (i >= numbers.n) { return; }
  let to = ((tile.batch * numbers.n + i) * numbers.h + tile.head) * numbers.d;
  let total = load_state(total_at(row));
  let expected = load_state(sum_at(row));
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let mean = load_means(at);
    let sum = fma(-total, mean, load_sums(at)) + expected * (mean + load_common(tile.group * numbers.d + c));
    store_out(to + c, fma(numbers.scale, sum, load_vector(at)));
    store_second(to + c, load_vector(at));
  }`,
});

/** A vector of rows from a tensor [b, n, h, columns]. */
export const loadKernel = tileKernel({
  name: 'rows to vectors',
  of: 'tile',
  rows: { x: 'elements' },
  operands: { vector: WRITE, live: WRITE },
  run: `
  for (var c = 0u; c < numbers.x_own; c++) {
    store_vector(vector_of(tile, numbers.x_own, c) + lane, element_x(tile.batch, i, i < numbers.n, tile.head, c));
  }
  if (lane == 0) { store_live(task, 1.0); }`,
});
