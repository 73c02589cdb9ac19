/**
 * Attention whose weights are relu(scale q k), within blocks of tokens, and its gradients. Each is the same sum: rows x meet
 * rows y of the other side, and their weights, perhaps with the products of rows p and s, take rows z:
 *
 *   by       rows x     rows y     p        s        weight                       z
 *   out      queries    keys                         relu(scale x y)              values
 *   gradQ    queries    keys       gradOut  values   scale p s where x y has one  keys
 *   gradK    keys       queries    values   gradOut  the same                     queries
 *   gradV    keys       queries                      relu(scale x y)              gradOut
 *
 * A workgroup has a tile of rows x of one head, and a slice of the columns of z.
 */

import { type Dispatch, type Kernel, type Region, variants } from '../../runtime/webgpu/kernel';
import type { Plan } from '../../runtime/webgpu/plan';
import type { ReluAttentionBackwardCall, ReluAttentionCall, ReluAttentionProblem } from './reference';

/** Rows of a tile on either side, columns of z in a slice, inner extent of a slice; lanes by rows and columns. */
const ROWS = 32;
const WIDTH = 64;
const DEPTH = 8;
const SIDE = 8;

const repeat = (count: number, of: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => of(i)).join('\n      ');

/** Statements that leave the products of two sides' rows in `name_0` to `name_3`: a vector for each of four rows y. */
const product = (name: string, left: string, right: string, extent: string, also = '') => `
    ${repeat(4, (i) => `var ${name}_${i} = vec4f(0.0);`)}
    for (var begin = 0u; begin < ${extent}; begin += ${DEPTH}) {
      workgroupBarrier();
      ${also}
      for (var at = lane; at < ${DEPTH * SIDE}; at += ${SIDE * SIDE}) {
        let inner = begin + at % ${DEPTH};
        let quad = at / ${DEPTH};
        var ours = vec4f(0.0);
        var theirs = vec4f(0.0);
        if (inner < ${extent}) {
          ours = vec4f(${['0', '1', '2', '3'].map((i) => `load_${left}(our_row(4 * quad + ${i}) * ${extent} + inner)`).join(', ')});
          theirs = vec4f(${['0', '1', '2', '3'].map((i) => `load_${right}(their_row(first + 4 * quad + ${i}) * ${extent} + inner)`).join(', ')});
        }
        slice_x[(at % ${DEPTH}) * ${SIDE} + quad] = ours;
        slice_y[(at % ${DEPTH}) * ${SIDE} + quad] = theirs;
      }
      workgroupBarrier();
      for (var k = 0u; k < ${DEPTH}; k++) {
        let ours = slice_x[k * ${SIDE} + row_lane];
        let theirs = slice_y[k * ${SIDE} + column_lane];
        ${repeat(4, (i) => `${name}_${i} = fma(ours, vec4f(theirs[${i}]), ${name}_${i});`)}
      }
    }`;

/** The sums over a tile's rows z. A weight of 0 takes nothing, not even NaN, which only numbers that are not finite need. */
const accumulate = (isPlain: boolean) => `
      for (var c = 0u; c < ${ROWS}; c++) {
        let w = weights[c * ${SIDE} + row_lane];
        ${repeat(2, (q) => `let z_${q} = tile_z[c * ${2 * SIDE} + column_lane + ${q * SIDE}];`)}
        ${repeat(4, (i) =>
          [0, 1]
            .map((q) => {
              const next = `fma(vec4f(w[${i}]), z_${q}, sum_${i}_${q})`;
              return `sum_${i}_${q} = ${isPlain ? next : `select(${next}, sum_${i}_${q}, w[${i}] == 0.0)`};`;
            })
            .join(' '),
        )}
      }`;

const kernelFor = variants((hasGradient: boolean): Kernel => {
  const read = { access: 'read' } as const;
  return {
    name: hasGradient ? 'relu attention by scores' : 'relu attention',
    invocations: SIDE * SIDE,
    operands: {
      x: read,
      y: read,
      ...(hasGradient ? { p: read, s: read } : {}),
      z: { access: 'read', vector: true },
      out: { access: 'write', vector: true },
    },
    numbers: {
      n: 'u32',
      our_heads: 'u32',
      their_heads: 'u32',
      d: 'u32',
      e: 'u32',
      width: 'u32',
      block: 'u32',
      causal: 'u32',
      ours_are_keys: 'u32',
      share: 'u32',
      scale: 'f32',
      tiles: 'u32',
      slices: 'u32',
    } as Record<string, 'u32' | 'f32'>,
    body: `
var<workgroup> slice_x: array<vec4f, ${DEPTH * SIDE}>;
var<workgroup> slice_y: array<vec4f, ${DEPTH * SIDE}>;
var<workgroup> weights: array<vec4f, ${ROWS * SIDE}>;
var<workgroup> tile_z: array<vec4f, ${ROWS * 2 * SIDE}>;
/// Whether a tile has rows z that are not finite.
var<workgroup> unusual: atomic<u32>;

var<private> batch: u32;
var<private> head: u32;
var<private> first_token: u32;
/// Rows y of a token, and the head of the first.
var<private> repeats: u32;
var<private> their_head: u32;

fn our_row(r: u32) -> u32 { return (batch * numbers.n + first_token + r) * numbers.our_heads + head; }
fn their_row(c: u32) -> u32 {
  return (batch * numbers.n + c / repeats) * numbers.their_heads + their_head + c % repeats;
}
fn is_seen(r: u32, c: u32, end: u32) -> bool {
  let ours = first_token + r;
  let theirs = c / repeats;
  let is_late = select(theirs > ours, theirs < ours, numbers.ours_are_keys == 1);
  return c < end && ours / numbers.block == theirs / numbers.block && !(numbers.causal == 1 && is_late);
}
fn is_finite(z: vec4f) -> bool { return all((bitcast<vec4u>(z) & vec4u(0x7f800000)) != vec4u(0x7f800000)); }

fn run(task: u32, lane: u32) {
  let slice = task % numbers.slices;
  let start = ((task / numbers.slices) % numbers.tiles) * ${ROWS};
  first_token = start;
  head = (task / numbers.slices / numbers.tiles) % numbers.our_heads;
  batch = task / numbers.slices / numbers.tiles / numbers.our_heads;
  let each = select(1u, numbers.share, numbers.ours_are_keys == 1);
  repeats = each;
  their_head = select(head / numbers.share, head * numbers.share, numbers.ours_are_keys == 1);
  let row_lane = lane / ${SIDE};
  let column_lane = lane % ${SIDE};
  let last_token = min(numbers.n, start + ${ROWS}) - 1;
  var from_token = start / numbers.block * numbers.block;
  var end_token = min(numbers.n, (last_token / numbers.block + 1) * numbers.block);
  if (numbers.causal == 1) {
    if (numbers.ours_are_keys == 1) { from_token = start; } else { end_token = last_token + 1; }
  }
  let end = end_token * each;
  ${repeat(4, (i) => `var sum_${i}_0 = vec4f(0.0); var sum_${i}_1 = vec4f(0.0);`)}
  for (var first = from_token * each; first < end; first += ${ROWS}) {
    ${product('score', 'x', 'y', 'numbers.d', 'if (lane == 0) { atomicStore(&unusual, 0); }')}
    ${hasGradient ? product('by', 'p', 's', 'numbers.e') : ''}
    workgroupBarrier();
    ${repeat(4, (i) => {
      const values = hasGradient ? `numbers.scale * by_${i}` : 'scaled';
      return `{
        let c = 4 * column_lane + ${i};
        let scaled = numbers.scale * score_${i};
        var w = select(${values}, vec4f(0.0), scaled <= vec4f(0.0));
        for (var r = 0u; r < 4; r++) { if (!is_seen(4 * row_lane + r, first + c, end)) { w[r] = 0.0; } }
        weights[c * ${SIDE} + row_lane] = w;
      }`;
    })}
    for (var at = lane; at < ${ROWS * 2 * SIDE}; at += ${SIDE * SIDE}) {
      let c = first + at / ${2 * SIDE};
      let column = slice * ${WIDTH} + 4 * (at % ${2 * SIDE});
      var z = vec4f(0.0);
      if (c < end && column < numbers.width) { z = load4_z(their_row(c) * numbers.width + column); }
      if (!is_finite(z)) { atomicStore(&unusual, 1); }
      tile_z[at] = z;
    }
    workgroupBarrier();
    if (atomicLoad(&unusual) == 0) {
      ${accumulate(true)}
    } else {
      ${accumulate(false)}
    }
  }
  ${repeat(4, (i) =>
    [0, 1]
      .map((q) => `put(4 * row_lane + ${i}, slice * ${WIDTH} + 4 * (column_lane + ${q * SIDE}), sum_${i}_${q});`)
      .join(' '),
  )}
}

fn put(r: u32, column: u32, values: vec4f) {
  if (first_token + r < numbers.n && column < numbers.width) {
    store4_out(our_row(r) * numbers.width + column, values, numbers.width - column);
  }
}`,
  };
});

/** Operands of the table above; p and s where there are scores' gradients. */
interface Sides {
  readonly x: Region;
  readonly y: Region;
  readonly p?: Region;
  readonly s?: Region;
  readonly z: Region;
  readonly out: Region;
}

function dispatch(
  { q, k, v, block, causal, scale }: ReluAttentionProblem,
  sides: Sides,
  oursAreKeys: boolean,
): Dispatch {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const g = k.shape[2] as number;
  const e = v.shape[3] as number;
  const width = sides.z.shape[3] as number;
  const [ourHeads, theirHeads] = oursAreKeys ? [g, h] : [h, g];
  const tiles = Math.ceil(n / ROWS);
  const slices = Math.ceil(width / WIDTH);
  const hasGradient = sides.p !== undefined;
  return {
    kernel: kernelFor(hasGradient),
    operands: { ...sides },
    numbers: {
      n,
      our_heads: ourHeads,
      their_heads: theirHeads,
      d,
      e,
      width,
      block: Math.min(block, n),
      causal: Number(causal),
      ours_are_keys: Number(oursAreKeys),
      share: h / g,
      scale,
      tiles,
      slices,
    },
    tasks: b * ourHeads * tiles * slices,
    operations: 2 * b * n * h * Math.min(n, block + ROWS) * (slices * (hasGradient ? d + e : d) + width),
  };
}

export function planReluAttention(call: ReluAttentionCall): Plan {
  const { q, k, v, out } = call;
  return { dispatches: [dispatch(call, { x: q, y: k, z: v, out }, false)] };
}

export function planReluAttentionBackward(call: ReluAttentionBackwardCall): Plan {
  const { q, k, v, gradOut, gradQ, gradK, gradV } = call;
  return {
    dispatches: [
      dispatch(call, { x: q, y: k, p: gradOut, s: v, z: k, out: gradQ }, false),
      dispatch(call, { x: k, y: q, p: v, s: gradOut, z: q, out: gradK }, true),
      dispatch(call, { x: k, y: q, z: gradOut, out: gradV }, true),
    ],
  };
}
