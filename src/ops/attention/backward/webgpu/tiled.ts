/**
 * Attention's backward pass for GPUs: the gradients of 32 or 64 own rows stay in registers, [own][columns] += weights^T
 * [own][other] rows [other][columns], with the other side's rows staged by 16 (pairs.ts has what comes before).
 */
import { type Kernel, variants } from '../../../../runtime/webgpu/kernel';
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
} from '../../../../runtime/webgpu/kernels/product';
import type { TileCut } from '../../block-map/webgpu';
import type { ScoreShader } from '../../score/webgpu';
import { type Gradient, otherSide, type PairHook, type Side, sideOf, sumInTiles } from './gradients';
import { cutOf, OTHERS, type Pairs, pairsKernel, type Use, visitCode } from './pairs';

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
/** The most of them: with more registers would run out. */
const MOST_VECTORS = 32;

interface Variant {
  readonly own: Side;
  readonly halves: Halves;
  readonly wanted: readonly { readonly gradient: Gradient; readonly columns: Columns }[];
  readonly hook?: PairHook | undefined;
  readonly score: ScoreShader;
  readonly isSoftware: boolean;
}

const gradientsKernel = variants(({ wanted, ...variant }: Variant): Kernel => {
  const { own, halves, hook, isSoftware } = variant;
  const gradients = wanted.map(({ gradient }) => gradient);
  const terms = gradients.flatMap((gradient) => gradient.terms.map((term) => ({ gradient, ...term })));
  const pairs: Pairs = { ...variant, gradients: terms.some(({ left }) => left !== 'weight') };
  const [mine, other] = [sideOf(own, hook), otherSide(own, hook)];
  const summed = sumInTiles(hook, halves);
  const sums = wanted.flatMap(({ gradient, columns }) =>
    Array.from({ length: columns.blocks }, (_, at) => ({
      name: `${gradient.name}${at}_`,
      gradient,
      first: 64 * at,
      block: { rows: halves, columns: columns.halves } satisfies Block,
    })),
  );
  const keep = (from: string) => `weights[r * ${strideOf(halves)} + quad] = ${from};`;
  const product = ({ gradient, phase }: (typeof terms)[number]) => {
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
  // The factors of later products wait in place of the gradients and the scores.
  const waiting = (at: number) => `${['gradients', 'scores'][at - 1]}[i]`;
  const use: Use = {
    quad: terms.map(({ left }, at) => (at === 0 ? keep(left) : `${waiting(at)} = ${left};`)).join(' '),
    tile: terms
      .map((term, at) =>
        at === 0
          ? `${summed.add}${product(term)}`
          : `
    workgroupBarrier();
    for (var i = ${isSoftware ? HIDDEN_ZERO : '0u'}; i < ${4 * halves}; i++) {
      let r = 4 * (lane / 8) + i / ${halves};
      let quad = lane % 8 + 8 * (i % ${halves});
      ${keep(waiting(at))}
    }
    ${product(term)}`,
      )
      .join(''),
  };
  const groups = own === 'keys' ? '(numbers.h / numbers.repeat)' : 'numbers.h';
  return pairsKernel(pairs, gradients, {
    name: `attention backward, ${gradients.map(({ name }) => name).join(' and ')}`,
    operands: {},
    numbers: { b: 'u32' },
    body: `
fn run(task: u32, lane: u32) {
  // The owners with much work come first.
  let group = task % (numbers.b * ${groups});
  let batch = group / ${groups};
  let heads = ${own === 'keys' ? 'numbers.repeat' : '1u'};
  let first_head = group % ${groups} * heads;
  let key_head = first_head / numbers.repeat;
  let owner = owner_of(batch * numbers.h + first_head, task / (numbers.b * ${groups}));
  ${sums.map(({ name, block }) => clear(name, block)).join('\n')}
  ${summed.declare}
  for (var head = first_head; head < first_head + heads; head++) {
    let row = batch * numbers.h + head;
    ${visitCode(pairs, use)}
  }
  ${summed.store}
  ${sums
    .map(
      ({ name, gradient: { name: to, extent }, first, block, block: { columns } }) => `
  {
    var quads = array<vec4f, ${4 * halves * columns}>(${sumsOf(name, block).join(', ')});
    for (var i = ${HIDDEN_ZERO}; i < ${4 * halves * columns}u; i++) {
      let r = i / ${columns};
      let token = ${mine.slot}(owner * ${32 * halves}u + r / 4 * 32 + 4 * (lane / 8) + r % 4);
      let column = ${first}u + i % ${columns} * 32 + 4 * (lane % 8);
      if (token >= 0 && column < numbers.${extent}) {
        let at = at_${to}(batch, u32(token), ${own === 'keys' ? 'key_head' : 'first_head'}, column);
        store4_${to}(at, quads[i], numbers.${extent} - column);
      }
    }
  }`,
    )
    .join('')}
}`,
  });
});

/** A kernel for some of the gradients, and the cut of its map. */
export interface GradientsKernel {
  readonly kernel: Kernel;
  readonly cut: TileCut;
  readonly gradients: readonly Gradient[];
}

/** What matters of a device: whether it compiles for long, and whether it has too few bindings for a side's gradients together. */
type About = Readonly<Record<'isSoftware' | 'isCrowded', boolean>>;

/** The kernels for the gradients of a side: one, or one each where registers, or bindings, would not do for both. */
export function tiledGradients(
  own: Side,
  gradients: readonly Gradient[],
  extents: Readonly<Record<'d' | 'e', number>>,
  score: ScoreShader,
  about: About,
  hook?: PairHook,
): GradientsKernel[] {
  const wanted = gradients.map((gradient) => ({ gradient, columns: columnsOf(extents[gradient.extent]) }));
  const vectors = vectorsOf(wanted.map(({ columns }) => columns));
  if ((vectors > MOST_VECTORS || about.isCrowded) && gradients.length > 1)
    return gradients.flatMap((gradient) => tiledGradients(own, [gradient], extents, score, about, hook));
  const halves = 2 * vectors > MOST_VECTORS ? 1 : 2;
  const kernel = gradientsKernel({ own, halves, wanted, score, isSoftware: about.isSoftware, ...(hook && { hook }) });
  return [{ kernel, cut: cutOf({ own, halves }), gradients }];
}
