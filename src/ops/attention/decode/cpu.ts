/** Plans of attention of few queries, for the kernels of decode.as.ts. */

import { type Operand, PANEL } from '../../../runtime/cpu/params';
import {
  BYTES_PER_MICROSECOND,
  contiguous,
  FLOPS_PER_MICROSECOND,
  type Machine,
  operand,
  type Plan,
} from '../../../runtime/cpu/plan';
import type { Values } from '../../../runtime/cpu/struct';
import { type BlockMap, RUN_LENGTH } from '../block-map/block-map';
import type { AttentionCall } from '../call';
import { type Extents, planned } from '../cpu';
import type { DecodeParams as declared } from '../params';
import {
  DECODE_KEYS,
  DECODE_ROW_LENGTH,
  DECODE_SEGMENT_LENGTH,
  DecodeParams,
  PATTERN_LENGTH,
} from '../params.generated';
import { type ScoreProgram, scoreProgramBytes, writeScorePrograms } from '../score/cpu';

/** The most queries of a head: beyond it keys and values are better packed. */
export const FEW_QUERIES = 16;
/** Rows of queries whose scores are computed together. */
export const GROUP = 4;
/** Keys of a split: splits follow from the shapes alone. */
const SPLIT_KEYS = 8 * DECODE_KEYS;
/** Behind the sums of a group of rows. */
const STATE_FLOATS = 12;
/** The most sums of the heads that a task takes: they stay in a thread's own cache. */
const MOST_SUMS = 2 ** 14;

/** What the queries of a batch see, and what changes their scores. */
export interface DecodeRow {
  /** How many of the queries there are. */
  readonly queries: number;
  readonly keys: number;
  readonly map: BlockMap;
  /** Its first head in `map.maps`. */
  readonly first: number;
  readonly program?: ScoreProgram | undefined;
}

/** Where rows of keys and values lie in pages: what the kernels' params say of it. */
interface Paged {
  /** Addresses of the pages of each batch, [b][pagesOfRow]. */
  readonly addresses: Int32Array;
  readonly numbers: Pick<Values<typeof declared>, 'pagesOfRow' | 'pageRows' | 'keyScales' | 'valueScales'>;
}

interface Decoded {
  readonly extents: Omit<Extents, 'm'>;
  readonly k: Values<typeof Operand>;
  readonly v: Values<typeof Operand>;
  readonly rows: readonly DecodeRow[];
  readonly pages?: Paged;
  /** How many of a group's rows are queries of attention's. */
  readonly queriesOfGroup: number;
}

/** The bytes of an element, by the kernels' number for its dtype. */
const BYTES = [4, 2, 2, 1];

/** The plan of a call whose rows have at most `FEW_QUERIES` queries, under a map without an order of its own. */
export function planDecode(
  { q, out, lse, scale }: Pick<AttentionCall, 'q' | 'out' | 'lse' | 'scale'>,
  { extents, k, v, rows, pages, queriesOfGroup }: Decoded,
  { memory }: Machine,
): Plan {
  const { b, n, h, g: keyHeads, d, e } = extents;
  const seen = segmentsOf(rows, h);
  const programs = [...new Set(rows.flatMap(({ program }) => program ?? []))];
  const most = seen.lists.reduce((most, { keys }) => Math.max(most, keys), 0);
  const splits = Math.max(1, Math.ceil(most / SPLIT_KEYS));
  // What lies side by side is read through: all heads of some keys, and then of the next, where heads see alike.
  const g = isAlike(seen.maps, h / keyHeads) ? keyHeads : h;
  const groups = Math.ceil(((h / g) * n) / queriesOfGroup);
  const headsOfTask =
    pages || !isAlike(seen.maps, h) ? 1 : Math.min(g, Math.max(1, Math.floor(MOST_SUMS / (groups * e))));
  const tables = {
    maps: seen.maps,
    lists: seen.lists.flatMap(({ first, past, keys }) => [first, past, keys]),
    segments: seen.segments,
    words: seen.words,
    pages: pages?.addresses ?? [],
  };
  const ints = (numbers: number) => Math.max(4, 4 * numbers);
  const bytes = {
    rows: ints(b * DECODE_ROW_LENGTH),
    maps: ints(tables.maps.length),
    lists: ints(tables.lists.length),
    segments: ints(tables.segments.length),
    words: ints(tables.words.length),
    pages: ints(tables.pages.length),
    programs: scoreProgramBytes(programs),
    queries: b * g * groups * Math.ceil(d / 4) * 64,
    parts: b * g * splits * groups * (Math.ceil(e / 4) * 64 + STATE_FLOATS * 4),
  };
  const keys = seen.maps.reduce((sum, list) => sum + (seen.lists[list] as List).keys, 0);
  const read = ((keys * g) / h) * (d * (BYTES[k.dtype] as number) + e * (BYTES[v.dtype] as number));
  const flops = ((keys * g) / h) * groups * 2 * GROUP * (d + e);
  return planned(bytes, programs, (at, addressOf) => {
    const put = (address: number, numbers: ArrayLike<number>) =>
      new Int32Array(memory.buffer, address, numbers.length).set(numbers);
    let next = at.programs;
    const written = new Map(
      programs.map((program) => {
        const { program: address, tables } = writeScorePrograms([program], memory, next, addressOf);
        next += scoreProgramBytes([program]);
        return [program, [address, tables]];
      }),
    );
    put(
      at.rows,
      rows.flatMap(({ queries, program }) => [queries, ...((program && written.get(program)) ?? [0, 0])]),
    );
    for (const [name, numbers] of Object.entries(tables)) put(at[name as keyof typeof tables], numbers);
    return [
      {
        phases: [
          { kernel: 'decodeQueries', tasks: b * g },
          { kernel: 'decode', tasks: b * Math.ceil(g / headsOfTask) * splits, main: true },
          { kernel: 'decodeMerge', tasks: b * h },
        ],
        params: DecodeParams({
          ...extents,
          g,
          keyHeads,
          scale,
          q: operand(q),
          k,
          v,
          out: contiguous(out),
          lse,
          ...(pages?.numbers ?? { pagesOfRow: 0, pageRows: 0, keyScales: 0, valueScales: 0 }),
          ...at,
          pages: pages ? at.pages : 0,
          splits,
          splitKeys: SPLIT_KEYS,
          headsOfTask,
        }),
        microseconds: Math.max(read / BYTES_PER_MICROSECOND, flops / FLOPS_PER_MICROSECOND),
      },
    ];
  });
}

/** Whether each run of so many heads has one list. */
const isAlike = (maps: readonly number[], length: number) => maps.every((map, at) => map === maps[at - (at % length)]);

interface List {
  readonly first: number;
  readonly past: number;
  /** Keys that some query sees. */
  readonly keys: number;
}

/** What each row and head sees, as the kernels take it: heads that see alike share a list. */
function segmentsOf(rows: readonly DecodeRow[], h: number) {
  const maps: number[] = [];
  const lists: List[] = [];
  const segments: number[] = [];
  const words: number[] = [];
  const known = new Map<BlockMap, { lists: number[]; words: number }>();
  for (const { keys, map, first } of rows) {
    let found = known.get(map);
    if (!found) {
      found = { lists: [], words: words.length / PANEL };
      known.set(map, found);
      const { patterns } = map;
      for (let at = 0; at < patterns.length; at += PATTERN_LENGTH) words.push(...patterns.subarray(at, at + PANEL));
    }
    for (const which of map.maps.subarray(first, first + h)) {
      let list = found.lists[which];
      if (list === undefined) {
        list = found.lists[which] = lists.length;
        lists.push(addList(map, which, keys, found.words, segments));
      }
      maps.push(list);
    }
  }
  return { maps, lists, segments, words };
}

/** Writes the runs of a map's only tile as segments of keys. */
function addList(
  { tiles, tileRuns, runs }: BlockMap,
  map: number,
  keys: number,
  words: number,
  segments: number[],
): List {
  const first = segments.length / DECODE_SEGMENT_LENGTH;
  let seen = 0;
  const [run, count] = tiles === 0 ? [0, 0] : (tileRuns.subarray(map * tiles * 2) as unknown as [number, number]);
  for (let at = run; at < run + count; at++) {
    const [panel, past, pattern] = runs.subarray(at * RUN_LENGTH) as unknown as [number, number, number];
    const end = Math.min(past * PANEL, keys);
    segments.push(panel * PANEL, end, pattern === 0 ? -1 : words + pattern);
    seen += end - panel * PANEL;
  }
  return { first, past: segments.length / DECODE_SEGMENT_LENGTH, keys: seen };
}
