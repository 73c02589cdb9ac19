/** Plans of attention's forward pass, for the kernels of forward.as.ts. */

import { CHUNK_PANELS, PANEL, TILE } from '../../../runtime/cpu/params';
import {
  contiguous,
  FLOPS_PER_MICROSECOND,
  headsOfTask,
  type Machine,
  operand,
  type Plan,
} from '../../../runtime/cpu/plan';
import type { Steps } from '../../../runtime/turns';
import type { BlockMap } from '../block-map/block-map';
import { blockMapSteps } from '../block-map/cpu';
import type { AttentionCall } from '../call';
import { type Extents, extentsOf, inSlices, planned, problemOf } from '../cpu';
import { FEW_QUERIES, GROUP, planDecode } from '../decode/cpu';
import {
  BLOCK_PANELS,
  decodeKernels,
  EXTREMES_BYTES,
  ForwardParams,
  MOST_TOGETHER,
  PACKED_BYTES,
} from '../params.generated';
import { keyProgram } from '../score/cpu';

/** How much of a thread's own cache the keys and values that a tile sees may take. */
const CACHE_BYTES = 2 ** 20;
/** How much of the cache that threads share those of a head may take. */
const SHARED_CACHE_BYTES = 2 ** 23;
/** A tile that sees less than this share of the keys sees them here and there. */
const SPARSE = 0.25;
/** They are scattered if as few panels as this follow one another on average. */
const SHORT_RUN = 12;
/** The fewest tasks for each thread where a task is several tiles, so that threads end together. */
const TASKS_OF_THREAD = 16;
/** The most tiles of each head in a task that takes all heads. */
const MOST_TILES = 64;

/** What another op that joins in wants. */
interface Joined {
  /** With few queries, a group of rows holds so many of them: its other rows are the op's. */
  readonly queriesOfGroup?: number;
  /** Parts of the keys hold whole groups of so many panels. */
  readonly panelsTogether?: number;
  /** Machine code for parts of a block, none by default. */
  readonly code?: BlockCode;
}

/** Addresses of machine code (native.ts). */
export type BlockCode = Readonly<Record<'scores' | 'maxima' | 'weights' | 'exponentials' | 'values', number>>;

const NO_CODE: BlockCode = { scores: 0, maxima: 0, weights: 0, exponentials: 0, values: 0 };

export function* planAttention(
  call: AttentionCall,
  machine: Machine,
  { queriesOfGroup = GROUP, panelsTogether = 1, code = NO_CODE }: Joined = {},
): Steps<Plan> {
  const { memory, threads } = machine;
  const { k, v, out, lse, score } = call;
  const extents = extentsOf(call);
  const { b, n, m, h, g, d, e } = extents;
  const map = yield* blockMapSteps(call.mask, extents);
  if (n <= FEW_QUERIES && !map.queries && !map.keys) {
    const program = keyProgram(score, extents);
    const rows = Array.from({ length: b }, (_, at) => ({ queries: n, keys: m, map, first: at * h, program }));
    const plan = planDecode(call, { extents, k: operand(k), v: operand(v), rows, queriesOfGroup }, machine);
    return { ...plan, kernels: decodeKernels };
  }
  const problem = problemOf(call, extents, map, memory);
  const cut = cutAttention(map, extents, threads, panelsTogether);
  const packed = cut.packsItself ? 0 : b * g * map.panels * PANEL * 4;
  const chunks = Math.ceil(map.panels / CHUNK_PANELS);
  const bytes = {
    ...problem.bytes,
    keys: packed * d,
    values: packed * inSlices(e),
    extremes: b * g * EXTREMES_BYTES,
  };
  return planned(bytes, problem.programs, (at, addressOf) => {
    new Uint8Array(memory.buffer, at.extremes, bytes.extremes).fill(0);
    return [
      {
        phases: [
          ...(cut.packsItself ? [] : [{ kernel: 'packKeysValues', tasks: b * chunks } as const]),
          { kernel: 'attention', tasks: cut.tasks },
        ],
        params: ForwardParams({
          problem: problem.params(at, addressOf),
          out: contiguous(out),
          lse,
          extremes: at.extremes,
          packedKeys: cut.packsItself ? 0 : at.keys,
          packedValues: cut.packsItself ? 0 : at.values,
          ...cut,
          ...code,
        }),
        microseconds: (2 * (d + e) * map.visited * TILE * PANEL) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}

/** How attention is cut: into tasks, which changes no bits, and each tile's keys into parts, which follow from the shapes. */
function cutAttention(map: BlockMap, { b, h, g, d, e }: Extents, threads: number, together: number) {
  const { tiles, panels, visited } = map;
  // Where tiles see keys here and there, and those of one stay in a thread's cache, a task is some tiles of all heads;
  // else one of one head or, where its keys outgrow the cache that threads share or lie scattered, some that go through
  // them together.
  const panelsOfTile = visited / (b * h * tiles);
  const bytesOf = (count: number) => count * PANEL * (d + inSlices(e)) * 4;
  const isSparse = panelsOfTile < SPARSE * panels;
  const isNear = bytesOf(panelsOfTile) < CACHE_BYTES && isSparse;
  const share = (all: number) => Math.floor(all / (TASKS_OF_THREAD * threads));
  const takesAllHeads = isNear && share(tiles) > 0;
  const isScattered = isSparse && panelsOfTile < SHORT_RUN * runsOfTile(map);
  const most = takesAllHeads ? MOST_TILES : isScattered || bytesOf(panels) > SHARED_CACHE_BYTES ? MOST_TOGETHER : 1;
  const tilesOfTask = Math.min(most, Math.max(1, share(takesAllHeads ? tiles : b * h * tiles)));
  // Short sequences are a task by heads, which packs what it needs, so that nothing goes through memory twice.
  const longest = Math.max(panels, (tiles * TILE) / PANEL);
  const packsItself = !takesAllHeads && bytesOf(longest) <= PACKED_BYTES && share(b * g) > 0;
  const heads = headsOfTask(b * g, threads);
  // Parts of the keys, of even size, in which a tile sees about a block.
  const ranges = isNear ? 1 : Math.ceil(panelsOfTile / BLOCK_PANELS);
  return {
    takesAllHeads,
    byPanels: takesAllHeads || (isScattered && !packsItself),
    packsItself,
    tilesOfTask,
    headsOfTask: heads,
    tasks: packsItself ? Math.ceil((b * g) / heads) : Math.ceil(tiles / tilesOfTask) * (takesAllHeads ? 1 : b * h),
    rangePanels: together * Math.ceil(panels / together / Math.max(1, ranges)),
  };
}

function runsOfTile({ tileRuns }: BlockMap): number {
  let runs = 0;
  for (let at = 1; at < tileRuns.length; at += 2) runs += tileRuns[at] as number;
  return (2 * runs) / tileRuns.length;
}
