/**
 * Attention for GPUs with caches of their own: a workgroup takes a tile of queries through its panels of keys, both staged
 * in workgroup memory, and an invocation has a block of scores and one of outputs in registers.
 *
 * The invocations are a grid of groups of rows by columns. Scores are a product of staged queries and keys, both with the
 * depth outermost, so that four rows, or four keys, are one vector; their exponentials take the place of the keys, with
 * the keys outermost; the outputs are the product of these with staged values. So both products are the same loop, which
 * reads `rows / 4 + keys / columns / 4` vectors for `rows * keys / columns` multiply-adds. Only the maximum of a row's
 * scores crosses invocations within a panel; sums do so once, at the end.
 */
import type { Kernel } from '../../../../runtime/webgpu/kernel';
import { each, NAMES } from '../../../../runtime/webgpu/kernels/text';
import { type AttentionVariant, attentionKernel } from '../../webgpu/common';
import { columnsOf, type TiledSizes, tiledBytes } from '../../webgpu/sizes';

export const tiledCut = ({ queries, keys }: TiledSizes) => ({ queries, keys });

/** What of these sizes fits into so much workgroup memory: fewer values at once, or else the smallest tiles. */
export function fitted(sizes: TiledSizes, e: number, most: number): TiledSizes {
  let { values } = sizes;
  while (values % 2 === 0 && tiledBytes({ ...sizes, values }, e) > most) values /= 2;
  const result = { ...sizes, values };
  return tiledBytes(result, e) <= most ? result : { queries: 32, keys: 32, columns: 8, rows: 4, depth: 16, values: 4 };
}

export function tiledKernel(variant: AttentionVariant, sizes: TiledSizes, e: number): Kernel {
  const { queries, keys, columns, rows, depth, values } = sizes;
  const groups = queries / rows;
  const invocations = groups * columns;
  const [quads, keyQuads, columnQuads] = [rows / 4, keys / columns / 4, columnsOf(columns, e) / columns / 4];
  const width = columnQuads * columns;
  const row = (a: number, r: number) => `${4 * a + r}`;
  const text = {
    /** a[row][j] += x * y for all blocks of an invocation. */
    product: (name: string, blocks: number) =>
      each(quads, (a) =>
        each(4, (r) =>
          each(
            blocks,
            (j) => `${name}${row(a, r)}_${j} = fma(vec4f(x${a}.${NAMES[r]}), y${j}, ${name}${row(a, r)}_${j});`,
          ),
        ),
      ),
    /** For all rows. */
    rows: (line: (row: string, a: number, r: number) => string) =>
      each(quads, (a) => each(4, (r) => line(row(a, r), a, r))),
  };
  return attentionKernel({
    name: 'attention, tiled',
    invocations,
    variant,
    body: `
const GROUPS = ${groups}u;
const COLUMNS = ${columns}u;
/// The queries and keys of a part of the depth, then the exponentials.
var<workgroup> staged: array<vec4f, ${Math.max((queries + keys) * depth, queries * keys) / 4}>;
const STAGED_KEYS = ${(queries * depth) / 4}u;
var<workgroup> staged_values: array<vec4f, ${values * width}>;
var<workgroup> shared_rows: array<vec4f, ${(columns * queries) / 4}>;

fn query_vector(place: Place, slot: u32, c: u32) -> vec4f {
  let query = query_at(slot);
  if (query < 0 || c >= numbers.d) { return vec4f(); }
  return kept(load4_q(at_q(place.batch, u32(query), place.head, c)), numbers.d - c) * numbers.factor;
}
fn key_vector(place: Place, slot: u32, c: u32) -> vec4f {
  let key = key_at(slot);
  if (key < 0 || c >= numbers.d) { return vec4f(); }
  return kept(load4_k(at_k(place.batch, u32(key), place.key_head, c)), numbers.d - c);
}
fn value_vector(place: Place, slot: u32, c: u32) -> vec4f {
  let key = key_at(slot);
  if (key < 0 || c >= numbers.e) { return vec4f(); }
  return kept(load4_v(at_v(place.batch, u32(key), place.key_head, c)), numbers.e - c);
}

/// Queries [depth][tile] and keys [depth][panel] of the depth from \`first\` on.
fn stage(place: Place, panel: u32, first: u32, lane: u32) {
  for (var item = lane; item < ${(queries + keys) / 4}u * ${depth / 4}u; item += ${invocations}u) {
    let c = item % ${depth / 4}u;
    let quad = item / ${depth / 4}u;
    var x: mat4x4f;
    if (quad < TILE / 4) {
      let slot = place.tile * TILE + 4 * quad;
      for (var i = 0u; i < 4; i++) { x[i] = query_vector(place, slot + i, first + 4 * c); }
    } else {
      let slot = panel * PANEL + 4 * quad - TILE;
      for (var i = 0u; i < 4; i++) { x[i] = key_vector(place, slot + i, first + 4 * c); }
    }
    let y = transpose(x);
    if (quad < TILE / 4) {
      for (var i = 0u; i < 4; i++) { staged[(4 * c + i) * (TILE / 4) + quad] = y[i]; }
    } else {
      for (var i = 0u; i < 4; i++) { staged[STAGED_KEYS + (4 * c + i) * (PANEL / 4) + quad - TILE / 4] = y[i]; }
    }
  }
}

/// Values [${values}][columns] of the key slots from \`first\` on.
fn stage_values(place: Place, first: u32, lane: u32) {
  for (var item = lane; item < ${values * width}u; item += ${invocations}u) {
    staged_values[item] = value_vector(place, first + item / ${width}u, 4 * (item % ${width}u));
  }
}

fn run(task: u32, lane: u32) {
  let place = place_of(task);
  let span = span_of(place.row, place.tile);
  let group = lane / COLUMNS;
  let column = lane % COLUMNS;
  ${each(quads, (a) => `let quad${a} = ${a}u * GROUPS + group; var top${a} = vec4f(LOWEST); var sum${a} = vec4f();`)}
  ${text.rows((r) => each(columnQuads, (j) => `var o${r}_${j} = vec4f();`))}
  for (var i = span.first; i < span.past; i++) {
    let run = run_at(i);
    for (var panel = run.first; panel < run.past; panel++) {
      ${text.rows((r) => each(keyQuads, (j) => `var s${r}_${j} = vec4f();`))}
      for (var first = 0u; first < numbers.d; first += ${depth}u) {
        workgroupBarrier();
        stage(place, panel, first, lane);
        workgroupBarrier();
        for (var c = 0u; c < ${depth}u; c++) {
          ${each(quads, (a) => `let x${a} = staged[c * (TILE / 4) + quad${a}];`)}
          ${each(keyQuads, (j) => `let y${j} = staged[STAGED_KEYS + c * (PANEL / 4) + ${j}u * COLUMNS + column];`)}
          ${text.product('s', keyQuads)}
        }
      }
      ${variant.isModified ? modifyScores(quads, keyQuads) : ''}
      if (!run.is_full) {
        ${each(
          quads,
          (a) => `{
          let pattern = pattern_of(run, quad${a} / 8);
          ${each(
            keyQuads,
            (j) => `{
            let key = 4 * (${j}u * COLUMNS + column);
            let words = vec4u(${each(4, (t) => `seen_word(pattern, key + ${t})`, ', ')}) >> vec4u(4 * (quad${a} % 8));
            ${each(4, (r) => `s${row(a, r)}_${j} = select(vec4f(-numbers.infinity), s${row(a, r)}_${j}, (words & vec4u(${1 << r})) != vec4u());`)}
          }`,
          )}
        }`,
        )}
      }
      ${each(quads, (a) => `shared_rows[column * (TILE / 4) + quad${a}] = vec4f(${each(4, (r) => largestOf(each(keyQuads, (j) => `s${row(a, r)}_${j}`, ' ').split(' ')), ', ')});`)}
      workgroupBarrier();
      ${each(
        quads,
        (a) => `
      var next${a} = top${a};
      for (var at = 0u; at < COLUMNS; at++) { next${a} = max(next${a}, shared_rows[at * (TILE / 4) + quad${a}]); }
      let fade${a} = exp2(top${a} - next${a});
      top${a} = next${a};
      sum${a} *= fade${a};`,
      )}
      ${text.rows(
        (r, a, at) => `
      ${each(columnQuads, (j) => `o${r}_${j} *= fade${a}.${NAMES[at]};`)}
      ${each(keyQuads, (j) => `s${r}_${j} = exp2(s${r}_${j} - top${a}.${NAMES[at]}); sum${a}.${NAMES[at]} += dot(s${r}_${j}, vec4f(1.0));`)}`,
      )}
      ${each(quads, (a) => each(keyQuads, (j) => each(4, (t) => `staged[(4 * (${j}u * COLUMNS + column) + ${t}) * (TILE / 4) + quad${a}] = vec4f(${each(4, (r) => `s${row(a, r)}_${j}.${NAMES[t]}`, ', ')});`)))}
      for (var first = 0u; first < PANEL; first += ${values}u) {
        ${values < keys ? 'if (first > 0) { workgroupBarrier(); }' : ''}
        stage_values(place, panel * PANEL + first, lane);
        workgroupBarrier();
        for (var c = 0u; c < ${values}u; c++) {
          ${each(quads, (a) => `let x${a} = staged[(first + c) * (TILE / 4) + quad${a}];`)}
          ${each(columnQuads, (j) => `let y${j} = staged_values[c * ${width}u + ${j}u * COLUMNS + column];`)}
          ${text.product('o', columnQuads)}
        }
      }
    }
  }
  // A sum that is NaN marks a row whose outputs are not finite.
  ${text.rows((r, a, at) => `if (${each(columnQuads, (j) => `has_special(o${r}_${j})`, ' || ')}) { sum${a}.${NAMES[at]} = not_a_number(); }`)}
  workgroupBarrier();
  ${each(quads, (a) => `shared_rows[column * (TILE / 4) + quad${a}] = sum${a};`)}
  workgroupBarrier();
  ${each(
    quads,
    (a) => `{
    sum${a} = vec4f();
    for (var at = 0u; at < COLUMNS; at++) { sum${a} += shared_rows[at * (TILE / 4) + quad${a}]; }
    ${each(
      4,
      (r) => `{
      let query = query_at(place.tile * TILE + 4 * quad${a} + ${r});
      if (query >= 0) {
        let share = finish_row(place, u32(query), top${a}.${NAMES[r]}, sum${a}.${NAMES[r]}, span.others, column == 0);
        ${each(columnQuads, (j) => `store_columns(place, u32(query), 4 * (${j}u * COLUMNS + column), o${row(a, r)}_${j} * share);`)}
      }
    }`,
    )}
  }`,
  )}
}`,
  });

  /** In place of the exponentials, where an invocation can go through its scores in a loop. */
  function modifyScores(quads: number, keyQuads: number): string {
    const at = (a: number, j: string, t: string) =>
      `staged[(4 * (${j} * COLUMNS + column) + ${t}) * (TILE / 4) + quad${a}]`;
    return `
      workgroupBarrier();
      ${each(quads, (a) => each(keyQuads, (j) => each(4, (t) => `${at(a, `${j}u`, `${t}u`)} = vec4f(${each(4, (r) => `s${row(a, r)}_${j}.${NAMES[t]}`, ', ')});`)))}
      ${each(
        quads,
        (a) => `
      {
        let slot = place.tile * TILE + 4 * quad${a};
        let queries = vec4i(query_at(slot), query_at(slot + 1), query_at(slot + 2), query_at(slot + 3));
        for (var item = 0u; item < ${4 * keyQuads}u; item++) {
          let at = (4 * (item / 4 * COLUMNS + column) + item % 4);
          let key = key_at(panel * PANEL + at);
          var x = staged[at * (TILE / 4) + quad${a}];
          if (key >= 0) {
            for (var r = 0u; r < 4; r++) {
              if (queries[r] >= 0) { x[r] = ${Math.LOG2E} * modified(x[r], place.batch, place.head, u32(queries[r]), u32(key)); }
            }
          }
          staged[at * (TILE / 4) + quad${a}] = x;
        }
      }`,
      )}
      ${each(quads, (a) =>
        each(keyQuads, (j) =>
          each(
            4,
            (t) => `{
        let x = ${at(a, `${j}u`, `${t}u`)};
        ${each(4, (r) => `s${row(a, r)}_${j}.${NAMES[t]} = x.${NAMES[r]};`)}
      }`,
          ),
        ),
      )}`;
  }
}

const largestOf = (vectors: readonly string[]) => {
  const most = vectors.reduce((a, b) => `max(${a}, ${b})`);
  return `largest(${most})`;
};
