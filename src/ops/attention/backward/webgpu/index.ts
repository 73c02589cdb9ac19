/**
 * Attention's backward pass in O(n) memory: the weights are computed again from lse.
 *
 * One kernel takes tiles of keys through the queries that see them, for gradK and gradV, another one tiles of queries
 * through the keys that they see, for gradQ. So each sum has one owner, who adds in a fixed order, without atomic
 * operations, and without a sum of gradQ for each part of the keys, of which a GPU has many; the price is seven products of a
 * pair instead of five.
 */

import { partOf, type Steps } from '../../../../runtime/turns';
import { type Dispatch, type Kernel, type Region, variants } from '../../../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../../../runtime/webgpu/plan';
import { tilesOf } from '../../block-map/tiles';
import { tileMap } from '../../block-map/webgpu';
import type { AttentionBackwardCall } from '../../call';
import { extentsOf } from '../../cpu';
import { widthsOf } from '../../forward/webgpu';
import { scoreCode, scoreOperands } from '../../score/webgpu';
import { type AttentionSizes, sizesOf } from '../../webgpu/sizes';
import { GRADIENTS, type PairHook, rowsOf } from './gradients';
import { backwardRowsKernel, rowsCutOf } from './rows';
import { planTables } from './tables';
import { type GradientsKernel, tiledGradients } from './tiled';

export const rowsGradients = variants(backwardRowsKernel);

/** Tensors of a kernel that has both gradients of keys, beside the score's. */
const BINDINGS = 8;

const ROWS_INVOCATIONS = 64;

/** Where another op joins in: what it makes of pairs, and what it has of a call. */
export interface BackwardHook {
  readonly pairs: PairHook;
  readonly gradients: typeof GRADIENTS;
  /** The regions of its operands and gradients. */
  readonly regions: Readonly<Record<string, Region>>;
  /** WGSL for further numbers of each row, from number 2 on: `sums` go over the columns of `gradient`. */
  readonly rows: {
    readonly operands: Kernel['operands'];
    readonly declare: string;
    readonly add: string;
    readonly store: string;
  };
}

const NO_ROWS: BackwardHook['rows'] = { operands: {}, declare: '', add: '', store: '' };

/** Numbers of each row of [b, n, h]: lse, its sum of out gradOut, minus gradLse, and a hook's. */
const rowsKernel = variants(
  ({ hasGradLse, more, length }: { hasGradLse: boolean; more: BackwardHook['rows']; length: number }): Kernel => ({
    name: 'attention backward, rows',
    invocations: ROWS_INVOCATIONS,
    operands: {
      out: { access: 'read', rank: 4, vector: true },
      grad_out: { access: 'read', rank: 4, vector: true },
      lse: { access: 'read' },
      ...(hasGradLse && { grad_lse: { access: 'read' } as const }),
      ...more.operands,
      rows: { access: 'write' },
    },
    numbers: { n: 'u32', h: 'u32', e: 'u32', count: 'u32' },
    body: `
fn run(task: u32, lane: u32) {
  let row = task * ${ROWS_INVOCATIONS} + lane;
  if (row >= numbers.count) { return; }
  let batch = row / (numbers.n * numbers.h);
  let query = row / numbers.h % numbers.n;
  let head = row % numbers.h;
  var sum = vec4f();
  ${more.declare}
  for (var c = 0u; c < numbers.e; c += 4) {
    let is_there = vec4u(c) + vec4u(0, 1, 2, 3) < vec4u(numbers.e);
    let gradient = load4_grad_out(at_grad_out(batch, query, head, c));
    sum += select(vec4f(), load4_out(at_out(batch, query, head, c)) * gradient, is_there);
    ${more.add}
  }
  // Every weight of a row that sees nothing is to be 0.
  let lse = load_lse(row);
  let at = ${length} * row;
  ${more.store}
  store_rows(at, select(lse, 3e38, lse < -3e38));
  store_rows(at + 1, sum.x + sum.y + sum.z + sum.w${hasGradLse ? ' - load_grad_lse(row)' : ''});
}`,
  }),
);

export function* planAttentionBackward(
  call: AttentionBackwardCall,
  workspace: Workspace,
  hook?: BackwardHook,
): Steps<Plan> {
  const { q, k, v, out, lse, gradOut, gradLse, gradQ, gradK, gradV, mask, score } = call;
  const extents = extentsOf(call);
  const { b, n, m, h, g, d, e } = extents;
  const { device } = workspace;
  const pairs = hook?.pairs;
  const numbersOfRow = rowsOf(pairs).length;
  const rows = workspace.scratch([b, n, h, numbersOfRow]);
  const code = scoreCode(score, extents, 'gradients');
  const regions: Readonly<Record<string, Region>> = {
    q,
    k,
    v,
    out,
    lse,
    rows,
    grad_out: gradOut,
    grad_q: gradQ,
    grad_k: gradK,
    grad_v: gradV,
    ...(gradLse && { grad_lse: gradLse }),
    ...scoreOperands(code, workspace),
    ...hook?.regions,
  };
  const operandsOf = ({ operands }: Kernel, others = regions) =>
    Object.fromEntries(Object.keys(operands).map((name) => [name, others[name] as Region]));
  const rowsOfCall = rowsKernel({
    hasGradLse: gradLse !== undefined,
    more: hook?.rows ?? NO_ROWS,
    length: numbersOfRow,
  });
  const dispatches: Dispatch[] = [
    {
      kernel: rowsOfCall,
      operands: operandsOf(rowsOfCall),
      numbers: { n, h, e, count: b * n * h },
      tasks: Math.ceil((b * n * h) / ROWS_INVOCATIONS),
      operations: 2 * b * n * h * e,
    },
  ];
  // Where the forward pass takes rows so as to compile little, so does this one.
  const operations = 2 * (d + e) * b * h * n * m;
  const { attention } = sizesOf(device);
  const sizes = attention.find(({ below = Number.POSITIVE_INFINITY }) => operations < below) as AttentionSizes;
  const { maxStorageBuffersPerShaderStage: bindings } = device.limits;
  const isCrowded = BINDINGS + Number(hook !== undefined) + Object.keys(code.shader.operands).length > bindings;
  const about = { isSoftware: device.isSoftware, isCrowded };
  // With a hook whatever the size, since with a third product the other kernels compile for long in software.
  const byRows = 'rows' in sizes && !isCrowded && (hook || sizes.below);
  const all = hook?.gradients ?? GRADIENTS;
  const kernels = (['keys', 'queries'] as const).flatMap((own) => {
    const gradients = all[own];
    const variant = { own, gradients, hook: pairs, score: code.shader, ...widthsOf(sizes, d, e) };
    const found: GradientsKernel[] = byRows
      ? [{ gradients, cut: rowsCutOf(own), kernel: rowsGradients(variant) }]
      : tiledGradients(own, gradients, { d, e }, code.shader, about, pairs);
    return found.map((kernel) => ({ own, ...kernel }));
  });
  // One more for the tables.
  const maps = kernels.length + 1;
  for (const [at, { own, kernel, cut, gradients }] of kernels.entries()) {
    const map = yield* partOf(tileMap(mask, extents, cut, own), at, maps);
    const columns = gradients.reduce((sum, { extent }) => sum + (extent === 'e' ? e : d), 0);
    dispatches.push({
      kernel,
      operands: operandsOf(kernel, { ...regions, map: tilesOf(map, workspace) }),
      numbers: { ...{ b, n, h, repeat: h / g, d, e, scale: call.scale }, ...map.numbers, ...code.numbers },
      tasks: b * (own === 'keys' ? g : h) * map.owners,
      operations: 2 * ((hook ? 2 : 1) * d + e + columns) * map.visited * cut.queries * cut.keys,
    });
  }
  const tables = yield* partOf(planTables(call, { q, k, v, grad_out: gradOut, rows }, workspace), maps - 1, maps);
  return { dispatches: [...dispatches, ...tables] };
}
