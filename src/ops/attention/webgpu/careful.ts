/**
 * Attention for the rows that a fast kernel marked by an lse that is NaN: infinities, NaN and overflow take their course
 * as in the definition, and what a query does not see has no part in it. A workgroup takes a tile's marked rows one after
 * the other; where there are none it ends at once.
 *
 * A score that overflows is computed again from inputs times 2^-69, where nothing does. Scores of that size differ by so
 * much, if at all, that the largest takes all the weight.
 */
import { type Kernel, variants } from '../../../runtime/webgpu/kernel';
import { type AttentionVariant, attentionKernel, INPUTS, RESULTS } from './common';

const INVOCATIONS = 64;

export const carefulKernel = variants(
  (variant: AttentionVariant): Kernel =>
    attentionKernel({
      name: 'attention, with care',
      invocations: INVOCATIONS,
      variant,
      operands: { ...INPUTS, ...RESULTS, lse: { access: 'update', rank: 3 } },
      needs: ['precise_exp'],
      body: `
const SMALLER = 1.6940658945086007e-21;
/// 2^69, of which compilers cannot make 2^138.
fn larger() -> f32 { return bitcast<f32>(bitcast<u32>(numbers.infinity) - (59u << 23)); }
/// What a row's scores are.
const SEEN = 1u;
const NAN = 2u;
const INFINITE = 4u;
const FINITE = 8u;
const BEYOND = 16u;

var<workgroup> marks: array<u32, TILE>;
var<workgroup> count: u32;
var<workgroup> kinds: array<u32, ${INVOCATIONS}>;
var<workgroup> partial: array<vec2f, ${INVOCATIONS}>;
var<workgroup> weights: array<f32, ${INVOCATIONS}>;
var<workgroup> keys: array<i32, ${INVOCATIONS}>;

/// A score: a number, or if it overflows one 2^138 times smaller.
struct Score { kind: u32, size: f32 }

fn score_of(place: Place, query: u32, key: u32) -> Score {
  var score = 0.0;
  var smaller = 0.0;
  for (var c = 0u; c < numbers.d; c += 4) {
    let x = kept(load4_q(at_q(place.batch, query, place.head, c)), numbers.d - c);
    let y = kept(load4_k(at_k(place.batch, key, place.key_head, c)), numbers.d - c);
    score += dot(x, y);
    smaller += dot(x * SMALLER, y * SMALLER);
  }
  score *= numbers.scale;
  smaller *= numbers.scale;
  if (special(score)) {
    if (special(smaller)) { score = smaller; }
    else if (abs(smaller) < 0.0009765625) { score = smaller * larger() * larger(); }
    ${
      variant.isModified
        ? 'else { score = select(numbers.infinity, -numbers.infinity, smaller < 0.0); }'
        : 'else { return Score(SEEN | BEYOND, smaller); }'
    }
  }
  score = modified(score, place.batch, place.head, query, key);
  if (is_nan(score)) { return Score(SEEN | NAN, 0.0); }
  if (special(score)) { return Score(SEEN | select(INFINITE, 0u, score < 0.0), 0.0); }
  return Score(SEEN | FINITE, score);
}

/// The key in a place among the slots of a run, -1 where the query in row r does not see it.
fn seen_key(run: Run, r: u32, at: u32) -> i32 {
  let panel = run.first + at / PANEL;
  if (panel >= run.past) { return -1; }
  let word = seen_word(pattern_of(run, r / 32), at % PANEL);
  if (((word >> (r % 32)) & 1) == 0) { return -1; }
  return key_at(panel * PANEL + at % PANEL);
}

fn run_row(place: Place, span: Span, r: u32, lane: u32) {
  let query = u32(query_at(place.tile * TILE + r));
  var kind = 0u;
  var most = vec2f(LOWEST);
  for (var i = span.first; i < span.past; i++) {
    let run = run_at(i);
    for (var at = lane; at < (run.past - run.first) * PANEL; at += ${INVOCATIONS}u) {
      let key = seen_key(run, r, at);
      if (key < 0) { continue; }
      let score = score_of(place, query, u32(key));
      kind |= score.kind;
      if ((score.kind & FINITE) != 0) { most.x = max(most.x, score.size); }
      if ((score.kind & BEYOND) != 0) { most.y = max(most.y, score.size); }
    }
  }
  workgroupBarrier();
  kinds[lane] = kind;
  partial[lane] = most;
  workgroupBarrier();
  for (var other = 0u; other < ${INVOCATIONS}; other++) {
    kind |= kinds[other];
    most = max(most, partial[other]);
  }
  let is_beyond = (kind & BEYOND) != 0 && (most.y > 0.0 || (kind & FINITE) == 0);
  let is_empty = kind == 0${variant.isModified ? ' || kind == SEEN' : ''};
  let is_nan_row = !is_empty && ((kind & (NAN | INFINITE)) != 0 || kind == SEEN);

  var sum = 0.0;
  var x = vec4f();
  var smaller = vec4f();
  for (var i = span.first; i < span.past; i++) {
    let run = run_at(i);
    let slots = (run.past - run.first) * PANEL;
    for (var first = 0u; first < slots; first += ${INVOCATIONS}u) {
      var key = seen_key(run, r, first + lane);
      var weight = 0.0;
      if (key >= 0) {
        let score = score_of(place, query, u32(key));
        ${variant.isModified ? '// A modifier hides keys by -infinity, and whatever their values are.\n        if (score.kind == SEEN) { key = -1; }' : ''}
        // Scores within a rounding are one: computed a second time a score may differ by that.
        if (is_beyond) { weight = select(0.0, 1.0, (score.kind & BEYOND) != 0 && score.size >= most.y - abs(most.y) * 2.4e-7); }
        else if ((score.kind & FINITE) != 0) {
          // In float64 a weight may be too small for f32 and yet not nothing.
          let fall = score.size - most.x;
          weight = max(precise_exp(fall), select(0.0, 1e-37, fall > -745.0));
        }
      }
      sum += weight;
      workgroupBarrier();
      weights[lane] = weight;
      keys[lane] = key;
      workgroupBarrier();
      if (4 * lane < numbers.e) {
        for (var other = 0u; other < ${INVOCATIONS}; other++) {
          if (keys[other] < 0) { continue; }
          let value = kept(load4_v(at_v(place.batch, u32(keys[other]), place.key_head, 4 * lane)), numbers.e - 4 * lane);
          x += weights[other] * value;
          smaller += weights[other] * (value * SMALLER);
        }
      }
    }
  }
  workgroupBarrier();
  partial[lane].x = sum;
  workgroupBarrier();
  sum = 0.0;
  for (var other = 0u; other < ${INVOCATIONS}; other++) { sum += partial[other].x; }
  var lse = most.x + precise_log(sum);
  if (is_beyond) { lse = most.y * larger() * larger() + precise_log(sum); }
  var result = select(x / sum, (smaller / sum) * larger(), (bitcast<vec4u>(x) & vec4u(0x7f800000)) == vec4u(0x7f800000));
  if (is_nan_row) {
    lse = not_a_number();
    result = vec4f(lse);
  }
  if (is_empty) {
    lse = -numbers.infinity;
    result = vec4f();
  }
  store_columns(place, query, 4 * lane, result);
  if (lane == 0) { store_lse(at_lse(place.batch, query, place.head), lse); }
}

fn run(task: u32, lane: u32) {
  let place = place_of(task);
  let span = span_of(place.row, place.tile);
  if (span.others == 0) { return; }
  for (var r = lane; r < TILE; r += ${INVOCATIONS}u) {
    let query = query_at(place.tile * TILE + r);
    marks[r] = 0;
    if (query >= 0) { marks[r] = select(0u, 1u, is_nan(load_lse(at_lse(place.batch, u32(query), place.head)))); }
  }
  workgroupBarrier();
  if (lane == 0) {
    var marked = 0u;
    for (var r = 0u; r < TILE; r++) { marked += marks[r]; }
    count = marked;
  }
  if (workgroupUniformLoad(&count) == 0) { return; }
  for (var r = 0u; r < TILE; r++) {
    if (workgroupUniformLoad(&marks[r]) == 1) { run_row(place, span, r, lane); }
  }
}`,
    }),
);
