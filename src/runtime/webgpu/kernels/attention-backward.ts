/**
 * Attention's backward pass in O(n) memory: the weights are computed again from lse.
 *
 * One kernel takes tiles of keys through the queries that see them, for gradK and gradV, another one tiles of queries
 * through the keys that they see, for gradQ. So each sum has one owner, who adds in a fixed order, without atomic
 * operations, and without a sum of gradQ for each part of the keys, of which a GPU has many; the price is seven products
 * of a pair in the place of five. Gradients stay in registers: [own][columns] += weights^T [own][other] rows
 * [other][columns], staged by 16 others.
 */
import type { AttentionBackwardCall } from '../../backend';
import { type Dispatch, type Kernel, type Region, variants } from '../kernel';
import type { Plan, Workspace } from '../queue';
import { type AttentionSizes, sizesOf } from '../sizes';
import { type TileMap, tileMap } from '../tile-map';
import { widthsOf } from './attention';
import { backwardRowsKernel, rowsCutOf } from './attention-backward-rows';
import { cutOf, OTHERS, otherSide, ownSide, type Pairs, pairsKernel, type Use, visitCode } from './attention-pairs';
import {
  type Block,
  clear,
  factorIn,
  type Halves,
  HIDDEN_ZERO,
  multiply,
  stage,
  strideOf,
  sumsOf,
  TERMS,
} from './product';
import { type ScoreShader, scoreCode, scoreOperands } from './score';
import { planTables } from './table-gradients';
import { tilesOf } from './tiles';

type Gradient = 'grad_q' | 'grad_k' | 'grad_v';

/** Blocks of 64 columns, or one of 32. */
interface Columns {
  readonly blocks: number;
  readonly halves: Halves;
}

const columnsOf = (extent: number): Columns =>
  extent <= 32 ? { blocks: 1, halves: 1 } : { blocks: Math.ceil(extent / 64), halves: 2 };

/** Vectors that a lane keeps for the gradients of 32 own rows. */
const vectorsOf = (columns: readonly Columns[]) =>
  columns.reduce((sum, { blocks, halves }) => sum + 4 * blocks * halves, 0);
/** Of them at most, lest registers run out. */
const MOST_VECTORS = 32;

/** What a gradient is the product of: the weights or their gradients, and rows of the other side as in that phase. */
const PRODUCTS = {
  grad_q: { left: 'by_score', phase: 0, extent: 'd' },
  grad_k: { left: 'by_score', phase: 0, extent: 'd' },
  grad_v: { left: 'weight', phase: 1, extent: 'e' },
} as const;

interface Variant {
  readonly own: 'queries' | 'keys';
  readonly halves: Halves;
  readonly wanted: readonly { readonly gradient: Gradient; readonly columns: Columns }[];
  readonly score: ScoreShader;
  readonly isSoftware: boolean;
}

const gradientsKernel = variants(({ wanted, ...variant }: Variant): Kernel => {
  const pairs: Pairs = { ...variant, gradients: wanted.some(({ gradient }) => PRODUCTS[gradient].left === 'by_score') };
  const { own, halves, isSoftware } = pairs;
  const [mine, other] = [ownSide(pairs), otherSide(pairs)];
  const sums = wanted.flatMap(({ gradient, columns }) =>
    Array.from({ length: columns.blocks }, (_, at) => ({
      ...{ name: `${gradient}${at}_`, gradient, first: 64 * at },
      block: { rows: halves, columns: columns.halves } satisfies Block,
    })),
  );
  const factor = ({ gradient }: { readonly gradient: Gradient }) => PRODUCTS[gradient].left;
  const keep = (from: string) => `weights[r * ${strideOf(halves)} + quad] = ${from};`;
  const [firstWanted, second] = wanted as [(typeof wanted)[0], (typeof wanted)[0]?];
  const product = ({ gradient }: { readonly gradient: Gradient }) => {
    const { phase } = PRODUCTS[gradient];
    return `
    for (var half = 0u; half < ${OTHERS}u; half += ${TERMS}u) {
      ${sums
        .filter((sum) => sum.gradient === gradient)
        .map(
          ({ name, first, block }) => `
      workgroupBarrier();
      ${stage(factorIn('staged', block.columns), block.columns, (term, column) => `${other.name}_vector(${phase}, batch, ${other.slot}(tile * ${OTHERS}u + half + ${term}), ${other.head}, ${first}u + ${column})`)}
      workgroupBarrier();
      ${multiply(name, block, factorIn('weights', halves, `half * ${strideOf(halves)}`), factorIn('staged', block.columns))}`,
        )
        .join('\n')}
    }`;
  };
  // Of two products the second one's factor waits in the place of the gradients.
  const use: Use = {
    quad: keep(factor(firstWanted)) + (second ? ` gradients[i] = ${factor(second)};` : ''),
    tile: second
      ? `${product(firstWanted)}
    workgroupBarrier();
    for (var i = ${isSoftware ? HIDDEN_ZERO : '0u'}; i < ${4 * halves}; i++) {
      let r = 4 * (lane / 8) + i / ${halves};
      let quad = lane % 8 + 8 * (i % ${halves});
      ${keep('gradients[i]')}
    }
    ${product(second)}`
      : product(firstWanted),
  };
  const groups = own === 'keys' ? '(numbers.h / numbers.repeat)' : 'numbers.h';
  return pairsKernel(pairs, {
    name: `attention backward, ${wanted.map(({ gradient }) => gradient).join(' and ')}`,
    operands: Object.fromEntries(wanted.map(({ gradient }) => [gradient, { access: 'write', rank: 4, vector: true }])),
    numbers: { b: 'u32' },
    body: `
fn run(task: u32, lane: u32) {
  // The owners with the most work come first.
  let group = task % (numbers.b * ${groups});
  let batch = group / ${groups};
  let heads = ${own === 'keys' ? 'numbers.repeat' : '1u'};
  let first_head = group % ${groups} * heads;
  let key_head = first_head / numbers.repeat;
  let owner = owner_of(batch * numbers.h + first_head, task / (numbers.b * ${groups}));
  ${sums.map(({ name, block }) => clear(name, block)).join('\n')}
  for (var head = first_head; head < first_head + heads; head++) {
    let row = batch * numbers.h + head;
    ${visitCode(pairs, use)}
  }
  ${sums
    .map(
      ({ name, gradient, first, block, block: { columns } }) => `
  {
    var quads = array<vec4f, ${4 * halves * columns}>(${sumsOf(name, block).join(', ')});
    for (var i = ${HIDDEN_ZERO}; i < ${4 * halves * columns}u; i++) {
      let r = i / ${columns};
      let token = ${mine.slot}(owner * ${32 * halves}u + r / 4 * 32 + 4 * (lane / 8) + r % 4);
      let column = ${first}u + i % ${columns} * 32 + 4 * (lane % 8);
      if (token >= 0 && column < numbers.${PRODUCTS[gradient].extent}) {
        let at = at_${gradient}(batch, u32(token), ${own === 'keys' ? 'key_head' : 'first_head'}, column);
        store4_${gradient}(at, quads[i], numbers.${PRODUCTS[gradient].extent} - column);
      }
    }
  }`,
    )
    .join('')}
}`,
  });
});

const backwardRowsKernels = variants(backwardRowsKernel);

const ROWS_INVOCATIONS = 64;

/** Of each row of [b, n, h]: lse, and its sum of out gradOut, minus gradLse. */
const rowsKernel = variants(
  (hasGradLse: boolean): Kernel => ({
    name: 'attention backward, rows',
    invocations: ROWS_INVOCATIONS,
    operands: {
      out: { access: 'read', rank: 4, vector: true },
      grad_out: { access: 'read', rank: 4, vector: true },
      lse: { access: 'read' },
      ...(hasGradLse && { grad_lse: { access: 'read' } as const }),
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
  for (var c = 0u; c < numbers.e; c += 4) {
    let x = load4_out(at_out(batch, query, head, c)) * load4_grad_out(at_grad_out(batch, query, head, c));
    sum += select(vec4f(), x, vec4u(c) + vec4u(0, 1, 2, 3) < vec4u(numbers.e));
  }
  // Of a row that sees nothing every weight is to be 0.
  let lse = load_lse(row);
  store_rows(2 * row, select(lse, 3e38, lse < -3e38));
  store_rows(2 * row + 1, sum.x + sum.y + sum.z + sum.w${hasGradLse ? ' - load_grad_lse(row)' : ''});
}`,
  }),
);

export function planAttentionBackward(call: AttentionBackwardCall, workspace: Workspace): Plan {
  const { q, k, v, out, lse, gradOut, gradLse, gradQ, gradK, gradV, mask, score } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const extent = { b, n, m, h, g };
  const { device } = workspace;
  const rows = workspace.scratch([b, n, h, 2]);
  const code = scoreCode(score, extent, 'gradients');
  const given = { q, k, v, grad_out: gradOut, rows };
  const dispatches: Dispatch[] = [
    {
      kernel: rowsKernel(gradLse !== undefined),
      operands: { out, grad_out: gradOut, lse, ...(gradLse && { grad_lse: gradLse }), rows },
      numbers: { n, h, e, count: b * n * h },
      tasks: Math.ceil((b * n * h) / ROWS_INVOCATIONS),
      operations: 2 * b * n * h * e,
    },
  ];
  const results: Record<Gradient, Region> = { grad_q: gradQ, grad_k: gradK, grad_v: gradV };
  const columns = { grad_q: columnsOf(d), grad_k: columnsOf(d), grad_v: columnsOf(e) };
  const add = (own: Variant['own'], gradients: readonly Gradient[]) => {
    const vectors = vectorsOf(gradients.map((gradient) => columns[gradient]));
    if (vectors > MOST_VECTORS && gradients.length > 1) {
      for (const gradient of gradients) add(own, [gradient]);
      return;
    }
    const halves = 2 * vectors > MOST_VECTORS ? 1 : 2;
    const map = tileMap(mask, extent, cutOf({ own, halves }), own);
    const wanted = gradients.map((gradient) => ({ gradient, columns: columns[gradient] }));
    push(
      gradientsKernel({ own, halves, wanted, score: code.shader, isSoftware: device.isSoftware }),
      own,
      gradients,
      map,
    );
  };
  const push = (kernel: Kernel, own: Variant['own'], gradients: readonly Gradient[], map: TileMap) => {
    const products = d + e + gradients.reduce((sum, gradient) => sum + (gradient === 'grad_v' ? e : d), 0);
    dispatches.push({
      kernel,
      operands: {
        ...{ ...given, map: tilesOf(map, workspace), ...scoreOperands(code, workspace) },
        ...Object.fromEntries(gradients.map((gradient) => [gradient, results[gradient]])),
      },
      numbers: { ...{ b, n, h, repeat: h / g, d, e, scale: call.scale }, ...map.numbers, ...code.numbers },
      tasks: b * (own === 'keys' ? g : h) * map.owners,
      operations: 2 * products * map.visited * map.cut.queries * map.cut.keys,
    });
  };
  // Where the forward pass takes rows so as to compile little, so does this one.
  const operations = 2 * (d + e) * b * h * n * m;
  const { attention } = sizesOf(device);
  const sizes = attention.find(({ below = Number.POSITIVE_INFINITY }) => operations < below) as AttentionSizes;
  for (const [own, gradients] of [
    ['keys', ['grad_v', 'grad_k']],
    ['queries', ['grad_q']],
  ] as const) {
    if ('rows' in sizes && sizes.below) {
      const kernel = backwardRowsKernels({ own, score: code.shader, ...widthsOf(sizes, d, e) });
      push(kernel, own, gradients, tileMap(mask, extent, rowsCutOf(own), own));
    } else add(own, gradients);
  }
  return { dispatches: [...dispatches, ...planTables(call, given, workspace)] };
}
