/**
 * Attention's backward pass in O(n) memory: the weights are computed again from lse.
 *
 * One kernel takes tiles of keys through the queries that see them, for gradK and gradV, another one tiles of queries
 * through the keys that they see, for gradQ. So each sum has one owner, who adds in a fixed order, without atomic
 * operations, and without a sum of gradQ for each part of the keys, of which a GPU has many; the price is seven products
 * of a pair in the place of five.
 */

import { partOf, type Steps } from '../../../runtime/turns';
import { type Dispatch, type Kernel, type Region, variants } from '../../../runtime/webgpu/kernel';
import type { Plan, Workspace } from '../../../runtime/webgpu/plan';
import { tilesOf } from '../block-map/tiles';
import type { AttentionBackwardCall } from '../call';
import { backwardRowsKernel, rowsCutOf } from './backward-rows';
import { type Gradient, type GradientsKernel, tiledGradients } from './backward-tiled';
import { widthsOf } from './forward';
import { scoreCode, scoreOperands } from './score';
import { type AttentionSizes, sizesOf } from './sizes';
import { planTables } from './table-gradients';
import { tileMap } from './tile-map';

/** Which gradients the owners of a side have. */
const SIDES = [
  ['keys', ['grad_v', 'grad_k']],
  ['queries', ['grad_q']],
] as const;
const TILTED_SIDES = [
  ['keys', ['grad_v', 'grad_k']],
  ['queries', ['grad_q', 'grad_r']],
] as const;

export const rowsGradients = variants(backwardRowsKernel);

/** Tensors of a kernel that has both gradients of keys, beside the score's. */
const BINDINGS = 8;

const ROWS_INVOCATIONS = 64;

/**
 * Of each row of [b, n, h]: lse, and its sum of out gradOut, minus gradLse; of Parallax then 1 + level and its sum of mean
 * gradOut.
 */
const rowsKernel = variants(
  ({ hasGradLse, isTilted }: Readonly<Record<'hasGradLse' | 'isTilted', boolean>>): Kernel => ({
    name: 'attention backward, rows',
    invocations: ROWS_INVOCATIONS,
    operands: {
      out: { access: 'read', rank: 4, vector: true },
      grad_out: { access: 'read', rank: 4, vector: true },
      lse: { access: 'read' },
      ...(hasGradLse && { grad_lse: { access: 'read' } as const }),
      ...(isTilted && ({ level: { access: 'read' }, mean: { access: 'read', rank: 4, vector: true } } as const)),
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
  ${isTilted ? 'var average = vec4f();' : ''}
  for (var c = 0u; c < numbers.e; c += 4) {
    let is_there = vec4u(c) + vec4u(0, 1, 2, 3) < vec4u(numbers.e);
    let gradient = load4_grad_out(at_grad_out(batch, query, head, c));
    sum += select(vec4f(), load4_out(at_out(batch, query, head, c)) * gradient, is_there);
    ${isTilted ? 'average += select(vec4f(), load4_mean(at_mean(batch, query, head, c)) * gradient, is_there);' : ''}
  }
  // Of a row that sees nothing every weight is to be 0.
  let lse = load_lse(row);
  let at = ${isTilted ? 4 : 2} * row;
  ${isTilted ? 'store_rows(at + 2, 1 + load_level(row)); store_rows(at + 3, average.x + average.y + average.z + average.w);' : ''}
  store_rows(at, select(lse, 3e38, lse < -3e38));
  store_rows(at + 1, sum.x + sum.y + sum.z + sum.w${hasGradLse ? ' - load_grad_lse(row)' : ''});
}`,
  }),
);

export function* planAttentionBackward(call: AttentionBackwardCall, workspace: Workspace): Steps<Plan> {
  const { q, k, v, out, lse, gradOut, gradLse, gradQ, gradK, gradV, mask, score, probe } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const extent = { b, n, m, h, g };
  const { device } = workspace;
  const rows = workspace.scratch([b, n, h, probe ? 4 : 2]);
  const code = scoreCode(score, extent, 'gradients');
  const given = { q, k, v, grad_out: gradOut, rows, ...(probe && { r: probe.r }) };
  const dispatches: Dispatch[] = [
    {
      kernel: rowsKernel({ hasGradLse: gradLse !== undefined, isTilted: probe !== undefined }),
      operands: {
        ...{ out, grad_out: gradOut, lse, ...(gradLse && { grad_lse: gradLse }), rows },
        ...(probe && { level: probe.level, mean: probe.mean }),
      },
      numbers: { n, h, e, count: b * n * h },
      tasks: Math.ceil((b * n * h) / ROWS_INVOCATIONS),
      operations: 2 * b * n * h * e,
    },
  ];
  const results: Partial<Record<Gradient, Region>> = {
    ...{ grad_q: gradQ, grad_k: gradK, grad_v: gradV },
    ...(probe && { grad_r: probe.gradR }),
  };
  // Where the forward pass takes rows so as to compile little, so does this one.
  const operations = 2 * (d + e) * b * h * n * m;
  const { attention } = sizesOf(device);
  const sizes = attention.find(({ below = Number.POSITIVE_INFINITY }) => operations < below) as AttentionSizes;
  const { maxStorageBuffersPerShaderStage: bindings } = device.limits;
  const isCrowded = BINDINGS + (probe ? 1 : 0) + Object.keys(code.shader.operands).length > bindings;
  const about = { isSoftware: device.isSoftware, isCrowded };
  // Of Parallax whatever the size, since with a third product the other kernels compile for long in software.
  const byRows = 'rows' in sizes && !isCrowded && (probe || sizes.below);
  const tilt = probe && ('gradients' as const);
  const kernels = (probe ? TILTED_SIDES : SIDES).flatMap(([own, gradients]) => {
    const found: GradientsKernel[] = byRows
      ? [
          {
            gradients,
            cut: rowsCutOf(own),
            kernel: rowsGradients({ own, tilt, score: code.shader, ...widthsOf(sizes, d, e) }),
          },
        ]
      : tiledGradients(own, gradients, { d, e }, code.shader, about, tilt);
    return found.map((kernel) => ({ own, ...kernel }));
  });
  // One more for the tables.
  const maps = kernels.length + 1;
  for (const [at, { own, kernel, cut, gradients }] of kernels.entries()) {
    const map = yield* partOf(tileMap(mask, extent, cut, own), at, maps);
    const products =
      (probe ? 2 : 1) * d + e + gradients.reduce((sum, gradient) => sum + (gradient === 'grad_v' ? e : d), 0);
    dispatches.push({
      kernel,
      operands: {
        ...{ ...given, map: tilesOf(map, workspace), ...scoreOperands(code, workspace) },
        ...Object.fromEntries(gradients.map((gradient) => [gradient, results[gradient] as Region])),
      },
      numbers: { ...{ b, n, h, repeat: h / g, d, e, scale: call.scale }, ...map.numbers, ...code.numbers },
      tasks: b * (own === 'keys' ? g : h) * map.owners,
      operations: 2 * products * map.visited * cut.queries * cut.keys,
    });
  }
  const tables = yield* partOf(planTables(call, given, workspace), maps - 1, maps);
  return { dispatches: [...dispatches, ...tables] };
}
