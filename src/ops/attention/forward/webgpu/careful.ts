/** Marks the rows of a tile of which `value` is NaN, in `marks`, and ends where there are none. */
export const markNaN = (value: string): string => `for (var r = lane; r < TILE; r += ${INVOCATIONS}u) {
    let query = query_at(place.tile * TILE + r);
    marks[r] = 0;
    if (query >= 0) { marks[r] = select(0u, 1u, is_nan(${value})); }
  }
  workgroupBarrier();
  if (lane == 0) {
    var marked = 0u;
    for (var r = 0u; r < TILE; r++) { marked += marks[r]; }
    count = marked;
  }
  if (workgroupUniformLoad(&count) == 0) { return; }`;

/**
 * Attention as in the definition, whatever its numbers: infinities, NaN and overflow take their course, and what a query does
 * not see has no part in it. For rows of which a fast kernel found that it cannot tell: `carefulKernel` takes those that one
 * marked by an lse that is NaN, one after the other; where a tile has none its workgroup ends at once. Attention of few
 * queries does it itself, part by part.
 *
 * A score that overflows is computed again from inputs times 2^-69, where nothing does. Scores of that size differ by so
 * much, if at all, that the largest takes all the weight.
 */
import { type Kernel, variants } from '../../../../runtime/webgpu/kernel';
import { type AttentionVariant, attentionKernel, INPUTS, RESULTS } from '../../webgpu/common';
import { TENSORS } from '../../webgpu/sources';

export const INVOCATIONS = 64;

/** `careful_result`, and what else there is to say of sums. */
export const resultCode = (isModified: boolean) => `
const SMALLER = 1.6940658945086007e-21;
/// 2^69, of which compilers cannot make 2^138.
fn larger() -> f32 { return bitcast<f32>(bitcast<u32>(numbers.infinity) - (59u << 23)); }
/// What a row's scores are.
const SEEN = 1u;
const NAN = 2u;
const INFINITE = 4u;
const FINITE = 8u;
const BEYOND = 16u;

/// The kinds of scores, the largest finite one and the largest beyond, the sum of weights, and of values, also 2^69 times smaller.
struct Sums { kind: u32, most: vec2f, sum: f32, x: vec4f, smaller: vec4f }
struct Result { lse: f32, x: vec4f }

fn is_beyond(kind: u32, most: vec2f) -> bool { return (kind & BEYOND) != 0 && (most.y > 0.0 || (kind & FINITE) == 0); }
/// Scores within a rounding are one: computed a second time a score may differ by that.
fn is_most(size: f32, most: f32) -> bool { return size >= most - abs(most) * 2.4e-7; }
/// In float64 a weight may be too small for f32 and yet not nothing.
fn careful_weight(fall: f32) -> f32 { return max(precise_exp(fall), select(0.0, 1e-37, fall > -745.0)); }

fn careful_result(sums: Sums) -> Result {
  let kind = sums.kind;
  if (kind == 0${isModified ? ' || kind == SEEN' : ''}) { return Result(-numbers.infinity, vec4f()); }
  if ((kind & (NAN | INFINITE)) != 0 || kind == SEEN) { return Result(not_a_number(), vec4f(not_a_number())); }
  let most = select(sums.most.x, sums.most.y * larger() * larger(), is_beyond(kind, sums.most));
  let is_large = (bitcast<vec4u>(sums.x) & vec4u(0x7f800000)) == vec4u(0x7f800000);
  return Result(most + precise_log(sums.sum), select(sums.x / sums.sum, (sums.smaller / sums.sum) * larger(), is_large));
}`;

/**
 * What a workgroup of 64 says of a row, over the text of a source of keys and values (sources.ts):
 *
 *   careful_sums(place, span, query, r, first, step, lane)
 *                        over every step-th panel of the span from `first` on; of the sums of values four columns from 4 lane on
 *   careful_result(sums) the row's lse and these columns of its outputs
 */
export const carefulCode = (isModified: boolean) => `
${resultCode(isModified)}
var<workgroup> kinds: array<u32, ${INVOCATIONS}>;
var<workgroup> partial: array<vec2f, ${INVOCATIONS}>;
var<workgroup> careful_weights: array<f32, ${INVOCATIONS}>;
var<workgroup> careful_keys: array<i32, ${INVOCATIONS}>;

/// A score: a number, or if it overflows one 2^138 times smaller.
struct Score { kind: u32, size: f32 }

fn score_of(place: Place, query: u32, key: i32) -> Score {
  let base = base_of(place, u32(key) / PANEL);
  var score = 0.0;
  var smaller = 0.0;
  for (var c = 0u; c < numbers.d; c += 4) {
    let x = kept(load4_q(at_q(place.batch, query, place.head, c)), numbers.d - c);
    let y = key_vector(place, base, key, c);
    score += dot(x, y);
    smaller += dot(x * SMALLER, y * SMALLER);
  }
  score *= numbers.scale;
  smaller *= numbers.scale;
  if (special(score)) {
    if (special(smaller)) { score = smaller; }
    else if (abs(smaller) < 0.0009765625) { score = smaller * larger() * larger(); }
    ${
      isModified
        ? 'else { score = select(numbers.infinity, -numbers.infinity, smaller < 0.0); }'
        : 'else { return Score(SEEN | BEYOND, smaller); }'
    }
  }
  score = modified(score, masked_batch(place.batch), place.head, query, u32(key));
  if (is_nan(score)) { return Score(SEEN | NAN, 0.0); }
  if (special(score)) { return Score(SEEN | select(INFINITE, 0u, score < 0.0), 0.0); }
  return Score(SEEN | FINITE, score);
}

/// The first panel of a run among every step-th of the span from first on, where so many of the span are before the run.
fn first_panel(run: Run, before: u32, first: u32, step: u32) -> u32 {
  if (before <= first) { return run.first + first - before; }
  return run.first + (step - (before - first) % step) % step;
}

/// The key in a place among the slots of every step-th panel of a run from start on, -1 where the query in row r sees none.
fn seen_key(place: Place, run: Run, start: u32, step: u32, r: u32, at: u32) -> i32 {
  let panel = start + at / PANEL * step;
  if (panel >= run.past || base_of(place, panel) < 0) { return -1; }
  let word = seen_word(pattern_of(run, r / 32), at % PANEL);
  if (((word >> (r % 32)) & 1) == 0) { return -1; }
  return key_at(panel * PANEL + at % PANEL);
}

fn careful_sums(place: Place, span: Span, query: u32, r: u32, first: u32, step: u32, lane: u32) -> Sums {
  var kind = 0u;
  var most = vec2f(LOWEST);
  var sum = 0.0;
  var x = vec4f();
  var smaller = vec4f();
  // What scores there are, then their weights: in one loop, since compilers copy what it calls.
  for (var phase = 0u; phase < 2; phase++) {
    var before = 0u;
    for (var i = span.first; i < span.past; i++) {
      let run = run_at(i);
      let start = first_panel(run, before, first, step);
      let slots = select(0u, (run.past - start + step - 1) / step * PANEL, start < run.past);
      before += run.past - run.first;
      for (var at = 0u; at < slots; at += ${INVOCATIONS}u) {
        var key = seen_key(place, run, start, step, r, at + lane);
        var score = Score();
        if (key >= 0) { score = score_of(place, query, key); }
        if (phase == 0) {
          kind |= score.kind;
          if ((score.kind & FINITE) != 0) { most.x = max(most.x, score.size); }
          if ((score.kind & BEYOND) != 0) { most.y = max(most.y, score.size); }
          continue;
        }
        ${isModified ? '// A modifier hides keys by -infinity, and whatever their values are.\n        if (score.kind == SEEN) { key = -1; }' : ''}
        var weight = 0.0;
        if (is_beyond(kind, most)) { weight = select(0.0, 1.0, (score.kind & BEYOND) != 0 && is_most(score.size, most.y)); }
        else if ((score.kind & FINITE) != 0) { weight = careful_weight(score.size - most.x); }
        sum += weight;
        workgroupBarrier();
        careful_weights[lane] = weight;
        careful_keys[lane] = key;
        workgroupBarrier();
        if (4 * lane < numbers.e) {
          for (var other = 0u; other < ${INVOCATIONS}; other++) {
            let seen = careful_keys[other];
            if (seen < 0) { continue; }
            let value = value_vector(place, base_of(place, u32(seen) / PANEL), seen, 4 * lane);
            x += careful_weights[other] * value;
            smaller += careful_weights[other] * (value * SMALLER);
          }
        }
      }
    }
    if (phase > 0) { break; }
    workgroupBarrier();
    kinds[lane] = kind;
    partial[lane] = most;
    workgroupBarrier();
    for (var other = 0u; other < ${INVOCATIONS}; other++) {
      kind |= kinds[other];
      most = max(most, partial[other]);
    }
  }
  workgroupBarrier();
  partial[lane].x = sum;
  workgroupBarrier();
  sum = 0.0;
  for (var other = 0u; other < ${INVOCATIONS}; other++) { sum += partial[other].x; }
  return Sums(kind, most, sum, x, smaller);
}
`;

export const carefulKernel = variants(
  (variant: AttentionVariant): Kernel =>
    attentionKernel({
      name: 'attention, with care',
      invocations: INVOCATIONS,
      variant,
      alike: true,
      operands: { ...INPUTS, ...RESULTS, lse: { access: 'update', rank: 3 } },
      needs: ['precise_exp'],
      body: `
var<workgroup> marks: array<u32, TILE>;
var<workgroup> count: u32;
${TENSORS.batches}
${TENSORS.text}
${carefulCode(variant.isModified)}

fn run(task: u32, lane: u32) {
  let place = place_of(task);
  let span = span_of(place.row, place.tile);
  if (span.others == 0) { return; }
  ${markNaN('load_lse(at_lse(place.batch, u32(query), place.head))')}
  for (var r = 0u; r < TILE; r++) {
    if (workgroupUniformLoad(&marks[r]) == 1) {
      let query = u32(query_at(place.tile * TILE + r));
      let result = careful_result(careful_sums(place, span, query, r, 0, 1, lane));
      store_columns(place, query, 4 * lane, result.x);
      if (lane == 0) { store_lse(at_lse(place.batch, query, place.head), result.lse); }
    }
  }
}`,
    }),
);
