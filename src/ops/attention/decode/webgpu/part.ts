/**
 * A part of the keys, for the rows of a task. In a panel of 32 keys eight invocations multiply four keys, and one has the
 * weights of a row's four keys. For the values an invocation has four columns, and some of the keys.
 *
 * A part whose numbers are not finite is done again with care (careful.ts) by the same workgroup.
 */
import { type Kernel, variants } from '../../../../runtime/webgpu/kernel';
import { HIDDEN_ZERO } from '../../../../runtime/webgpu/kernels/product';
import { each } from '../../../../runtime/webgpu/kernels/text';
import { carefulCode, INVOCATIONS } from '../../forward/webgpu/careful';
import { attentionKernel, INPUTS } from '../../webgpu/common';
import { type DecodeVariant, NUMBERS, rowsCode, sourceOf } from './rows';

/** The most vectors of a row. */
const QUADS = 64;
/** Vectors of keys in a panel, and invocations that multiply these. */
const FOURS = 8;

/** Workgroup memory of the kernel. */
export const bytesOf = (rows: number) => 4 * (rows * (8 * QUADS + 8 * FOURS + 1) + 5 * INVOCATIONS + 2);

export const partKernel = variants((variant: DecodeVariant): Kernel => {
  const { rows, isModified } = variant;
  const source = sourceOf(variant);
  const everyRow = (line: (r: number) => string) => each(rows, line);
  const keysFrom = (first: string) => `vec4i(${each(4, (i) => `key_at(panel * PANEL + ${first} + ${i})`, ', ')})`;
  return attentionKernel({
    name: 'attention, a part of the keys',
    invocations: INVOCATIONS,
    variant,
    operands: { q: INPUTS.q as Kernel['operands'][string], ...source.operands, parts: { access: 'write' } },
    numbers: { ...NUMBERS, ...source.numbers },
    needs: ['precise_exp'],
    body: `
${source.batches}
${source.text}
${carefulCode(isModified)}
${rowsCode(variant)}
var<workgroup> queries: array<vec4f, ROWS * ${QUADS}>;
/// The sums of every eighth vector's products, for four keys and a row; at last the outputs of all invocations.
var<workgroup> sums: array<vec4f, ROWS * ${QUADS}>;
var<workgroup> scores: array<vec4f, ROWS * ${FOURS}>;
var<workgroup> weights: array<vec4f, ROWS * ${FOURS}>;
var<workgroup> fades: array<f32, ROWS>;
/// A bit for each row that is to be done with care.
var<workgroup> marks: atomic<u32>;
var<workgroup> marked: u32;

fn run(task: u32, lane: u32) {
  let split = task % numbers.splits;
  let rows = rows_of(task / numbers.splits);
  let place = rows.place;
  let span = span_of(place.row, place.tile);
  let depth = (numbers.d + 3) / 4;
  for (var at = lane; at < ROWS * depth; at += ${INVOCATIONS}) {
    let row = row_of(rows, at / depth);
    let c = at % depth * 4;
    var x = vec4f();
    if (row.query >= 0) { x = kept(load4_q(at_q(place.batch, u32(row.query), row.head, c)), numbers.d - c) * numbers.factor; }
    queries[at / depth * ${QUADS} + at % depth] = x;
  }
  workgroupBarrier();
  let four = lane / ${FOURS};
  let turn = lane % ${FOURS};
  // This invocation has the weights of row \`four\` and keys \`turn\`.
  let own = row_of(rows, four);
  var top = LOWEST;
  var sum = vec4f();
  let quad = lane % numbers.quads;
  let key_group = lane / numbers.quads;
  ${everyRow((r) => `var o${r} = vec4f();`)}
  var panels = 0u;
  // Panels of the span before the run.
  var before = 0u;
  for (var i = span.first; i < span.past; i++) {
    let run = run_at(i);
    let first = first_panel(run, before, split, numbers.splits);
    before += run.past - run.first;
    for (var panel = first; panel < run.past; panel += numbers.splits) {
      let base = base_of(place, panel);
      if (base < 0) { continue; }
      panels++;
      {
        let key = ${keysFrom('4 * four')};
        ${everyRow((r) => `var s${r} = vec4f();`)}
        for (var c = turn; c < depth; c += ${FOURS}) {
          ${each(4, (i) => `let x${i} = key_vector(place, base, key[${i}], 4 * c);`)}
          ${everyRow(
            (r) => `{
            let y = queries[${r * QUADS} + c];
            s${r} += vec4f(${each(4, (i) => `dot(x${i}, y)`, ', ')});
          }`,
          )}
        }
        ${everyRow((r) => `sums[(turn * ROWS + ${r}) * ${FOURS} + four] = s${r};`)}
      }
      workgroupBarrier();
      var score = vec4f();
      if (four < ROWS) {
        for (var c = 0u; c < ${FOURS}; c++) { score += sums[c * ROWS * ${FOURS} + lane]; }
        ${
          isModified
            ? `
        let key = vec4u(max(${keysFrom('4 * turn')}, vec4i()));
        for (var c = ${HIDDEN_ZERO}; c < 4; c++) {
          score[c] = ${Math.LOG2E} * modified(score[c], masked_batch(place.batch), own.head, u32(max(own.query, 0)), key[c]);
        }`
            : ''
        }
        if (!run.is_full) {
          let pattern = pattern_of(run, 0);
          for (var c = 0u; c < 4; c++) {
            let word = seen_word(pattern, 4 * turn + c) >> own.slot;
            score[c] = select(-numbers.infinity, score[c], (word & 1) == 1);
          }
        }
        scores[lane] = score;
      }
      workgroupBarrier();
      if (four < ROWS) {
        var next = top;
        for (var c = 0u; c < ${FOURS}; c++) { next = max(next, largest(scores[four * ${FOURS} + c])); }
        let fade = exp2(top - next);
        let weight = exp2(score - next);
        sum = fma(sum, vec4f(fade), weight);
        top = next;
        weights[lane] = weight;
        if (turn == 0) { fades[four] = fade; }
      }
      workgroupBarrier();
      ${everyRow((r) => `o${r} *= fades[${r}];`)}
      if (4 * quad < numbers.e) {
        for (var k = key_group; k < ${FOURS}; k += numbers.key_groups) {
          let key = ${keysFrom('4 * k')};
          ${each(4, (i) => `let x${i} = value_vector(place, base, key[${i}], 4 * quad);`)}
          ${everyRow(
            (r) => `{
            let w = weights[${r * FOURS} + k];
            ${each(4, (i) => `o${r} = fma(vec4f(w[${i}]), x${i}, o${r});`)}
          }`,
          )}
        }
      }
    }
  }
  workgroupBarrier();
  ${everyRow((r) => `sums[${r * QUADS} + lane] = o${r};`)}
  if (four < ROWS) { weights[lane] = sum; }
  workgroupBarrier();
  if (key_group == 0) {
    for (var r = 0u; r < ROWS; r++) {
      var outputs = vec4f();
      for (var other = quad; other < numbers.key_groups * numbers.quads; other += numbers.quads) {
        outputs += sums[r * ${QUADS} + other];
      }
      sums[r * ${QUADS} + quad] = outputs;
      if (has_special(outputs) && row_of(rows, r).query >= 0) { atomicOr(&marks, 1u << r); }
    }
  }
  var total = 0.0;
  if (four < ROWS && turn == 0) {
    for (var c = 0u; c < ${FOURS}; c++) { total += dot(weights[lane + c], vec4f(1)); }
    // A row that sees nothing, or one whose scores are all -infinity.
    ${isModified ? 'let is_unclear = false;' : 'let is_unclear = total == 0.0;'}
    if ((special(total) || special(top) || is_unclear) && own.query >= 0) { atomicOr(&marks, 1u << four); }
  }
  workgroupBarrier();
  if (lane == 0) { marked = select(atomicLoad(&marks), 0, panels == 0); }
  let bits = workgroupUniformLoad(&marked);
  let part = numbers.first_part + split;
  let states = 8 * numbers.quads;
  if (four < ROWS && turn == 0 && ((bits >> four) & 1) == 0) {
    let at = part_at(task / numbers.splits, part, four) + states;
    store_parts(at, top);
    store_parts(at + 1, total);
    store_parts(at + 2, select(0.0, f32(SEEN | FINITE), total > 0.0));
    store_parts(at + 3, LOWEST);
  }
  for (var r = 0u; r < ROWS; r++) {
    let at = part_at(task / numbers.splits, part, r);
    if (((bits >> r) & 1) == 0) {
      if (key_group == 0) {
        let outputs = sums[r * ${QUADS} + quad];
        for (var c = 0u; c < 4; c++) { store_parts(at + 4 * quad + c, outputs[c]); }
      }
      continue;
    }
    let row = row_of(rows, r);
    var careful = place;
    careful.head = row.head;
    let all = careful_sums(careful, span, u32(row.query), row.slot, split, numbers.splits, lane);
    if (lane < numbers.quads) {
      for (var c = 0u; c < 4; c++) {
        store_parts(at + 4 * lane + c, all.x[c]);
        store_parts(at + 4 * (numbers.quads + lane) + c, all.smaller[c]);
      }
    }
    if (lane == 0) {
      store_parts(at + states, all.most.x);
      store_parts(at + states + 1, all.sum);
      store_parts(at + states + 2, f32(all.kind | CAREFUL));
      store_parts(at + states + 3, all.most.y);
    }
  }
}`,
  });
});
