/**
 * Gradients with respect to the tables and tensors that a score modifier captured, without atomic operations and in a fixed order.
 *
 * Which element a pair of query and key touches is any function of the pair. A workgroup takes tiles of pairs one after
 * the other, writes what each pair adds and where to workgroup memory, and its lanes go through all of it, each adding
 * only to the elements of its own residue class. Workgroups must not meet: ranges of the index over the pairs of a tile
 * of queries tell which tiles can touch the same elements. Those that can are one workgroup's, or, where that would
 * leave too few workgroups, they are split, and each split has a copy of the table, summed in order at the end.
 */

import { anyScore, integers, rangesOf } from '../../../../expressions/ranges';
import type { Extent } from '../../../../masks/mask';
import type { Steps } from '../../../../runtime/turns';
import { type Dispatch, type Kernel, type Region, variants } from '../../../../runtime/webgpu/kernel';
import { HIDDEN_ZERO, LANES, strideOf } from '../../../../runtime/webgpu/kernels/product';
import type { Workspace } from '../../../../runtime/webgpu/plan';
import { placesOf } from '../../../../scores/score';
import { tilesOf } from '../../block-map/tiles';
import { tileMap } from '../../block-map/webgpu';
import type { AttentionBackwardCall } from '../../call';
import { type ScoreShader, scoreCode, scoreOperands } from '../../score/webgpu';
import { cutOf, OTHERS, type Pairs, pairsKernel, visitCode } from './pairs';

/** Queries of a tile. */
const OWN = 32;

/** The most numbers in all copies of a table. */
const COPIES = 2 ** 24;
/** Workgroups that keep a device busy. */
const ENOUGH = { software: 8, hardware: 512 };
/** For more tiles it is not worked out which meet. */
const MOST_TILES = 2 ** 14;

type Place = ReturnType<typeof placesOf>[number];

interface Variant {
  readonly score: ScoreShader;
  readonly place: number;
  readonly isSoftware: boolean;
}

const tableKernel = variants(({ score, place, isSoftware }: Variant): Kernel => {
  const pairs: Pairs = { own: 'queries', halves: 1, gradients: true, score, isSoftware };
  const args = 'score[c], batch, head, u32(query), u32(token)';
  return pairsKernel(pairs, [], {
    name: 'attention backward, a table',
    operands: { parts: { access: 'read' }, copies: { access: 'update' } },
    numbers: { first_item: 'u32', length: 'u32' },
    body: `
var<workgroup> indices: array<vec4i, ${OTHERS * strideOf(1)}>;

/// A part has its first item, one past its last, and its copy; an item a row and an owner.
fn run(task: u32, lane: u32) {
  let past = u32(load_parts(3 * task + 1));
  let copy = u32(load_parts(3 * task + 2)) * numbers.length;
  for (var item = u32(load_parts(3 * task)); item < past; item++) {
    let row = u32(load_parts(numbers.first_item + 2 * item));
    let owner = u32(load_parts(numbers.first_item + 2 * item + 1));
    let batch = row / numbers.h;
    let head = row % numbers.h;
    let key_head = head / numbers.repeat;
    ${visitCode(pairs, {
      quad: `
      var added = gradient;
      var touched = vec4i(-1);
      let token = key_at(tile * ${OTHERS}u + r);
      for (var c = ${HIDDEN_ZERO}; c < 4; c++) {
        let query = query_at(owner * ${OWN}u + 4 * quad + c);
        if (gradient[c] != 0.0) {
          touched[c] = table_index${place}(${args});
          added[c] *= table_factor${place}(${args});
        }
      }
      weights[r * ${strideOf(1)} + quad] = added;
      indices[r * ${strideOf(1)} + quad] = touched;`,
      tile: `
    workgroupBarrier();
    // Sums of a tile are made apart, and so do not lose digits in those of all.
    var element = -1;
    var sum = 0.0;
    for (var i = ${HIDDEN_ZERO}; i < ${OTHERS * 8}u; i++) {
      let at = i / 8 * ${strideOf(1)} + i % 8;
      let places = indices[at];
      if (all((vec4u(places) % ${LANES}) != vec4u(lane))) { continue; }
      for (var c = 0u; c < 4; c++) {
        if (u32(places[c]) % ${LANES} != lane || u32(places[c]) >= numbers.length) { continue; }
        if (places[c] != element) {
          if (element >= 0) { add_to(copy + u32(element), sum); }
          element = places[c];
          sum = 0.0;
        }
        sum += weights[at][c];
      }
    }
    if (element >= 0) { add_to(copy + u32(element), sum); }`,
    })}
  }
}
fn add_to(at: u32, x: f32) { store_copies(at, load_copies(at) + x); }`,
  });
});

const INVOCATIONS = 64;

const clearKernel: Kernel = {
  name: 'zeros',
  invocations: INVOCATIONS,
  operands: { x: { access: 'write' } },
  numbers: { size: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let i = task * ${INVOCATIONS} + lane;
  if (i < numbers.size) { store_x(i, 0.0); }
}`,
};

const sumKernel: Kernel = {
  name: 'sum of copies',
  invocations: INVOCATIONS,
  operands: { copies: { access: 'read' }, x: { access: 'update' } },
  numbers: { size: 'u32', count: 'u32' },
  body: `
fn run(task: u32, lane: u32) {
  let i = task * ${INVOCATIONS} + lane;
  if (i >= numbers.size) { return; }
  var sum = load_x(i);
  for (var copy = 0u; copy < numbers.count; copy++) { sum += load_copies(copy * numbers.size + i); }
  store_x(i, sum);
}`,
};

const overElements = (kernel: Kernel, operands: Dispatch['operands'], size: number, count = 1): Dispatch => ({
  kernel,
  operands,
  numbers: { size, count },
  tasks: Math.ceil(size / INVOCATIONS),
  operations: size * count,
});

/** Adds up the gradients with respect to all tables; `given` are the operands that the other gradients have too. */
export function* planTables(
  { q, v, mask, score, scale, gradTables }: AttentionBackwardCall,
  given: Readonly<Record<string, Region>>,
  workspace: Workspace,
): Steps<Dispatch[]> {
  if (!gradTables || !score || gradTables.size === 0) return [];
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const extent = { b, n, m, h, g };
  const code = scoreCode(score, extent, 'tables');
  const map = yield* tileMap(mask, extent, cutOf({ own: 'queries', halves: 1 }), 'queries');
  const { isSoftware } = workspace.device;
  const shared = { ...given, map: tilesOf(map, workspace), ...scoreOperands(code, workspace) };
  const dispatches = [overElements(clearKernel, { x: gradTables }, gradTables.size)];
  const tiles = { owners: map.owners, isArranged: mask.arrange?.(extent) !== undefined };
  placesOf(score).forEach(({ index, first, length }, place) => {
    if (length === 0) return;
    const { parts, copies } = partsOf({ index, length }, extent, tiles, workspace.device);
    const { storage, dtype, offset } = gradTables;
    const result: Region = { storage, dtype, shape: [length], strides: [1], offset: offset + first };
    const target = copies === 1 ? result : workspace.scratch([copies, length]);
    if (copies > 1) dispatches.push(overElements(clearKernel, { x: target }, copies * length));
    dispatches.push({
      kernel: tableKernel({ score: code.shader, place, isSoftware }),
      operands: { ...shared, parts: workspace.upload(numbersOf(parts)), copies: target },
      numbers: {
        n,
        h,
        repeat: h / g,
        d,
        e,
        scale,
        first_item: 3 * parts.length,
        length,
        ...map.numbers,
        ...code.numbers,
      },
      tasks: parts.length,
      operations: 2 * (d + e + OWN) * map.visited * OWN * OTHERS,
    });
    if (copies > 1) dispatches.push(overElements(sumKernel, { copies: target, x: result }, length, copies));
  });
  return dispatches;
}

/** A row of the map and a tile of it. */
type Item = readonly [row: number, owner: number];

interface Part {
  readonly items: readonly Item[];
  readonly copy: number;
}

function numbersOf(parts: readonly Part[]): Int32Array {
  let past = 0;
  const heads = parts.flatMap(({ items, copy }) => {
    const first = past;
    past += items.length;
    return [first, past, copy];
  });
  return Int32Array.from([...heads, ...parts.flatMap(({ items }) => items.flat())]);
}

/** The tiles of a row, and whether their queries are in another order. */
interface Tiles {
  readonly owners: number;
  readonly isArranged: boolean;
}

/** Tiles that may touch the same elements are of one part, or have different copies. */
function partsOf(
  { index, length: elements }: Pick<Place, 'index' | 'length'>,
  extent: Extent,
  tiles: Tiles,
  { isSoftware }: Workspace['device'],
): { readonly parts: readonly Part[]; readonly copies: number } {
  const groups = apart(index, extent, tiles);
  const wanted = Math.ceil(ENOUGH[isSoftware ? 'software' : 'hardware'] / groups.length);
  const most = groups.reduce((largest, { length }) => Math.max(largest, length), 1);
  const copies = Math.max(1, Math.min(wanted, most, Math.floor(COPIES / elements)));
  const parts = groups.flatMap((items) => {
    const size = Math.ceil(items.length / copies);
    return Array.from({ length: Math.ceil(items.length / size) }, (_, copy) => ({
      items: items.slice(copy * size, (copy + 1) * size),
      copy,
    }));
  });
  return { parts, copies };
}

/** All tiles, in groups of which no two touch the same element. */
function apart(index: Place['index'], extent: Extent, { owners, isArranged }: Tiles): readonly (readonly Item[])[] {
  const { b, n, m, h } = extent;
  const all: { readonly item: Item; readonly low: number; readonly high: number }[] = [];
  const isWorkedOut = b * h * owners <= MOST_TILES && m > 0;
  for (let row = 0; row < b * h; row++) {
    for (let tile = 0; tile < owners; tile++) {
      const queries = isArranged ? [0, n - 1] : [tile * OWN, Math.min(n, (tile + 1) * OWN) - 1];
      const range = isWorkedOut
        ? rangesOf(index, {
            score: anyScore,
            q: integers(...(queries as [number, number])),
            k: integers(0, m - 1),
            b: point(Math.floor(row / h)),
            h: point(row % h),
            n: point(n),
            m: point(m),
          }).at(-1)
        : undefined;
      all.push({ item: [row, tile], low: range?.low ?? 0, high: range?.high ?? 0 });
    }
  }
  const groups: Item[][] = [];
  let end = Number.NEGATIVE_INFINITY;
  // Sorting is stable: tiles stay in order.
  for (const { item, low, high } of all.sort((x, y) => x.low - y.low)) {
    if (low > end || groups.length === 0) groups.push([]);
    (groups.at(-1) as Item[]).push(item);
    end = Math.max(end, high);
  }
  return groups;
}

const point = (x: number) => integers(x, x);
