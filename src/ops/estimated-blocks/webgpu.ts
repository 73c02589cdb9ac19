/** Blocks of keys by estimated scores: rows are rounded first, then a workgroup looks at all pairs of two blocks. */
import { type Dispatch, flat, type Kernel, type Region, u32s, variants } from '../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../runtime/webgpu/plan';
import { LARGEST, QUERY_GROUP } from './params';
import type { EstimatedBlocksCall } from './reference';

const LANES = 64;

/** The rows that share a scale with row `i` of the tokens: from `i` on, `next` gives one after the other, `count` for none. */
const ROUNDING = {
  queries: `
fn first_of(i: u32) -> u32 { return i - i % ${QUERY_GROUP} + i % 8; }
fn next(i: u32, other: u32) -> u32 { return select(numbers.tokens, other + 8, other % ${QUERY_GROUP} < 8); }`,
  keys: `
fn first_of(j: u32) -> u32 { let within = j % numbers.block; return j - within + within % 8 / 2 * 2; }
fn next(j: u32, other: u32) -> u32 {
  let step = select(7u, 1u, (other % numbers.block) % 2 == 0);
  let following = other + step;
  return select(numbers.tokens, following, following / numbers.block == j / numbers.block);
}`,
  token: `
fn first_of(i: u32) -> u32 { return i; }
fn next(i: u32, other: u32) -> u32 { return numbers.tokens; }`,
};

const roundKernel = variants(
  ({ group }: { group: keyof typeof ROUNDING }): Kernel => ({
    name: `rounding to four bits by ${group}`,
    invocations: LANES,
    operands: { x: { access: 'read' }, integers: { access: 'write' }, scales: { access: 'write' } },
    numbers: u32s('rows', 'tokens', 'heads', 'columns', 'block'),
    body: `${ROUNDING[group]}
fn run(task: u32, lane: u32) {
  let row = task * ${LANES} + lane;
  if (row >= numbers.rows) { return; }
  let i = row / numbers.heads % numbers.tokens;
  let base = row - i * numbers.heads;
  var largest = 0.0;
  for (var other = first_of(i); other < numbers.tokens; other = next(i, other)) {
    for (var c = 0u; c < numbers.columns; c++) {
      largest = max(largest, abs(load_x((base + other * numbers.heads) * numbers.columns + c)));
    }
  }
  let scale = largest / ${LARGEST}.0;
  store_scales(row, scale);
  for (var c = 0u; c < numbers.columns; c++) {
    let at = row * numbers.columns + c;
    store_integers(at, select(0.0, round(load_x(at) / scale), scale > 0));
  }
}`,
  }),
);

/** Products of keys with the centers: [b][h][m]. */
const biasKernel: Kernel = {
  name: 'products of keys with means of queries',
  invocations: LANES,
  operands: { center: { access: 'read' }, k: { access: 'read' }, biases: { access: 'write' } },
  numbers: u32s('size', 'm', 'h', 'g', 'd'),
  body: `
fn run(task: u32, lane: u32) {
  let at = task * ${LANES} + lane;
  if (at >= numbers.size) { return; }
  let row = at / numbers.m;
  let key = ((row / numbers.h) * numbers.m + at % numbers.m) * numbers.g + row % numbers.h * numbers.g / numbers.h;
  var sum = 0.0;
  for (var c = 0u; c < numbers.d; c++) { sum += load_center(row * numbers.d + c) * load_k(key * numbers.d + c); }
  store_biases(at, sum);
}`,
};

const READ = { access: 'read' } as const;

const blocksKernel = variants(
  ({ isRounded }: { isRounded: boolean }): Kernel => ({
    name: `blocks by ${isRounded ? 'estimated' : 'exact'} scores`,
    invocations: LANES,
    operands: {
      q: READ,
      k: READ,
      biases: READ,
      limits: READ,
      spans: READ,
      ...(isRounded && { row_scales: READ, column_scales: READ }),
      kept: { access: 'write' },
    },
    numbers: u32s('n', 'm', 'h', 'g', 'd', 'query_blocks', 'key_blocks', 'query_block', 'key_block'),
    body: `
var<workgroup> found: atomic<u32>;
fn is_above(row: u32, i: u32, block: u32) -> bool {
  let batch = row / numbers.h;
  let query = (batch * numbers.n + i) * numbers.h + row % numbers.h;
  let limit = load_limits(query);
  let past = min(min((block + 1) * numbers.key_block, numbers.m), i + numbers.m + 1 - numbers.n);
  for (var j = block * numbers.key_block; j < past; j++) {
    let key = (batch * numbers.m + j) * numbers.g + row % numbers.h * numbers.g / numbers.h;
    var sum = 0.0;
    for (var c = 0u; c < numbers.d; c++) { sum += load_q(query * numbers.d + c) * load_k(key * numbers.d + c); }
    ${isRounded ? 'sum *= load_row_scales(query) * load_column_scales(key);' : ''}
    if (sum + load_biases(row * numbers.m + j) > limit) { return true; }
  }
  return false;
}
fn run(task: u32, lane: u32) {
  let block = task % numbers.key_blocks;
  let a = task / numbers.key_blocks % numbers.query_blocks;
  let row = task / numbers.key_blocks / numbers.query_blocks;
  let estimated = u32(load_spans(2 * a));
  let seen = u32(load_spans(2 * a + 1));
  if (lane == 0) { atomicStore(&found, u32(block < seen && (block == 0 || block >= estimated))); }
  workgroupBarrier();
  if (block > 0 && block < min(estimated, seen)) {
    let past = min((a + 1) * numbers.query_block, numbers.n);
    for (var i = a * numbers.query_block + lane; i < past; i += ${LANES}) {
      if (is_above(row, i, block)) { atomicStore(&found, 1u); }
    }
  }
  workgroupBarrier();
  if (lane == 0) { store_kept(task, i32(atomicLoad(&found))); }
  workgroupBarrier();
}`,
  }),
);

export function planEstimatedBlocks(call: EstimatedBlocksCall, workspace: Workspace): Plan {
  const { q, center, k, limits, spans, queryBlock, keyBlock, quantize, kept } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const [, , query_blocks, key_blocks] = kept.shape as [number, number, number, number];
  const biases = workspace.scratch([b * h * m], 'f32');
  const dispatches: Dispatch[] = [
    {
      kernel: biasKernel,
      operands: { center: flat(center), k: flat(k), biases },
      numbers: { size: b * h * m, m, h, g, d },
      tasks: Math.ceil((b * h * m) / LANES),
      operations: 2 * b * h * m * d,
    },
  ];
  const roundedTo = (x: Region, group: keyof typeof ROUNDING, tokens: number, heads: number) => {
    const rows = b * tokens * heads;
    const [integers, scales] = [workspace.scratch([rows * d], 'f32'), workspace.scratch([rows], 'f32')];
    dispatches.push({
      kernel: roundKernel({ group }),
      operands: { x: flat(x), integers, scales },
      numbers: { rows, tokens, heads, columns: d, block: keyBlock },
      tasks: Math.ceil(rows / LANES),
      operations: 2 * rows * d * (group === 'keys' ? 1 + Math.ceil(keyBlock / 4) : 4),
    });
    return { integers, scales };
  };
  const isRounded = quantize !== 'none';
  const isThread = quantize === 'thread';
  const rows = isRounded ? roundedTo(q, isThread ? 'queries' : 'token', n, h) : undefined;
  const columns = isRounded ? roundedTo(k, isThread ? 'keys' : 'token', m, g) : undefined;
  dispatches.push({
    kernel: blocksKernel({ isRounded }),
    operands: {
      q: rows?.integers ?? flat(q),
      k: columns?.integers ?? flat(k),
      biases,
      limits: flat(limits),
      spans: flat(spans),
      ...(rows && columns && { row_scales: rows.scales, column_scales: columns.scales }),
      kept: flat(kept),
    },
    numbers: { n, m, h, g, d, query_blocks, key_blocks, query_block: queryBlock, key_block: keyBlock },
    tasks: b * h * query_blocks * key_blocks,
    operations: 2 * b * n * h * m * d,
  });
  return { dispatches };
}
