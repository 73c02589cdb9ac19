/** Plans of attention's calls, for the kernels of forward.as.ts and backward.as.ts. */

import type { Steps } from '../../runtime/turns';
import { CHUNK_PANELS, PANEL, SLICE, TILE } from '../../runtime/wasm/params';
import type { Job } from '../../runtime/wasm/plan';
import {
  contiguous,
  FLOPS_PER_MICROSECOND,
  headsOfTask,
  type Machine,
  NO_OPERAND,
  operand,
  type Plan,
} from '../../runtime/wasm/plan';
import type { BlockMap } from './block-map/block-map';
import type { AttentionBackwardCall, AttentionCall } from './call';
import { FEW_QUERIES, planDecode } from './decode';
import {
  BackwardParams,
  BLOCK_PANELS,
  EXTREMES_BYTES,
  ForwardParams,
  MOST_TOGETHER,
  PACKED_BYTES,
  TABLE_RUN,
} from './params.generated';
import {
  type AddressOf,
  keyProgram,
  scoreProgramBytes,
  scorePrograms,
  tablePlaces,
  tablePlacesBytes,
  tablesRead,
  writeScorePrograms,
  writeTablePlaces,
} from './score-programs';
import { blockMapBytes, blockMapSteps, writeBlockMap } from './wasm-map';

/** Attention's backward pass has at least so many tasks, if there are keys enough. */
const BACKWARD_TASKS = 16;
/** A part of the keys has at least so many panels: each part lays out all queries anew. */
const PART_PANELS = 48;
/** Of a thread's own cache, what the keys and values that a tile sees may take. */
const CACHE_BYTES = 2 ** 20;
/** And of the cache that threads share, those of a head. */
const SHARED_CACHE_BYTES = 2 ** 23;
/** A tile that sees less than this share of the keys sees them here and there. */
const SPARSE = 0.25;
/** Tasks that each thread gets at least where a task is several tiles, so that threads end together. */
const TASKS_OF_THREAD = 16;
/** Tiles of each head in a task that takes all heads, at most. */
const MOST_TILES = 64;
/** Sums for the gradients with respect to captured arrays: with more bytes, fewer threads. */
const TABLE_SUMS_BYTES = 2 ** 26;

export function* planAttention(call: AttentionCall, machine: Machine): Steps<Plan> {
  const { memory, threads } = machine;
  const { q, k, v, out, lse, scale, score, probe } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const map = yield* blockMapSteps(call.mask, { b, n, m, h, g });
  if (n <= FEW_QUERIES && !map.queries && !map.keys) {
    const program = keyProgram(score, { b, n, m, h, g });
    const rows = Array.from({ length: b }, (_, at) => ({ queries: n, keys: m, map, first: at * h, program }));
    return planDecode(call, { b, n, h, g, d, e }, { k: operand(k), v: operand(v) }, rows, machine);
  }
  const modifier = scorePrograms(score, { b, n, m, h, g });
  const slots = map.panels * PANEL;
  const cut = cutAttention(map, { b, h, g, d, e }, threads);
  const packed = cut.packsItself ? 0 : b * g * slots * 4;
  const chunks = Math.ceil(map.panels / CHUNK_PANELS);
  const scratch = {
    map: blockMapBytes(map),
    programs: scoreProgramBytes(modifier),
    keys: packed * d,
    values: packed * inSlices(e),
    extremes: b * g * EXTREMES_BYTES,
  };
  return planned(scratch, modifier, ({ map: at, programs, keys, values, extremes }, addressOf) => {
    new Uint8Array(memory.buffer, extremes, scratch.extremes).fill(0);
    return [
      {
        phases: [
          ...(cut.packsItself ? [] : [{ kernel: 'packKeysValues', tasks: b * chunks } as const]),
          { kernel: 'attention', tasks: cut.tasks },
        ],
        params: ForwardParams({
          problem: {
            ...{ b, n, m, h, g, d, e, scale, q: operand(q), k: operand(k), v: operand(v) },
            r: probe ? operand(probe.r) : NO_OPERAND,
            ...writeBlockMap(map, memory, at),
            ...writeScorePrograms(modifier, memory, programs, addressOf),
          },
          ...{ out: contiguous(out), lse, mean: probe?.mean, level: probe?.level, extremes },
          ...(cut.packsItself ? { packedKeys: 0, packedValues: 0 } : { packedKeys: keys, packedValues: values }),
          ...cut,
        }),
        microseconds: ((probe ? 2 : 1) * 2 * (d + e) * map.visited * TILE * PANEL) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}

export function* planAttentionBackward(call: AttentionBackwardCall, { memory }: Machine): Steps<Plan> {
  const { q, k, v, out, lse, gradOut, gradLse, gradQ, gradK, gradV, gradTables, scale, score, probe } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const map = yield* blockMapSteps(call.mask, { b, n, m, h, g });
  const modifier = scorePrograms(score, { b, n, m, h, g });
  const slots = map.panels * PANEL;
  const [columnsOfK, columnsOfV] = [inSlices(d), inSlices(e)];
  const parts = Math.min(Math.ceil(map.panels / PART_PANELS), Math.ceil(BACKWARD_TASKS / (b * g)));
  const places = score && gradTables ? tablePlaces(score, { b, n, m, h, g }) : [];
  const elements = gradTables?.size ?? 0;
  const groups = Math.min(b * g * parts, Math.max(1, Math.floor(TABLE_SUMS_BYTES / (elements * 8))));
  const scratch = {
    map: blockMapBytes(map),
    programs: scoreProgramBytes(modifier),
    keyPanels: b * g * slots * d * 4,
    keySlices: b * g * slots * columnsOfK * 4,
    valuePanels: b * g * slots * e * 4,
    sumsQ: (parts * b * h * map.tiles * TILE * d + 4) * 4,
    sumsR: probe ? (parts * b * h * map.tiles * TILE * d + 4) * 4 : 0,
    sumsK: b * g * slots * columnsOfK * 4,
    sumsV: b * g * slots * columnsOfV * 4,
    places: tablePlacesBytes(places),
    sumsOfTables: places.length && groups * elements * 8,
  };
  const all = [...modifier, ...places.flatMap(({ programs }) => programs)];
  return planned(scratch, all, ({ map: at, programs, ...work }, addressOf) => {
    writeTablePlaces(places, memory, work.places, addressOf);
    return [
      {
        phases: [
          { kernel: 'backwardPack', tasks: b * g * Math.ceil(map.panels / CHUNK_PANELS) },
          { kernel: 'attentionBackward', tasks: places.length ? groups : b * g * parts, main: true },
          { kernel: 'backwardReduce', tasks: b * h * map.tiles },
          ...(places.length ? [{ kernel: 'backwardTables', tasks: Math.ceil(elements / TABLE_RUN) } as const] : []),
        ],
        params: BackwardParams({
          problem: {
            ...{ b, n, m, h, g, d, e, scale, q: operand(q), k: operand(k), v: operand(v) },
            r: probe ? operand(probe.r) : NO_OPERAND,
            ...writeBlockMap(map, memory, at),
            ...writeScorePrograms(modifier, memory, programs, addressOf),
          },
          ...{ ...work, out: operand(out), gradOut: operand(gradOut), lse, gradLse, gradTables },
          ...{ mean: probe ? operand(probe.mean) : NO_OPERAND, level: probe?.level },
          gradR: probe ? contiguous(probe.gradR) : NO_OPERAND,
          ...{ gradQ: contiguous(gradQ), gradK: contiguous(gradK), gradV: contiguous(gradV) },
          ...{ parts, placeCount: places.length, elements, groups },
        }),
        microseconds: ((probe ? 12 * d + 4 * e : 6 * d + 4 * e) * map.visited * TILE * PANEL) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}

/** A plan whose jobs get the addresses of working memory, and learn where the tables lie that programs read. */
function planned<Name extends string>(
  bytes: Readonly<Record<Name, number>>,
  programs: Parameters<typeof tablesRead>[0],
  jobs: (addresses: Readonly<Record<Name, number>>, addressOf: AddressOf) => readonly Job[],
): Plan {
  return { bytes, tables: tablesRead(programs), jobs };
}

/** How attention is cut: into tasks, which changes no bits, and each tile's keys into parts, which follow from the shapes. */
function cutAttention(
  { tiles, panels, visited }: BlockMap,
  { b, h, g, d, e }: Readonly<Record<'b' | 'h' | 'g' | 'd' | 'e', number>>,
  threads: number,
) {
  // Where tiles see keys here and there, and those of one stay in a thread's cache, a task is some tiles of all heads;
  // else one of one head or, where its keys outgrow the cache that threads share, some that go through them together.
  const panelsOfTile = visited / (b * h * tiles);
  const bytesOf = (count: number) => count * PANEL * (d + inSlices(e)) * 4;
  const isNear = bytesOf(panelsOfTile) < CACHE_BYTES && panelsOfTile < SPARSE * panels;
  const share = (all: number) => Math.floor(all / (TASKS_OF_THREAD * threads));
  const takesAllHeads = isNear && share(tiles) > 0;
  const most = takesAllHeads ? MOST_TILES : bytesOf(panels) > SHARED_CACHE_BYTES ? MOST_TOGETHER : 1;
  const tilesOfTask = Math.min(most, Math.max(1, share(takesAllHeads ? tiles : b * h * tiles)));
  // Short sequences are a task by heads, which packs what it needs, so that nothing goes through memory twice.
  const longest = Math.max(panels, (tiles * TILE) / PANEL);
  const packsItself = !takesAllHeads && bytesOf(longest) <= PACKED_BYTES && share(b * g) > 0;
  const heads = headsOfTask(b * g, threads);
  // Parts of the keys, of even size, in which a tile sees about a block.
  const ranges = isNear ? 1 : Math.ceil(panelsOfTile / BLOCK_PANELS);
  return {
    ...{ takesAllHeads, packsItself, tilesOfTask, headsOfTask: heads },
    tasks: packsItself ? Math.ceil((b * g) / heads) : Math.ceil(tiles / tilesOfTask) * (takesAllHeads ? 1 : b * h),
    rangePanels: Math.ceil(panels / Math.max(1, ranges)),
  };
}

const inSlices = (columns: number): number => Math.ceil(columns / SLICE) * SLICE;
