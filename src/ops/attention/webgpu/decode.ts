/**
 * Attention of few queries and many keys, as in decoding: what a tile of queries sees is split over workgroups, each of
 * which leaves its outputs, not yet divided, with the maximum and the sum of its scores; a second kernel merges them.
 *
 * An invocation multiplies four columns of a key that it shares with its neighbours, so loads are of whole rows; the
 * products of a key are added up by one invocation each. For the values an invocation has four columns and some of the keys.
 */

import { type Dispatch, type Kernel, variants } from '../../../runtime/webgpu/kernel';
import { each } from '../../../runtime/webgpu/kernels/text';
import type { Workspace } from '../../../runtime/webgpu/queue';
import type { AttentionCall } from '../call';
import { type AttentionVariant, attentionDispatch, attentionKernel, INPUTS, RESULTS } from './common';
import type { ScoreCode } from './score';
import type { TileCut, TileMap } from './tile-map';

const INVOCATIONS = 64;
/** Keys of a panel. */
const KEYS = 32;
/** Of a part at least so many panels. */
const PANELS = 4;
/** Queries of a tile: pipelines are few. */
const TILES = [1, 4, 8];

/** Vectors of a row. */
const QUADS = 64;

/** Workgroup memory of a kernel. */
const bytesOf = (queries: number) => 4 * (4 * queries * QUADS + KEYS * QUADS + queries * KEYS + 4 * INVOCATIONS);

/** How few queries are cut, with so much workgroup memory. */
export function decodeCut(n: number, most: number): TileCut {
  const fitting = TILES.filter((queries) => bytesOf(queries) <= most);
  return { queries: fitting.find((queries) => n <= queries) ?? (fitting.at(-1) as number), keys: KEYS };
}

/** Parts of the keys; vectors of outputs, rounded up to a power of two; and how many invocations share each of these. */
const NUMBERS = { splits: 'u32', quads: 'u32', key_groups: 'u32' } as const;

const partKernel = variants((variant: AttentionVariant): Kernel => {
  const rows = variant.cut.queries;
  const everyRow = (line: (r: number) => string) => each(rows, line);
  return attentionKernel({
    name: 'attention, a part of the keys',
    invocations: INVOCATIONS,
    variant,
    operands: { ...INPUTS, parts: { access: 'write' } },
    numbers: NUMBERS,
    body: `
var<workgroup> queries: array<vec4f, TILE * 64>;
/// Of each key the products of its columns, four in one.
var<workgroup> products: array<f32, PANEL * 64>;
var<workgroup> scores: array<f32, TILE * PANEL>;
var<workgroup> shared_outputs: array<vec4f, ${INVOCATIONS}>;

fn run(task: u32, lane: u32) {
  let split = task % numbers.splits;
  let place = place_of(task / numbers.splits);
  let span = span_of(place.row, place.tile);
  let first = span.others * split / numbers.splits;
  let past = span.others * (split + 1) / numbers.splits;
  let depth = (numbers.d + 3) / 4;
  for (var at = lane; at < TILE * depth; at += ${INVOCATIONS}) {
    let query = query_at(place.tile * TILE + at / depth);
    let c = at % depth * 4;
    var x = vec4f();
    if (query >= 0) { x = kept(load4_q(at_q(place.batch, u32(query), place.head, c)), numbers.d - c) * numbers.factor; }
    queries[at / depth * 64 + at % depth] = x;
  }
  let quad = lane % numbers.quads;
  let key_group = lane / numbers.quads;
  ${everyRow((r) => `var top${r} = LOWEST; var sum${r} = 0.0; var o${r} = vec4f();`)}
  // Panels of the span before the run.
  var before = 0u;
  for (var i = span.first; i < span.past; i++) {
    let run = run_at(i);
    let begin = run.first + max(first, before) - before;
    let end = min(run.past, run.first + max(past, before) - before);
    before += run.past - run.first;
    for (var panel = begin; panel < end; panel++) {
      for (var r = 0u; r < TILE; r++) {
        workgroupBarrier();
        for (var at = lane; at < PANEL * depth; at += ${INVOCATIONS}) {
          let key = key_at(panel * PANEL + at / depth);
          let c = at % depth * 4;
          let x = kept(load4_k(at_k(place.batch, u32(max(key, 0)), place.key_head, c)), numbers.d - c);
          products[at / depth * 64 + at % depth] = dot(x, queries[r * 64 + at % depth]);
        }
        workgroupBarrier();
        if (lane < PANEL) {
          var score = 0.0;
          for (var c = 0u; c < depth; c++) { score += products[lane * 64 + c]; }
          ${
            variant.isModified
              ? `
          let query = u32(max(query_at(place.tile * TILE + r), 0));
          let key = u32(max(key_at(panel * PANEL + lane), 0));
          score = ${Math.LOG2E} * modified(score, place.batch, place.head, query, key);`
              : ''
          }
          if (!run.is_full) {
            let word = seen_word(pattern_of(run, 0), lane) >> r;
            score = select(-numbers.infinity, score, (word & 1) == 1);
          }
          scores[r * PANEL + lane] = score;
        }
      }
      workgroupBarrier();
      ${everyRow(
        (r) => `
      var next${r} = top${r};
      for (var c = 0u; c < PANEL; c++) { next${r} = max(next${r}, scores[${r} * PANEL + c]); }
      let fade${r} = exp2(top${r} - next${r});
      top${r} = next${r};
      sum${r} *= fade${r};
      o${r} *= fade${r};`,
      )}
      for (var c = 0u; c < PANEL; c++) {
        ${everyRow((r) => `sum${r} += exp2(scores[${r} * PANEL + c] - top${r});`)}
      }
      if (4 * quad < numbers.e && key_group < numbers.key_groups) {
        for (var c = key_group; c < PANEL; c += numbers.key_groups) {
          let key = key_at(panel * PANEL + c);
          let value = kept(load4_v(at_v(place.batch, u32(max(key, 0)), place.key_head, 4 * quad)), numbers.e - 4 * quad);
          ${everyRow((r) => `o${r} = fma(vec4f(exp2(scores[${r} * PANEL + c] - top${r})), value, o${r});`)}
        }
      }
    }
  }
  // Of each row its outputs, then the maximum and the sum of its scores.
  let length = 4 * numbers.quads + 2;
  ${everyRow(
    (r) => `{
    workgroupBarrier();
    shared_outputs[lane] = o${r};
    workgroupBarrier();
    let at = (task * TILE + ${r}) * length;
    if (key_group == 0) {
      var total = vec4f();
      for (var other = 0u; other < numbers.key_groups; other++) { total += shared_outputs[other * numbers.quads + quad]; }
      for (var c = 0u; c < 4; c++) { store_parts(at + 4 * quad + c, total[c]); }
    }
    if (lane == 0) {
      store_parts(at + length - 2, top${r});
      store_parts(at + length - 1, sum${r});
    }
  }`,
  )}
}`,
  });
});

const mergeKernel = variants(
  (variant: AttentionVariant): Kernel =>
    attentionKernel({
      name: 'attention, parts of the keys merged',
      invocations: INVOCATIONS,
      variant,
      operands: { parts: { access: 'read' }, ...RESULTS },
      numbers: NUMBERS,
      body: `
var<workgroup> bad: array<u32, ${INVOCATIONS}>;

fn run(task: u32, lane: u32) {
  let place = place_of(task / TILE);
  let r = task % TILE;
  let slot = query_at(place.tile * TILE + r);
  let others = span_of(place.row, place.tile).others;
  let length = 4 * numbers.quads + 2;
  let first = (task / TILE * numbers.splits * TILE + r) * length;
  let step = TILE * length;
  var top = LOWEST;
  for (var split = 0u; split < numbers.splits; split++) { top = max(top, load_parts(first + split * step + length - 2)); }
  var sum = 0.0;
  var x = vec4f();
  for (var split = 0u; split < numbers.splits; split++) {
    let at = first + split * step;
    let weight = exp2(load_parts(at + length - 2) - top);
    sum += weight * load_parts(at + length - 1);
    if (lane < numbers.quads) {
      let c = at + 4 * lane;
      x += weight * vec4f(load_parts(c), load_parts(c + 1), load_parts(c + 2), load_parts(c + 3));
    }
  }
  bad[lane] = select(0u, 1u, has_special(x));
  workgroupBarrier();
  var is_bad = 0u;
  for (var other = 0u; other < ${INVOCATIONS}; other++) { is_bad |= bad[other]; }
  if (is_bad != 0) { sum = not_a_number(); }
  if (slot < 0) { return; }
  let share = finish_row(place, u32(slot), top, sum, others, lane == 0);
  if (lane < numbers.quads) { store_columns(place, u32(slot), 4 * lane, x * share); }
}`,
    }),
);

/** The dispatches of a call with the map of its `decodeCut`, of about `workgroups` workgroups. */
export function decode(
  call: AttentionCall,
  map: TileMap,
  variant: AttentionVariant,
  score: ScoreCode,
  workspace: Workspace,
  workgroups: number,
): Dispatch[] {
  const [b, , h] = call.q.shape as [number, number, number];
  const e = call.v.shape[3] as number;
  const tiles = b * h * map.owners;
  const rows = tiles * map.cut.queries;
  const splits = Math.max(1, Math.min(Math.ceil(workgroups / tiles), Math.floor(map.most / PANELS)));
  const quads = 2 ** Math.ceil(Math.log2(Math.ceil(e / 4)));
  const more = {
    operands: { parts: workspace.scratch([rows * splits * (4 * quads + 2)]) },
    numbers: { splits, quads, key_groups: INVOCATIONS / quads },
  };
  return [
    attentionDispatch(partKernel(variant), call, map, score, workspace, { ...more, tasks: tiles * splits }),
    attentionDispatch(mergeKernel(variant), call, map, score, workspace, {
      ...more,
      tasks: rows,
      operations: rows * splits * (2 * e + 4),
    }),
  ];
}
