/**
 * What attention's backward kernels share: a workgroup owns 32 or 64 rows of one side (`own`) and meets tiles of 32 rows
 * of the other side (`other`). For each tile it computes, as quads of own rows for each other row in registers, the
 * weights from lse and the gradients by the modified scores; `use` says what becomes of them.
 *
 *   scores[other][own] = other . own, gradients[other][own] = gradOut . values, both staged by 16 columns
 *   weight = exp(modified(scale score) - lse), gradient = weight (gradient - delta)
 *
 * delta is what `rows` has beside lse: the row's sum of out gradOut, minus gradLse.
 */
import type { Kernel, OperandSpec } from '../kernel';
import type { TileCut } from '../tile-map';
import { functions } from './functions';
import {
  type Block,
  clear,
  factorIn,
  type Halves,
  HIDDEN_ZERO,
  LANES,
  multiply,
  stageTransposed,
  strideOf,
  TERMS,
} from './product';
import type { ScoreShader } from './score';
import { TILES, tilesCode } from './tiles';

/** Rows of the other side in a tile. */
export const OTHERS = 32;

export interface Pairs {
  readonly own: 'queries' | 'keys';
  /** Own rows over 32. */
  readonly halves: Halves;
  /** Whether gradients by the scores are wanted, beside the weights. */
  readonly gradients: boolean;
  readonly score: ScoreShader;
  /** Whether code should be short rather than unrolled, for a device that compiles for long. */
  readonly isSoftware: boolean;
}

/** The cut of their map, which is seen from the own side. */
export const cutOf = ({ own, halves }: Pick<Pairs, 'own' | 'halves'>): TileCut =>
  own === 'keys' ? { queries: OTHERS, keys: 32 * halves } : { queries: 32 * halves, keys: OTHERS };

/** A side's slots and tensors. */
const SIDES = {
  keys: { slot: 'key_at', head: 'key_head', scores: 'k', weights: 'v' },
  queries: { slot: 'query_at', head: 'head', scores: 'q', weights: 'grad_out' },
} as const;

export const ownSide = ({ own }: Pick<Pairs, 'own'>) => SIDES[own];
export const otherSide = ({ own }: Pick<Pairs, 'own'>) => SIDES[own === 'keys' ? 'queries' : 'keys'];

/** The products [other][own] of a lane. */
const pairsBlock = ({ halves }: Pick<Pairs, 'halves'>): Block => ({ rows: 1, columns: halves });

/** Each other row r of a lane with each of its quads q of own rows: names of scores or weights, and of gradients. */
export function eachQuad(
  { halves }: Pick<Pairs, 'halves'>,
  text: (at: { r: number; q: number; i: number; s: string; t: string }) => string,
): string {
  return range(4)
    .flatMap((r) => range(halves).map((q) => text({ r, q, i: r * halves + q, s: `s${r}_${q}`, t: `t${r}_${q}` })))
    .join('\n');
}

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** The row of `text` columns from a multiple of 4 on, and zeros where there is none. */
const vectorCode = (name: string, extent: 'd' | 'e') => `
fn vector_${name}(batch: u32, token: i32, head: u32, column: u32) -> vec4f {
  let x = load4_${name}(at_${name}(batch, u32(max(token, 0)), head, select(column, 0, column >= numbers.${extent})));
  let columns = vec4u(column) + vec4u(0, 1, 2, 3);
  return select(vec4f(), x, vec4<bool>(token >= 0) & (columns < vec4u(numbers.${extent})));
}`;

const operand: OperandSpec = { access: 'read', rank: 4, vector: true };

/** A kernel whose `body`, after these declarations, has a `run` that says `visitCode`. */
export function pairsKernel(
  pairs: Pairs,
  kernel: Pick<Kernel, 'name' | 'operands' | 'body'> & { readonly numbers?: NonNullable<Kernel['numbers']> },
): Kernel {
  const { score } = pairs;
  return {
    name: kernel.name,
    invocations: LANES,
    operands: {
      ...{ q: operand, k: operand, v: operand, grad_out: operand },
      ...{ rows: { access: 'read' }, map: TILES.operand },
      ...score.operands,
      ...kernel.operands,
    },
    numbers: {
      ...{ n: 'u32', h: 'u32', repeat: 'u32', d: 'u32', e: 'u32', scale: 'f32' },
      ...TILES.numbers,
      ...score.numbers,
      ...kernel.numbers,
    },
    body: `
${functions(...score.functions)}
${score.modifies ? score.text : ''}
${tilesCode(cutOf(pairs))}
/// Staged rows of the other side, and of the own side or of columns.
var<workgroup> others: array<vec4f, ${TERMS * strideOf(1)}>;
var<workgroup> staged: array<vec4f, ${TERMS * strideOf(2)}>;
var<workgroup> weights: array<vec4f, ${OTHERS * strideOf(pairs.halves)}>;
${(['q', 'k'] as const).map((name) => vectorCode(name, 'd')).join('')}
${(['v', 'grad_out'] as const).map((name) => vectorCode(name, 'e')).join('')}
${kernel.body}`,
  };
}

/** Adds the products of a side's rows, staged by 16 columns. */
function product(name: 's' | 't', tensors: 'scores' | 'weights', pairs: Pairs): string {
  const { halves } = pairs;
  const [own, other] = [ownSide(pairs), otherSide(pairs)];
  const block = pairsBlock(pairs);
  const start = pairs.isSoftware ? HIDDEN_ZERO : '0u';
  return `
  ${clear(name, block)}
  for (var first = 0u; first < numbers.${tensors === 'scores' ? 'd' : 'e'}; first += ${TERMS}u) {
    workgroupBarrier();
    ${stageTransposed(factorIn('others', 1), 1, start, (row, term) => `vector_${other[tensors]}(batch, ${other.slot}(tile * ${OTHERS}u + ${row}), ${other.head}, first + ${term})`)}
    ${stageTransposed(factorIn('staged', halves), halves, start, (row, term) => `vector_${own[tensors]}(batch, ${own.slot}(owner * ${32 * halves}u + ${row}), ${own.head}, first + ${term})`)}
    workgroupBarrier();
    ${multiply(name, block, factorIn('others', 1), factorIn('staged', halves))}
  }`;
}

/**
 * Takes `owner` of the map's `row` (a query head of a batch; `batch`, `head`, `key_head` are in scope too) through all
 * tiles of the other side; `use` then finds the weights in s, and the gradients by the modified scores in t.
 */
export function visitCode(pairs: Pairs, use: string): string {
  const { own, halves, score } = pairs;
  const [mine, others] = [ownSide(pairs), otherSide(pairs)];
  const ownSlot = (q: number | string) => `owner * ${32 * halves}u + 4 * (lane % 8 + 8 * ${q})`;
  const rowAt = (query: string) => `2 * ((batch * numbers.n + u32(max(${query}, 0))) * numbers.h + head)`;
  const four = (text: (i: number) => string) => `(${range(4).map(text).join(', ')})`;
  return `
let span = span_of(row, owner);
${range(halves)
  .map((q) => `let own${q} = vec4i${four((i) => `${mine.slot}(${ownSlot(q)} + ${i})`)};`)
  .join('\n')}
${
  own === 'queries'
    ? range(halves)
        .map(
          (q) => `
let lse${q} = vec4f${four((i) => `load_rows(${rowAt(`own${q}[${i}]`)})`)};
let delta${q} = vec4f${four((i) => `load_rows(${rowAt(`own${q}[${i}]`)} + 1)`)};`,
        )
        .join('')
    : ''
}
for (var at_run = span.first; at_run < span.past; at_run++) {
  let run = run_at(at_run);
  ${eachQuad(pairs, ({ r, q }) => `var seen${r}_${q} = 15u;`)}
  if (!run.is_full) {
    ${
      own === 'keys'
        ? `let pattern = pattern_of(run, 0);
    ${range(halves)
      .map(
        (q) =>
          `let word${q} = vec4u${four((i) => `seen_word(pattern, 4 * (lane % 8 + ${8 * q}) + ${i})`)} >> vec4u(4 * (lane / 8));`,
      )
      .join('\n')}
    ${eachQuad(pairs, ({ r, q }) => `seen${r}_${q} = dot((word${q} >> vec4u(${r})) & vec4u(1), vec4u(1, 2, 4, 8));`)}`
        : `${range(halves)
            .map((q) => `let pattern${q} = pattern_of(run, ${q});`)
            .join('\n')}
    ${eachQuad(pairs, ({ r, q }) => `seen${r}_${q} = seen_word(pattern${q}, 4 * (lane / 8) + ${r}) >> (4 * (lane % 8));`)}`
    }
  }
  for (var tile = run.first; tile < run.past; tile++) {
    ${range(4)
      .map((r) => `let other${r} = ${others.slot}(tile * ${OTHERS}u + 4 * (lane / 8) + ${r});`)
      .join('\n')}
    ${product('s', 'scores', pairs)}
    ${pairs.gradients ? product('t', 'weights', pairs) : ''}
    ${eachQuad(pairs, ({ s }) => `${s} *= numbers.scale;`)}
    ${score.modifies ? modifyCode(pairs, ownSlot) : ''}
    ${
      own === 'keys'
        ? range(4)
            .map(
              (r) =>
                `let lse${r} = load_rows(${rowAt(`other${r}`)}); let delta${r} = load_rows(${rowAt(`other${r}`)} + 1);`,
            )
            .join('\n')
        : ''
    }
    ${eachQuad(pairs, ({ r, q, i, s, t }) => {
      const row = own === 'keys' ? r : q;
      const queries = own === 'keys' ? `vec4i(other${r})` : `own${q}`;
      return `
    {
      let seen = ((vec4u(seen${r}_${q}) & vec4u(1, 2, 4, 8)) != vec4u()) & (${queries} >= vec4i(0));
      let z = ${score.modifies ? `modified_scores[${i}]` : s} - lse${row};
      ${s} = select(vec4f(), select(exp(z), vec4f(), z < vec4f(-87.0)), seen);
      ${pairs.gradients ? `${t} = select(${s} * (${t} - delta${row}), vec4f(), ${s} == vec4f());` : ''}
    }`;
    })}
    ${use}
  }
}`;
}

/** In a loop, since a modifier may be long: the scores, what they become and by what slope, by quad. */
function modifyCode(pairs: Pairs, ownSlot: (q: string) => string): string {
  const { own, halves } = pairs;
  const quads = 4 * halves;
  const [mine, others] = [ownSide(pairs), otherSide(pairs)];
  const args = `batch, head, u32(${own === 'keys' ? 'other' : 'mine'}), u32(${own === 'keys' ? 'mine' : 'other'})`;
  return `
    var raw_scores = array<vec4f, ${quads}>(${range(4)
      .flatMap((r) => range(halves).map((q) => `s${r}_${q}`))
      .join(', ')});
    var modified_scores: array<vec4f, ${quads}>;
    var slopes: array<vec4f, ${quads}>;
    for (var i = ${HIDDEN_ZERO}; i < ${4 * quads}u; i++) {
      let other = ${others.slot}(tile * ${OTHERS}u + 4 * (lane / 8) + i / ${4 * halves}u);
      let mine = ${mine.slot}(${ownSlot(`(i / 4 % ${halves}u)`)} + i % 4);
      if (other >= 0 && mine >= 0) {
        let score = raw_scores[i / 4][i % 4];
        modified_scores[i / 4][i % 4] = modified(score, ${args});
        ${pairs.gradients ? `slopes[i / 4][i % 4] = modified_slope(score, ${args});` : ''}
      }
    }`;
}
