/**
 * What attention's backward kernels share: a workgroup owns 32 or 64 rows of one side (`own`) and meets tiles of 32 rows
 * of the other side (`other`). For each tile it computes, as quads of own rows for each other row in registers, the
 * weights from lse and the gradients with respect to the modified scores; `use` says what becomes of them.
 *
 *   scores[other][own] = other . own, gradients[other][own] = gradOut . values, both staged by 16 columns
 *   weight = exp(modified(scale score) - lse), gradient = weight (gradient - delta)
 *
 * delta is what `rows` has beside lse: the row's sum of out gradOut, minus gradLse.
 */
import type { Kernel } from '../../../../runtime/webgpu/kernel';
import { functions } from '../../../../runtime/webgpu/kernels/functions';
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
  sumsOf,
  TERMS,
} from '../../../../runtime/webgpu/kernels/product';
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
  type SideCode,
  sideOf,
} from './gradients';

/** Rows of the other side in a tile. */
export const OTHERS = 32;

export interface Pairs {
  readonly own: Side;
  /** Own rows over 32. */
  readonly halves: Halves;
  /** Whether gradients with respect to the scores are wanted, beside the weights. */
  readonly gradients: boolean;
  readonly hook?: PairHook | undefined;
  readonly score: ScoreShader;
  /** Whether code should be short rather than unrolled, for a device that compiles for long. */
  readonly isSoftware: boolean;
}

/** The cut of their map, which is seen from the own side. */
export const cutOf = ({ own, halves }: Pick<Pairs, 'own' | 'halves'>): TileCut =>
  own === 'keys' ? { queries: OTHERS, keys: 32 * halves } : { queries: 32 * halves, keys: OTHERS };

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** Four columns of a row's vector in a phase, from a multiple of 4 on, and zeros where there is none. */
function vectorCode(hook: PairHook | undefined, { name, tensors: [scores, weights, second] }: SideCode): string {
  const load = (tensor: string) => `{ x = load4_${tensor}(at_${tensor}(batch, row, head, near)); }`;
  const isSecond = hook && second !== scores;
  const isWeighted = weights !== 'grad_out' || (hook?.hasGradOut ?? true);
  return `
fn ${name}_vector(phase: u32, batch: u32, token: i32, head: u32, column: u32) -> vec4f {
  let extent = select(numbers.d, numbers.e, phase == 1);
  let row = u32(max(token, 0));
  let near = select(column, 0, column >= extent);
  var x: vec4f;
  ${isSecond ? `if (phase == 2) ${load(second)} else` : ''}
  ${isWeighted ? `if (phase == 1) ${load(weights)} else` : ''}
  ${load(scores)}
  return select(vec4f(), x, vec4<bool>(token >= 0) & (vec4u(column) + vec4u(0, 1, 2, 3) < vec4u(extent)));
}`;
}

/** A kernel whose `body`, after these declarations, has a `run` that says `visitCode`. */
export function pairsKernel(
  pairs: Pairs,
  gradients: readonly Gradient[],
  { name, body, ...own }: Required<Pick<Kernel, 'name' | 'operands' | 'numbers' | 'body'>>,
): Kernel {
  const { score, hook } = pairs;
  return {
    name,
    invocations: LANES,
    ...pairsOperands(score, hook, gradients, own),
    body: `
${functions(...score.functions)}
${score.modifies ? score.text : ''}
${tilesCode(cutOf(pairs))}
/// Staged rows of the other side, and of the own side or of columns.
var<workgroup> others: array<vec4f, ${TERMS * strideOf(1)}>;
var<workgroup> staged: array<vec4f, ${TERMS * strideOf(2)}>;
var<workgroup> weights: array<vec4f, ${OTHERS * strideOf(pairs.halves)}>;
/// Numbers of the queries' rows.
${rowsOf(hook)
  .map((row) => `var<workgroup> row_${row}: array<f32, 64>;`)
  .join('\n')}
${vectorCode(hook, sideOf('keys', hook))}
${vectorCode(hook, sideOf('queries', hook))}
${body}`,
  };
}

/** Where loops start that a GPU wants unrolled; short code is what a device wants that compiles for long. */
const startOf = ({ isSoftware }: Pairs) => (isSoftware ? HIDDEN_ZERO : '0u');

/** The products of the sides' rows, staged by 16 columns: scores, to s, a hook's, to u, gradients with respect to weights, to t. */
function products(pairs: Pairs): string {
  const { halves, gradients, hook } = pairs;
  const [own, other] = [sideOf(pairs.own, hook), otherSide(pairs.own, hook)];
  const block: Block = { rows: 1, columns: halves };
  const [s, t, u] = [sumsOf('s', block), sumsOf('t', block), sumsOf('u', block)];
  // The last one stays in t.
  const phases = [0, ...(hook ? [2] : []), ...(gradients ? [1] : [])];
  const row =
    ({ slot, head, name }: SideCode, first: string) =>
    (at: string, term: string) =>
      `${name}_vector(phase, batch, ${slot}(${first} + ${at}), ${head}, first + ${term})`;
  return `
    ${clear('s', block)} ${clear('t', block)} ${hook ? clear('u', block) : ''}
    for (var step = ${startOf(pairs)}; step < ${phases.length}; step++) {
      let phase = ${phases.length === 3 ? 'select(3 - step, 0, step == 0)' : hook ? '2 * step' : 'step'};
      ${t.map((sum) => `${sum} = vec4f();`).join(' ')}
      let depth = select(numbers.d, numbers.e, phase == 1);
      for (var first = 0u; first < depth; first += ${TERMS}u) {
        workgroupBarrier();
        ${stageTransposed(factorIn('others', 1), 1, startOf(pairs), row(other, `tile * ${OTHERS}u`))}
        ${stageTransposed(factorIn('staged', halves), halves, startOf(pairs), row(own, `owner * ${32 * halves}u`))}
        workgroupBarrier();
        ${multiply('t', block, factorIn('others', 1), factorIn('staged', halves))}
      }
      if (phase == 0) { ${s.map((sum, at) => `${sum} = ${t[at]};`).join(' ')} }
      ${hook ? `if (phase == 2) { ${u.map((sum, at) => `${sum} = ${t[at]};`).join(' ')} }` : ''}
    }`;
}

/** What `visitCode` hands out. */
export interface Use {
  /**
   * For each of a lane's quads i of pairs: other row `r` of the tile, own rows `4 * quad` to + 3, the weights `weight`, the
   * gradients with respect to the modified scores `gradient` and with respect to the scaled ones `by_score`, and the scaled
   * scores `score`; or what a hook makes of them.
   */
  readonly quad: string;
  /** After all quads of a tile. */
  readonly tile: string;
}

/**
 * Takes `owner` of the map's `row` (a query head of a batch; `batch`, `head`, `key_head` are in scope too) through all
 * tiles of the other side.
 */
export function visitCode(pairs: Pairs, use: Use): string {
  const { own, halves, score, gradients, hook } = pairs;
  const block: Block = { rows: 1, columns: halves };
  const quads = 4 * halves;
  const names = rowsOf(hook);
  const four = (text: (i: number) => string) => `(${range(4).map(text).join(', ')})`;
  const rowsFrom = (first: string, count: number) => `
    if (lane < ${count}u) {
      let query = query_at(${first} + lane);
      let at = ${names.length} * ((batch * numbers.n + u32(max(query, 0))) * numbers.h + head);
      let lse = load_rows(at);
      // A row that sees nothing, or is none, has no weight.
      row_lse[lane] = select(3e38, lse, query >= 0 && !(lse < -3e38));
      ${names
        .slice(1)
        .map((name, at) => `row_${name}[lane] = load_rows(at + ${at + 1});`)
        .join(' ')}
    }`;
  const ofRow = (name: string) =>
    `let ${name} = ${own === 'keys' ? `vec4f(row_${name}[r])` : `vec4f${four((i) => `row_${name}[4 * quad + ${i}]`)}`};`;
  return `
let span = span_of(row, owner);
${own === 'queries' ? rowsFrom(`owner * ${32 * halves}u`, 32 * halves) : ''}
for (var at_run = span.first; at_run < span.past; at_run++) {
  let run = run_at(at_run);
  for (var tile = run.first; tile < run.past; tile++) {
    ${own === 'keys' ? rowsFrom(`tile * ${OTHERS}u`, OTHERS) : ''}
    ${products(pairs)}
    var scores = array<vec4f, ${quads}>(${sumsOf('s', block).join(', ')});
    var gradients = array<vec4f, ${quads}>(${sumsOf('t', block).join(', ')});
    ${hook ? `var probes = array<vec4f, ${quads}>(${sumsOf('u', block).join(', ')});` : ''}
    for (var i = ${startOf(pairs)}; i < ${quads}; i++) {
      let r = 4 * (lane / 8) + i / ${halves};
      let quad = lane % 8 + 8 * (i % ${halves});
      var bits = 15u;
      if (!run.is_full) {
        ${
          own === 'keys'
            ? `let pattern = pattern_of(run, 0);
        let words = vec4u${four((c) => `seen_word(pattern, 4 * quad + ${c})`)};
        bits = dot((words >> vec4u(r)) & vec4u(1), vec4u(1, 2, 4, 8));`
            : `bits = seen_word(pattern_of(run, i % ${halves}), r) >> (4 * (lane % 8));`
        }
      }
      let score = scores[i] * numbers.scale;
      ${score.modifies ? modifyCode(pairs) : 'let modified_score = score;'}
      ${names.map(ofRow).join(' ')}
      let z = modified_score - lse;
      let is_seen = (vec4u(bits) & vec4u(1, 2, 4, 8)) != vec4u();
      let plain = select(vec4f(), select(exp(z), vec4f(), z < vec4f(-87.0)), is_seen);
      ${hook ? `let probe = probes[i]; let product = gradients[i]; ${hook.pair}` : 'let weight = plain;'}
      ${
        gradients && !hook
          ? `
      let gradient = select(weight * (gradients[i] - delta), vec4f(), weight == vec4f());
      let by_score = select(gradient * numbers.scale${score.modifies ? ' * slope' : ''}, vec4f(), weight == vec4f());`
          : ''
      }
      ${use.quad}
    }
    ${use.tile}
  }
}`;
}

/** In a loop, since a modifier may be long. Rows that do not exist keep their scores, and are of no weight. */
function modifyCode({ own, gradients, halves }: Pairs): string {
  const [mine, others] = [sideOf(own, undefined), otherSide(own, undefined)];
  const args = `score[c], batch, head, u32(${own === 'keys' ? 'other' : 'mine'}), u32(${own === 'keys' ? 'mine' : 'other'})`;
  return `
      var modified_score = score;
      var slope = vec4f();
      let other = ${others.slot}(tile * ${OTHERS}u + r);
      for (var c = ${HIDDEN_ZERO}; c < 4; c++) {
        let mine = ${mine.slot}(owner * ${32 * halves}u + 4 * quad + c);
        if (other >= 0 && mine >= 0) {
          modified_score[c] = modified(${args});
          ${gradients ? `slope[c] = modified_slope(${args});` : ''}
        }
      }`;
}
