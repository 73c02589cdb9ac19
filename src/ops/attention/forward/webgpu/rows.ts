/**
 * Attention for adapters in software, whose registers are cheap and whose memory is not: an invocation has a few whole
 * rows, queries and outputs in memory of its own, and nothing crosses invocations but loads.
 *
 * A workgroup is one subgroup where its size is known: each lane loads one column of a key, or of its value, and hands it to
 * the others. Else each loads all columns, at addresses that are the same for all. A panel of keys is taken through the
 * columns in blocks, so the loops are short to compile whatever the head dimension.
 */
import type { Kernel } from '../../../../runtime/webgpu/kernel';
import { each, NAMES } from '../../../../runtime/webgpu/kernels/text';
import { type AttentionVariant, attentionKernel } from '../../webgpu/common';
import type { RowsSizes } from '../../webgpu/sizes';

export const rowsCut = ({ lanes, rows, keys }: RowsSizes) => ({ queries: lanes * rows, keys });

/** For head dimensions up to d and e. */
export function rowsKernel(
  variant: AttentionVariant,
  { lanes, rows, keys, shares }: RowsSizes,
  d: number,
  e: number,
): Kernel {
  const step = shares ? lanes : 4;
  const vectors = step / 4;
  const everyRow = (line: (r: number) => string, between?: string) => each(rows, line, between);
  const everyKey = (line: (j: number) => string) => each(keys, line);
  /** The columns from c on of each key's row in `x`, and then each of them as `z`. */
  const columns = (x: 'k' | 'v', extent: string, use: (j: number, t: number) => string) => `
    ${everyKey((j) =>
      shares
        ? `let x${j} = select(0.0, load_${x}(${x}${j} + (c + subgroup_lane) * numbers.${x}_stride3), c + subgroup_lane < ${extent});`
        : `let x${j} = kept(load4_${x}(${x}${j} + c * numbers.${x}_stride3), ${extent} - c);`,
    )}
    ${each(step, (t) => everyKey((j) => `{ let z = ${shares ? `subgroupBroadcast(x${j}, ${t}u)` : `x${j}[${t}]`}; ${use(j, t)} }`))}`;
  const part = (t: number) => `${Math.floor(t / 4)}.${NAMES[t % 4]}`;

  return attentionKernel({
    name: 'attention, by rows',
    invocations: lanes,
    variant,
    alike: true,
    subgroups: shares,
    body: `
/// 2^x for x up to 0, NaN for NaN.
fn power(x: f32) -> f32 {
  let bounded = select(x, -126.0, x < -126.0);
  let n = round(bounded);
  let rest = bounded - n;
  var y = fma(1.5353362e-4, rest, 1.3398874e-3);
  y = fma(y, rest, 9.618437e-3);
  y = fma(y, rest, 5.5503325e-2);
  y = fma(y, rest, 2.4022648e-1);
  y = fma(y, rest, 6.931472e-1);
  y = fma(y, rest, 1.0);
  return select(bitcast<f32>(bitcast<i32>(y) + (i32(n) << 23u)), 0.0, x < -126.0);
}

fn run(task: u32, lane: u32) {
  let place = place_of(task);
  let span = span_of(place.row, place.tile);
  var q: array<vec4f, ${(Math.ceil(d / step) * step * rows) / 4}>;
  var o: array<vec4f, ${(Math.ceil(e / step) * step * rows) / 4}>;
  ${everyRow(
    (r) => `
  let query${r} = query_at(place.tile * TILE + ${r * lanes}u + lane);
  var top${r} = LOWEST;
  var sum${r} = 0.0;
  for (var c = 0u; c < numbers.d; c += 4) {
    q[c / 4 * ${rows} + ${r}] = kept(load4_q(at_q(place.batch, u32(max(query${r}, 0)), place.head, c)), numbers.d - c) * numbers.factor;
  }`,
  )}
  for (var i = span.first; i < span.past; i++) {
    let run = run_at(i);
    for (var panel = run.first; panel < run.past; panel++) {
      ${everyKey(
        (j) => `
      let key${j} = key_at(panel * PANEL + ${j});
      let k${j} = at_k(place.batch, u32(max(key${j}, 0)), place.key_head, 0);
      let v${j} = at_v(place.batch, u32(max(key${j}, 0)), place.key_head, 0);
      ${everyRow((r) => `var s${r}_${j} = 0.0;`, ' ')}`,
      )}
      for (var c = 0u; c < numbers.d; c += ${step}) {
        ${each(vectors, (part) => everyRow((r) => `let y${r}_${part} = q[(c / 4 + ${part}) * ${rows} + ${r}];`))}
        ${columns('k', 'numbers.d', (j, t) => everyRow((r) => `s${r}_${j} = fma(y${r}_${part(t)}, z, s${r}_${j});`, ' '))}
      }
      ${variant.isModified ? modified() : ''}
      if (!run.is_full) {
        let pattern = pattern_of(run, 0);
        ${everyKey(
          (j) => `{
          let word = seen_word(pattern, ${j}) >> lane;
          ${everyRow((r) => `s${r}_${j} = select(-numbers.infinity, s${r}_${j}, (word & ${2 ** (r * lanes)}u) != 0);`)}
        }`,
        )}
      }
      ${everyRow(
        (r) => `
      let next${r} = ${Array.from({ length: keys }, (_, j) => `s${r}_${j}`).reduce((a, b) => `max(${a}, ${b})`, `top${r}`)};
      let fade${r} = power(top${r} - next${r});
      top${r} = next${r};
      sum${r} *= fade${r};
      ${everyKey((j) => `s${r}_${j} = power(s${r}_${j} - next${r}); sum${r} += s${r}_${j};`)}`,
      )}
      for (var c = 0u; c < numbers.e; c += ${step}) {
        ${each(vectors, (part) => everyRow((r) => `var y${r}_${part} = o[(c / 4 + ${part}) * ${rows} + ${r}] * fade${r};`))}
        ${columns('v', 'numbers.e', (j, t) => everyRow((r) => `y${r}_${part(t)} = fma(s${r}_${j}, z, y${r}_${part(t)});`, ' '))}
        ${each(vectors, (part) => everyRow((r) => `o[(c / 4 + ${part}) * ${rows} + ${r}] = y${r}_${part};`))}
      }
    }
  }
  ${everyRow(
    (r) => `
  if (query${r} >= 0) {
    // A sum that is NaN marks a row whose outputs are not finite.
    for (var c = 0u; c < numbers.e; c += 4) {
      if (has_special(o[c / 4 * ${rows} + ${r}])) { sum${r} = not_a_number(); }
    }
    let share = finish_row(place, u32(query${r}), top${r}, sum${r}, span.others, true);
    for (var c = 0u; c < numbers.e; c += 4) { store_columns(place, u32(query${r}), c, o[c / 4 * ${rows} + ${r}] * share); }
  }`,
  )}
}`,
  });

  /** In a loop, since a modifier may be long. */
  function modified(): string {
    return `
      {
        var scores = array<f32, ${rows * keys}>(${each(rows, (r) => each(keys, (j) => `s${r}_${j}`, ', '), ', ')});
        let queries = array<i32, ${rows}>(${everyRow((r) => `query${r}`, ', ')});
        let keys = array<i32, ${keys}>(${each(keys, (j) => `key${j}`, ', ')});
        for (var at = 0u; at < ${rows * keys}; at++) {
          let query = u32(max(queries[at / ${keys}], 0));
          let key = u32(max(keys[at % ${keys}], 0));
          scores[at] = ${Math.LOG2E} * modified(scores[at], place.batch, place.head, query, key);
        }
        ${everyRow((r) => everyKey((j) => `s${r}_${j} = scores[${r * keys + j}];`))}
      }`;
  }
}
