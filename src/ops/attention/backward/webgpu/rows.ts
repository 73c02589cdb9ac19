/**
 * Attention's backward pass for adapters in software, whose registers are cheap and whose memory is not: an invocation has
 * a key, or a query, with its gradients in memory of its own, and meets the rows of the other side four at a time, at
 * addresses that are the same for all invocations. Nothing crosses invocations, and the loops over columns are short to
 * compile whatever the head dimension.
 */
import type { Kernel } from '../../../../runtime/webgpu/kernel';
import { functions } from '../../../../runtime/webgpu/kernels/functions';
import { HIDDEN_ZERO } from '../../../../runtime/webgpu/kernels/product';
import { each } from '../../../../runtime/webgpu/kernels/text';
import { tilesCode } from '../../block-map/tiles';
import type { TileCut } from '../../block-map/webgpu';
import type { ScoreShader } from '../../score/webgpu';
import {
  type Gradient,
  otherSide,
  type PairHook,
  pairsOperands,
  rowsOf,
  type Side,
  sideOf,
  sumInRows,
} from './gradients';

/** Invocations of a workgroup, each of which owns a row. */
const LANES = 8;
/** Rows of the other side in a tile, and those that are taken at once. */
const OTHERS = 16;
const BLOCK = 4;

export const rowsCutOf = (own: Side): TileCut =>
  own === 'keys' ? { queries: OTHERS, keys: LANES } : { queries: LANES, keys: OTHERS };

export interface BackwardRowsVariant {
  readonly own: Side;
  readonly gradients: readonly Gradient[];
  readonly hook?: PairHook | undefined;
  readonly score: ScoreShader;
  /** Columns that there is room for. */
  readonly d: number;
  readonly e: number;
}

const PLAIN = `
        let weight = plain;
        let by_score = select(weight * (product - delta) * slopes, vec4f(), weight == vec4f());`;

/** The gradients of a side. */
export function backwardRowsKernel({ own, gradients, hook, score, d, e }: BackwardRowsVariant): Kernel {
  const ofKeys = own === 'keys';
  const room = { d, e };
  const [mine, others] = [sideOf(own, hook), otherSide(own, hook)];
  const names = rowsOf(hook);
  const summed = sumInRows(hook);
  // In phases: the products that pairs have, with the own row's vector, and what they are called.
  const products = [
    { name: 'scores', own: 'own_scores', extent: 'd', phase: 0 },
    ...(hook ? [{ name: 'probe', own: 'own_probes', extent: 'd', phase: 2 } as const] : []),
    ...((hook?.hasGradOut ?? true) ? [{ name: 'product', own: 'own_weights', extent: 'e', phase: 1 } as const] : []),
  ] as const;
  /** An own row's vectors: those of one tensor are read once. */
  const vectorOf = ({ phase, own }: (typeof products)[number]) =>
    mine.tensors[phase] === mine.tensors[0] ? 'own_scores' : own;
  const everyOther = (line: (j: number) => string) => each(BLOCK, line);
  const pair = (query: string, key: string) => `batch, head, u32(max(${query}, 0)), u32(max(${key}, 0))`;
  const modify = (name: string) =>
    `${name}(raw[j], ${ofKeys ? pair('others[j]', 'token') : pair('token', 'others[j]')})`;
  /** A loop over the columns of the others' rows of a tensor, which are x0 to x3. */
  const columns = (tensor: string, extent: 'd' | 'e', text: string) => `
        for (var c = 0u; c < numbers.${extent}; c += 4) {
          ${everyOther((j) => `let x${j} = kept(load4_${tensor}(${tensor}_at${j} + c * numbers.${tensor}_stride3), numbers.${extent} - c);`)}
          ${text}
        }`;
  /** Such loops for all that goes over the others' rows, those of one tensor together. */
  const over = <Item extends { readonly phase: number; readonly extent: 'd' | 'e' }>(
    items: readonly Item[],
    text: (item: Item) => string,
  ) => {
    const tensors = [...new Set(items.map(({ phase }) => others.tensors[phase] as string))];
    return tensors
      .map((tensor) => {
        const found = items.filter(({ phase }) => others.tensors[phase] === tensor);
        return columns(tensor, (found[0] as Item).extent, found.map((item) => `{ ${text(item)} }`).join(' '));
      })
      .join('');
  };
  const terms = gradients.flatMap(({ name, extent, terms }) => terms.map((term) => ({ name, extent, ...term })));
  const used = [...new Set([...products, ...terms].map(({ phase }) => others.tensors[phase] as string))];
  const rowOf = (query: string) => `${names.length} * ((batch * numbers.n + u32(max(${query}, 0))) * numbers.h + head)`;
  /** A number of rows: of the four others, or of the own one. */
  const ofRows = (name: string, at: number) => {
    const number = (query: string) => `load_rows(${rowOf(query)} + ${at})`;
    return `let ${name} = vec4f(${ofKeys ? each(BLOCK, (j) => number(`others[${j}]`), ', ') : number('token')});`;
  };
  const numbersOfRows = names.map(ofRows).join(' ');
  const groups = ofKeys ? '(numbers.h / numbers.repeat)' : 'numbers.h';
  const ownVectors = [...new Map(products.map((product) => [vectorOf(product), product]))];
  return {
    name: `attention backward by rows of ${own}`,
    invocations: LANES,
    alike: true,
    ...pairsOperands(score, hook, gradients, { operands: {}, numbers: { b: 'u32' } }),
    body: `
${functions(...score.functions)}
${score.modifies ? score.text : ''}
${tilesCode(rowsCutOf(own))}
fn kept(x: vec4f, count: u32) -> vec4f { return select(vec4f(), x, vec4u(0, 1, 2, 3) < vec4u(count)); }

fn run(task: u32, lane: u32) {
  let group = task % (numbers.b * ${groups});
  let batch = group / ${groups};
  let heads = ${ofKeys ? 'numbers.repeat' : '1u'};
  let first_head = group % ${groups} * heads;
  let key_head = first_head / numbers.repeat;
  let owner = owner_of(batch * numbers.h + first_head, task / (numbers.b * ${groups}));
  let token = ${mine.slot}(owner * ${LANES} + lane);
  let row = u32(max(token, 0));
  ${ownVectors.map(([name, { extent }]) => `var ${name}: array<vec4f, ${room[extent] / 4}>;`).join(' ')}
  ${gradients.map(({ name, extent }) => `var sums_${name}: array<vec4f, ${room[extent] / 4}>;`).join(' ')}
  ${summed.declare}
  for (var head = first_head; head < first_head + heads; head++) {
    if (head == first_head) {
      ${ownVectors
        .map(([name, { extent, phase }]) => {
          const tensor = mine.tensors[phase];
          return `for (var c = 0u; c < numbers.${extent}; c += 4) {
        ${name}[c / 4] = kept(load4_${tensor}(at_${tensor}(batch, row, ${mine.head}, c)), numbers.${extent} - c);
      }`;
        })
        .join('\n')}
    }
    ${ofKeys ? '' : numbersOfRows}
    let span = span_of(batch * numbers.h + head, owner);
    for (var at_run = span.first; at_run < span.past; at_run++) {
      let run = run_at(at_run);
      let pattern = pattern_of(run, 0);
      for (var first = ${OTHERS} * run.first; first < ${OTHERS} * run.past; first += ${BLOCK}) {
        let others = vec4i(${each(BLOCK, (j) => `${others.slot}(first + ${j})`, ', ')});
        ${used.map((tensor) => everyOther((j) => `let ${tensor}_at${j} = at_${tensor}(batch, u32(max(others[${j}], 0)), ${others.head}, 0);`)).join('\n')}
        ${ofKeys ? numbersOfRows : ''}
        ${products.map(({ name }) => `var ${name} = vec4f();`).join(' ')}
        ${over(
          products,
          (product) => `
          let y = ${vectorOf(product)}[c / 4];
          ${everyOther((j) => `${product.name}[${j}] = fma(y.x, x${j}.x, fma(y.y, x${j}.y, fma(y.z, x${j}.z, fma(y.w, x${j}.w, ${product.name}[${j}]))));`)}`,
        )}
        scores *= numbers.scale;
        var slopes = vec4f(numbers.scale);
        ${
          score.modifies
            ? `
        let raw = scores;
        for (var j = ${HIDDEN_ZERO}; j < ${BLOCK}; j++) {
          scores[j] = ${modify('modified')};
          slopes[j] *= ${modify('modified_slope')};
        }`
            : ''
        }
        var is_seen = others >= vec4i(0);
        if (!run.is_full) {
          let at = first % ${OTHERS};
          ${
            ofKeys
              ? 'is_seen &= ((vec4u(seen_word(pattern, lane) >> at) & vec4u(1, 2, 4, 8)) != vec4u());'
              : `is_seen &= ((vec4u(${each(BLOCK, (j) => `seen_word(pattern, at + ${j})`, ', ')}) >> vec4u(lane)) & vec4u(1)) != vec4u();`
          }
        }
        // A row that sees nothing has no weight.
        let z = scores - select(lse, vec4f(3e38), lse < vec4f(-3e38));
        let plain = select(vec4f(), select(exp(z), vec4f(), z < vec4f(-87.0)), is_seen);
        ${hook ? hook.pair : PLAIN}
        ${summed.add}
        ${over(
          terms,
          ({ name, left }) => `
          var sum = sums_${name}[c / 4];
          ${everyOther((j) => `sum = fma(vec4f(${left}[${j}]), x${j}, sum);`)}
          sums_${name}[c / 4] = sum;`,
        )}
      }
    }
  }
  if (token >= 0) {
    ${gradients
      .map(
        ({ name, extent }) => `
    for (var c = 0u; c < numbers.${extent}; c += 4) {
      store4_${name}(at_${name}(batch, row, ${ofKeys ? 'key_head' : 'first_head'}, c), sums_${name}[c / 4], numbers.${extent} - c);
    }`,
      )
      .join('')}
    ${summed.store}
  }
}`,
  };
}
