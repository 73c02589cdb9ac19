/**
 * Attention's backward pass for adapters in software, whose registers are cheap and whose memory is not: an invocation has
 * a key, or a query, with its gradients in memory of its own, and meets the rows of the other side four at a time, at
 * addresses that are the same for all invocations. Nothing crosses invocations, and the loops over columns are short to
 * compile whatever the head dimension.
 */
import type { Kernel } from '../../../runtime/webgpu/kernel';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import { HIDDEN_ZERO } from '../../../runtime/webgpu/kernels/product';
import { each } from '../../../runtime/webgpu/kernels/text';
import { tilesCode } from '../block-map/tiles';
import { otherSide, ownSide, type Pairs, pairsOperands } from './pairs';
import type { ScoreShader } from './score';
import type { TileCut } from './tile-map';

/** Invocations of a workgroup, each of which owns a row. */
const LANES = 8;
/** Rows of the other side in a tile, and those that are taken at once. */
const OTHERS = 16;
const BLOCK = 4;

export const rowsCutOf = (own: Pairs['own']): TileCut =>
  own === 'keys' ? { queries: OTHERS, keys: LANES } : { queries: LANES, keys: OTHERS };

export interface BackwardRowsVariant {
  readonly own: Pairs['own'];
  readonly tilt?: Pairs['tilt'];
  readonly score: ScoreShader;
  /** Columns that there is room for. */
  readonly d: number;
  readonly e: number;
}

const UNTILTED = `
        let weights = plain;
        let by_scores = select(weights * (products - delta) * slopes, vec4f(), weights == vec4f());`;

const TILTED = {
  forward: 'let weights = select(vec4f(), plain * probes, is_seen);',
  gradients: `
        let weights = select(plain * (level - probes), vec4f(), plain == vec4f());
        let fall = products - mean;
        let by_scores = select(numbers.scale * (plain * (mean - delta) + weights * fall), vec4f(), plain == vec4f());
        let by_probes = select(-plain * fall, vec4f(), plain == vec4f());`,
};

/** What the owners of a side have: of Parallax gradR too, or in its forward pass what `tilted` and `level` are (backward-tiled.ts). */
const resultsOf = ({ own, tilt }: Pick<Pairs, 'own' | 'tilt'>): readonly string[] => {
  if (own === 'keys') return ['grad_v', 'grad_k'];
  return tilt === 'forward' ? ['tilted'] : tilt ? ['grad_q', 'grad_r'] : ['grad_q'];
};

/** gradK and gradV of keys, or gradQ of queries. */
export function backwardRowsKernel({ own, tilt, score, d, e }: BackwardRowsVariant): Kernel {
  const ofKeys = own === 'keys';
  const [isForward, hasGradients] = [tilt === 'forward', tilt === 'gradients'];
  const [mine, others] = [ownSide({ own }), otherSide({ own })];
  const everyOther = (line: (j: number) => string) => each(BLOCK, line);
  const pair = (query: string, key: string) => `batch, head, u32(max(${query}, 0)), u32(max(${key}, 0))`;
  /** A loop over the columns of the others' rows, which are x0 to x3. */
  const columns = (name: string, at: string, extent: 'd' | 'e', text: string) => `
        for (var c = 0u; c < numbers.${extent}; c += 4) {
          ${everyOther((j) => `let x${j} = kept(load4_${name}(${at}${j} + c * numbers.${name}_stride3), numbers.${extent} - c);`)}
          ${text}
        }`;
  const sums = (memory: string, factor: string) => `
          var sum = ${memory}[c / 4];
          ${everyOther((j) => `sum = fma(vec4f(${factor}[${j}]), x${j}, sum);`)}
          ${memory}[c / 4] = sum;`;
  const products = (memory: string, product: string) => `
          let y = ${memory}[c / 4];
          ${everyOther((j) => `${product}[${j}] = fma(y.x, x${j}.x, fma(y.y, x${j}.y, fma(y.z, x${j}.z, fma(y.w, x${j}.w, ${product}[${j}]))));`)}`;
  const rowOf = (query: string) =>
    `${isForward ? 1 : tilt ? 4 : 2} * ((batch * numbers.n + u32(max(${query}, 0))) * numbers.h + head)`;
  /** A number of rows: of the four others, or of one. */
  const ofRows = (name: string, at: number, query?: string) => {
    const number = (query: string) => `load_rows(${rowOf(query)} + ${at})`;
    return `let ${name} = vec4f(${query ? number(query) : each(BLOCK, (j) => number(`others[${j}]`), ', ')}); `;
  };
  const store = (name: string, memory: string, head: string, extent: 'd' | 'e') => `
    for (var c = 0u; c < numbers.${extent}; c += 4) {
      store4_${name}(at_${name}(batch, row, ${head}, c), ${memory}[c / 4], numbers.${extent} - c);
    }`;
  const groups = ofKeys ? '(numbers.h / numbers.repeat)' : 'numbers.h';
  return {
    name: `attention backward by rows of ${own}`,
    invocations: LANES,
    ...pairsOperands(
      score,
      {
        ...Object.fromEntries(
          resultsOf({ own, tilt }).map((name) => [name, { access: 'write', rank: 4, vector: true } as const]),
        ),
        ...(isForward && { level: { access: 'write', rank: 3 } as const }),
      },
      { b: 'u32' },
      tilt,
    ),
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
  var own_scores: array<vec4f, ${d / 4}>;
  ${isForward ? 'var level = 0.0;' : `var own_weights: array<vec4f, ${e / 4}>; var sums_d: array<vec4f, ${d / 4}>;`}
  ${tilt && !ofKeys ? `var own_probes: array<vec4f, ${d / 4}>;` : ''}
  ${hasGradients && !ofKeys ? `var sums_r: array<vec4f, ${d / 4}>;` : ''}
  ${ofKeys || isForward ? `var sums_e: array<vec4f, ${e / 4}>;` : ''}
  for (var head = first_head; head < first_head + heads; head++) {
    if (head == first_head) {
      for (var c = 0u; c < numbers.d; c += 4) {
        own_scores[c / 4] = kept(load4_${mine.scores}(at_${mine.scores}(batch, row, ${mine.head}, c)), numbers.d - c);
      }
      ${tilt && !ofKeys ? 'for (var c = 0u; c < numbers.d; c += 4) { own_probes[c / 4] = kept(load4_r(at_r(batch, row, head, c)), numbers.d - c); }' : ''}
      ${
        isForward
          ? ''
          : `for (var c = 0u; c < numbers.e; c += 4) {
        own_weights[c / 4] = kept(load4_${mine.weights}(at_${mine.weights}(batch, row, ${mine.head}, c)), numbers.e - c);
      }`
      }
    }
    ${ofKeys ? '' : ofRows('lse', 0, 'token')} ${isForward || ofKeys ? '' : ofRows('delta', 1, 'token')}
    ${hasGradients && !ofKeys ? ofRows('level', 2, 'token') + ofRows('mean', 3, 'token') : ''}
    let span = span_of(batch * numbers.h + head, owner);
    for (var at_run = span.first; at_run < span.past; at_run++) {
      let run = run_at(at_run);
      let pattern = pattern_of(run, 0);
      for (var first = ${OTHERS} * run.first; first < ${OTHERS} * run.past; first += ${BLOCK}) {
        let others = vec4i(${each(BLOCK, (j) => `${others.slot}(first + ${j})`, ', ')});
        ${tilt && ofKeys ? everyOther((j) => `let r_at${j} = at_r(batch, u32(max(others[${j}], 0)), head, 0);`) : ''}
        ${everyOther((j) => `let s_at${j} = at_${others.scores}(batch, u32(max(others[${j}], 0)), ${others.head}, 0); let w_at${j} = at_${others.weights}(batch, u32(max(others[${j}], 0)), ${others.head}, 0);`)}
        ${ofKeys ? ofRows('lse', 0) + ofRows('delta', 1) : ''} ${hasGradients && ofKeys ? ofRows('level', 2) + ofRows('mean', 3) : ''}
        ${tilt ? 'var probes = vec4f();' : ''}
        var scores = vec4f();
        var products = vec4f();
        ${columns(others.scores, 's_at', 'd', `{ ${products('own_scores', 'scores')} } ${tilt && !ofKeys ? products('own_probes', 'probes') : ''}`)}
        ${tilt && ofKeys ? columns('r', 'r_at', 'd', products('own_scores', 'probes')) : ''}
        ${isForward ? '' : columns(others.weights, 'w_at', 'e', products('own_weights', 'products'))}
        scores *= numbers.scale;
        var slopes = vec4f(numbers.scale);
        ${
          score.modifies
            ? `
        let raw = scores;
        for (var j = ${HIDDEN_ZERO}; j < ${BLOCK}; j++) {
          scores[j] = modified(raw[j], ${ofKeys ? pair('others[j]', 'token') : pair('token', 'others[j]')});
          slopes[j] *= modified_slope(raw[j], ${ofKeys ? pair('others[j]', 'token') : pair('token', 'others[j]')});
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
        let z = scores - ${isForward ? 'select(lse, vec4f(3e38), lse < vec4f(-3e38))' : 'lse'};
        let plain = select(vec4f(), select(exp(z), vec4f(), z < vec4f(-87.0)), is_seen);
        ${tilt ? TILTED[tilt] : UNTILTED}
        ${ofKeys || isForward ? columns(others.weights, 'w_at', 'e', sums('sums_e', 'weights')) : ''}
        ${isForward ? 'level += dot(weights, vec4f(1));' : columns(others.scores, 's_at', 'd', `{ ${sums('sums_d', 'by_scores')} } ${hasGradients && !ofKeys ? sums('sums_r', 'by_probes') : ''}`)}
        ${hasGradients && ofKeys ? columns('r', 'r_at', 'd', sums('sums_d', 'by_probes')) : ''}
      }
    }
  }
  if (token >= 0) {
    ${ofKeys ? store('grad_v', 'sums_e', 'key_head', 'e') + store('grad_k', 'sums_d', 'key_head', 'd') : ''}
    ${isForward ? `${store('tilted', 'sums_e', 'first_head', 'e')} store_level(at_level(batch, row, first_head), level);` : ''}
    ${ofKeys || isForward ? '' : store('grad_q', 'sums_d', 'first_head', 'd')}
    ${hasGradients && !ofKeys ? store('grad_r', 'sums_r', 'first_head', 'd') : ''}
  }
}`,
  };
}
