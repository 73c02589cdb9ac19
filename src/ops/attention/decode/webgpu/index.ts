/**
 * Attention of few queries and many keys, as in decoding, from tensors or from the pages of a cache. The heads that share a
 * key/value head share its reads: their queries are the rows of a task, whose keys are split over workgroups, panel by
 * panel in turn. Each leaves its outputs, not yet divided, with the maximum and the sum of its scores; a second kernel
 * merges them.
 *
 * In a panel of 32 keys eight invocations multiply four keys, and one has the weights of a row's four keys. For the values
 * an invocation has four columns, and some of the keys.
 *
 * A part whose numbers are not finite is done again with care (careful.ts) by the same workgroup.
 */

import { type Dispatch, type Kernel, variants } from '../../../../runtime/webgpu/kernel';
import { HIDDEN_ZERO } from '../../../../runtime/webgpu/kernels/product';
import { each } from '../../../../runtime/webgpu/kernels/text';
import type { Workspace } from '../../../../runtime/webgpu/plan';
import type { CacheDType } from '../../../cache/layout';
import { carefulCode, INVOCATIONS, resultCode } from '../../forward/webgpu/careful';
import type { ScoreCode } from '../../score/webgpu';
import {
  type Attended,
  type AttentionVariant,
  attentionDispatch,
  attentionKernel,
  INPUTS,
  RESULTS,
} from '../../webgpu/common';
import { sizesOf } from '../../webgpu/sizes';
import { pagesSource, TENSORS } from '../../webgpu/sources';
import type { TileCut, TileMap } from '../../webgpu/tile-map';

/** How few queries are cut: tiles of more than there are, and panels that are pages. */
export const DECODE_CUT: TileCut = { queries: 16, keys: 32 };
/** The fewest panels in a part. */
const PANELS = 4;
/** Rows of a task: pipelines are few. */
const ROWS = [1, 4, 8];

/** The most vectors of a row. */
const QUADS = 64;
/** Vectors of keys in a panel, and invocations that multiply these. */
const FOURS = 8;

/** Workgroup memory of a kernel. */
const bytesOf = (rows: number) => 4 * (rows * (8 * QUADS + 8 * FOURS + 1) + 5 * INVOCATIONS + 2);

interface DecodeVariant extends AttentionVariant {
  readonly rows: number;
  /** How the pages of a cache are stored, if there is one. */
  readonly pages?: CacheDType | undefined;
}

/**
 * For each key/value head: how many query heads share a task and how many such groups a batch has, how many slots each has
 * of a tile, and in how many tasks these rows are. Parts of the keys, those of all dispatches, and the first of this one;
 * vectors of outputs, rounded up to a power of two, and how many invocations share each of these.
 */
const NUMBERS: NonNullable<Kernel['numbers']> = {
  ...{ repeat: 'u32', together: 'u32', groups: 'u32', width: 'u32', chunks: 'u32' },
  ...{ splits: 'u32', parts_of_row: 'u32', first_part: 'u32', quads: 'u32', key_groups: 'u32' },
};

const sourceOf = ({ pages }: DecodeVariant) => (pages ? pagesSource(pages) : TENSORS);

/**
 * The rows of a task, and where their parts lie: of each row of a part its outputs and those times 2^-69, then the maximum of
 * its scores, the sum of their exponentials, their kinds, and the largest that overflows (careful.ts).
 */
const rowsCode = ({ rows }: DecodeVariant) => `
const ROWS = ${rows}u;
/// The kind of a part that was done with care: its maximum is in units of 1 and not of ln 2, its outputs are there times 2^-69 too.
const CAREFUL = 32u;
const LN2 = ${Math.LN2};

/// The rows of a task: their place but for the head, which is the first, and the first row of those that share the keys.
struct Rows { place: Place, first: u32 }
/// Without a query if there is no such row, or none in its slot of the tile.
struct Row { head: u32, slot: u32, query: i32, is_there: bool }

fn rows_of(task: u32) -> Rows {
  let at = task / numbers.chunks / numbers.map_owners;
  let batch = batch_at(at / numbers.groups);
  let head = at % numbers.groups * numbers.together;
  let row = masked_batch(batch) * numbers.h + head;
  let tile = owner_of(row, task / numbers.chunks % numbers.map_owners);
  return Rows(Place(batch, head, head / numbers.repeat, row, tile), task % numbers.chunks * ROWS);
}
fn row_of(rows: Rows, r: u32) -> Row {
  let at = rows.first + r;
  let slot = at % numbers.width;
  let is_there = at < numbers.together * numbers.width;
  return Row(
    rows.place.head + at / numbers.width, slot, select(-1, query_at(rows.place.tile * TILE + slot), is_there), is_there);
}
fn part_length() -> u32 { return 8 * numbers.quads + 4; }
fn part_at(task: u32, part: u32, r: u32) -> u32 {
  return ((task * numbers.parts_of_row + part) * ROWS + r) * part_length();
}`;

const partKernel = variants((variant: DecodeVariant): Kernel => {
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

const mergeKernel = variants((variant: DecodeVariant): Kernel => {
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

/** Rows of a call that see alike. */
export interface Decoded {
  readonly call: Attended;
  /** How many of its batches. */
  readonly batches: number;
  /** Key/value heads. */
  readonly g: number;
  /** Cut by `DECODE_CUT`. */
  readonly map: TileMap;
  readonly score: ScoreCode;
  /** Slots of a tile that queries may be in. */
  readonly width: number;
  /** Where keys and values are, if in pages: of all slabs, and for each of them. */
  readonly pages?: {
    readonly dtype: CacheDType;
    readonly shared: Inputs;
    readonly slabs: readonly Inputs[];
  };
}

type Inputs = Pick<Dispatch, 'operands' | 'numbers'>;

const NOTHING: Inputs = { operands: {}, numbers: {} };

/** A dispatch for each slab, and the one that merges what they leave. */
export function decode(
  { call, batches, g, map, score, width, pages }: Decoded,
  workspace: Workspace,
): { readonly parts: Dispatch[]; readonly merge: Dispatch } {
  const { device } = workspace;
  const [, , h, d] = call.q.shape as [number, number, number, number];
  const e = call.out.shape[3] as number;
  const repeat = h / g;
  const maps = map.words.subarray(0, pages ? h : batches * h);
  const together = maps.every((list, at) => list === maps[at - (at % repeat)]) ? repeat : 1;
  const fitting = ROWS.filter((rows) => bytesOf(rows) <= device.limits.maxComputeWorkgroupStorageSize);
  const rows = fitting.find((rows) => together * width <= rows) ?? (fitting.at(-1) as number);
  const chunks = Math.ceil((together * width) / rows);
  const groups = h / together;
  const tasks = batches * groups * map.owners * chunks;
  const splits = Math.max(1, Math.min(Math.ceil(sizesOf(device).workgroups / tasks), Math.floor(map.most / PANELS)));
  const quads = 2 ** Math.ceil(Math.log2(Math.ceil(e / 4)));
  const variant: DecodeVariant = {
    ...{ cut: map.cut, score: score.shader, isModified: call.score !== undefined },
    ...{ rows, pages: pages?.dtype },
  };
  const { operands, numbers } = pages?.shared ?? NOTHING;
  const slabs = pages?.slabs ?? [NOTHING];
  const partsOfRow = splits * slabs.length;
  const shared = {
    ...{ parts: workspace.scratch([Math.max(1, tasks * partsOfRow * rows * (8 * quads + 4))]), ...operands },
  };
  const common = {
    ...{ repeat, together, groups, width, chunks, splits, quads, key_groups: INVOCATIONS / quads },
    ...{ parts_of_row: partsOfRow, first_part: 0, ...numbers },
  };
  const panels = (map.visited / together) * chunks * (pages ? batches : 1);
  return {
    parts: slabs.map((slab, at) =>
      attentionDispatch(partKernel(variant), call, map, score, workspace, {
        operands: { ...shared, ...slab.operands },
        numbers: { ...common, ...slab.numbers, first_part: at * splits },
        tasks: tasks * splits,
        operations: 2 * (d + e) * panels * rows * DECODE_CUT.keys,
      }),
    ),
    merge: attentionDispatch(mergeKernel(variant), call, map, score, workspace, {
      operands: shared,
      numbers: common,
      tasks: tasks * rows,
      operations: tasks * rows * partsOfRow * (4 * e + 8),
    }),
  };
}
