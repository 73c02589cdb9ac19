/** What the parts of the keys left, merged: outputs divided, and log-sum-exps. */
import { type Kernel, variants } from '../../../../runtime/webgpu/kernel';
import { INVOCATIONS, resultCode } from '../../forward/webgpu/careful';
import { attentionKernel, RESULTS } from '../../webgpu/common';
import { type DecodeVariant, NUMBERS, rowsCode, sourceOf } from './rows';

export const mergeKernel = variants((variant: DecodeVariant): Kernel => {
  const source = sourceOf(variant);
  const { pages } = source.operands;
  return attentionKernel({
    name: 'attention, parts of the keys merged',
    invocations: INVOCATIONS,
    variant,
    operands: { parts: { access: 'read' }, ...(pages && { pages }), ...RESULTS },
    numbers: { ...NUMBERS, ...source.numbers },
    needs: ['precise_exp'],
    body: `
${source.batches}
${resultCode(variant.isModified)}
${rowsCode(variant)}
fn four_of(at: u32) -> vec4f {
  return vec4f(load_parts(at), load_parts(at + 1), load_parts(at + 2), load_parts(at + 3));
}
/// The maximum of a part, in units of ln 2 unless some are not.
fn top_of(at: u32, is_careful: bool) -> f32 {
  let is_plain = (u32(load_parts(at + 2)) & CAREFUL) == 0;
  return load_parts(at) * select(1.0, LN2, is_careful && is_plain);
}

fn run(task: u32, lane: u32) {
  let r = task % ROWS;
  let rows = rows_of(task / ROWS);
  let row = row_of(rows, r);
  ${
    // Some rows of a cache have fewer queries than there are slots: the others see nothing.
    variant.pages
      ? `
  if (!row.is_there) { return; }
  let query = row.slot;
  let parts = select(0u, numbers.parts_of_row, row.query >= 0);`
      : `
  if (row.query < 0) { return; }
  let query = u32(row.query);
  let parts = numbers.parts_of_row;`
  }
  let states = 8 * numbers.quads;
  var kind = 0u;
  var most = vec2f(LOWEST);
  for (var part = 0u; part < parts; part++) {
    let at = part_at(task / ROWS, part, r) + states;
    kind |= u32(load_parts(at + 2));
    most.y = max(most.y, load_parts(at + 3));
  }
  let is_careful = (kind & CAREFUL) != 0;
  kind &= ~CAREFUL;
  for (var part = 0u; part < parts; part++) {
    most.x = max(most.x, top_of(part_at(task / ROWS, part, r) + states, is_careful));
  }
  var sum = 0.0;
  var x = vec4f();
  var smaller = vec4f();
  for (var part = 0u; part < parts; part++) {
    let at = part_at(task / ROWS, part, r);
    let own = u32(load_parts(at + states + 2));
    let fall = top_of(at + states, is_careful) - most.x;
    var weight = exp2(fall);
    if (is_careful) {
      weight = select(0.0, careful_weight(fall), (own & FINITE) != 0);
      if (is_beyond(kind, most)) { weight = select(0.0, 1.0, (own & BEYOND) != 0 && is_most(load_parts(at + states + 3), most.y)); }
    }
    sum += weight * load_parts(at + states + 1);
    if (lane >= numbers.quads) { continue; }
    let values = four_of(at + 4 * lane);
    x += weight * values;
    if ((own & CAREFUL) == 0) { smaller += weight * (values * SMALLER); }
    else { smaller += weight * four_of(at + 4 * (numbers.quads + lane)); }
  }
  if (!is_careful) { most.x *= LN2; }
  let result = careful_result(Sums(kind, most, sum, x, smaller));
  var place = rows.place;
  place.head = row.head;
  store_columns(place, query, 4 * lane, result.x);
  if (lane == 0) { store_lse(at_lse(place.batch, query, place.head), result.lse); }
}`,
  });
});
