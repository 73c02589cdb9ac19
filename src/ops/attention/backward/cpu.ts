/** Plans of attention's backward pass, for the kernels of backward.as.ts. */

import { PANEL, TILE } from '../../../runtime/cpu/params';
import {
  address,
  allContiguous,
  FLOPS_PER_MICROSECOND,
  type Machine,
  operands,
  type Plan,
} from '../../../runtime/cpu/plan';
import type { Steps } from '../../../runtime/turns';
import type { Tensor } from '../../../tensor/tensor';
import { blockMapSteps } from '../block-map/cpu';
import type { AttentionBackwardCall } from '../call';
import { extentsOf, inSlices, planned, problemOf } from '../cpu';
import { BackwardParams, TABLE_RUN } from '../params.generated';
import { tablePlaces, tablePlacesBytes, writeTablePlaces } from '../score/cpu';

/** The fewest tasks, if there are keys enough. */
const TASKS = 16;
/** What whole vectors read past the last row. */
const VECTOR_BYTES = 16;
/** The fewest panels in a part of the keys: each part lays out all queries anew. */
const PART_PANELS = 48;
/** Bytes of sums for the gradients with respect to captured arrays, beyond which fewer threads compute. */
const TABLE_SUMS_BYTES = 2 ** 26;
/** Working memory of the tasks of a round, beyond which there are several, unless threads would idle. */
const ROUND_BYTES = 73 * 2 ** 20;

/** What another op that joins in wants. */
interface Joined {
  /** Parts of the keys hold whole groups of so many panels. */
  readonly panelsTogether?: number;
  /** Machine code for parts of a block, none by default. */
  readonly code?: BlockCode;
}

/** Addresses of machine code (native.ts). */
type BlockCode = Readonly<Record<'scores' | 'weights' | 'gradients' | 'ofKeys' | 'ofQueries', number>>;

const NO_CODE: BlockCode = { scores: 0, weights: 0, gradients: 0, ofKeys: 0, ofQueries: 0 };

export function* planAttentionBackward(
  call: AttentionBackwardCall,
  { memory, threads }: Machine,
  { panelsTogether = 1, code = NO_CODE }: Joined = {},
): Steps<Plan> {
  const { out, lse, gradOut, gradLse, gradQ, gradK, gradV, gradTables, score } = call;
  const extents = extentsOf(call);
  const { b, h, g, d, e } = extents;
  const map = yield* blockMapSteps(call.mask, extents);
  const problem = problemOf(call, extents, map, memory);
  const parts = Math.min(Math.ceil(map.panels / PART_PANELS), Math.ceil(TASKS / (b * g)));
  const tasks = b * g * parts;
  const partPanels = panelsTogether * Math.ceil(Math.ceil(map.panels / panelsTogether) / parts);
  const shared = h / g;
  const keyBytes = partPanels * PANEL * 4;
  const places = score && gradTables ? tablePlaces(score, extents) : [];
  const elements = gradTables?.size ?? 0;
  const groups = Math.min(b * g * parts, Math.max(1, Math.floor(TABLE_SUMS_BYTES / (elements * 8))));
  const ofTask = {
    sumsQ: shared * map.tiles * TILE * d * 4,
    met: shared * Math.ceil(map.tiles / 2),
    keyPanels: keyBytes * d,
    keySlices: keyBytes * inSlices(d),
    valuePanels: keyBytes * e,
    sumsK: keyBytes * inSlices(d),
    sumsV: keyBytes * inSlices(e),
  };
  // Groups of parts that add up gradients of tables go through all rounds.
  const round = places.length ? tasks : tasksOfRound(tasks, ofTask, threads);
  const bytes = {
    ...problem.bytes,
    ...(Object.fromEntries(
      Object.entries(ofTask).map(([name, own]) => [name, round * own + VECTOR_BYTES]),
    ) as typeof ofTask),
    heldQ: heldBytes(gradQ),
    places: tablePlacesBytes(places),
    sumsOfTables: places.length && groups * elements * 8,
  };
  const programs = [...problem.programs, ...places.flatMap((place) => place.programs)];
  return planned(bytes, programs, (at, addressOf) => {
    writeTablePlaces(places, memory, at.places, addressOf);
    const own = problem.params(at, addressOf);
    const rounds = Array.from({ length: Math.ceil(tasks / round) }, (_, at) => at * round);
    return rounds.map((firstTask) => {
      const pastTask = Math.min(tasks, firstTask + round);
      const heads = shared * (Math.ceil(pastTask / parts) - Math.floor(firstTask / parts));
      return {
        phases: [
          { kernel: 'attentionBackward', tasks: places.length ? groups : pastTask - firstTask, main: true },
          { kernel: 'backwardReduce', tasks: heads * map.tiles },
          ...(places.length ? [{ kernel: 'backwardTables', tasks: Math.ceil(elements / TABLE_RUN) } as const] : []),
        ],
        params: BackwardParams({
          ...at,
          problem: own,
          ...operands({ out, gradOut }),
          lse,
          gradLse,
          gradTables,
          ...allContiguous({ gradQ, gradK, gradV }),
          heldQ: heldAt(gradQ, at.heldQ),
          parts,
          partPanels,
          firstTask,
          pastTask,
          placeCount: places.length,
          elements,
          groups,
          ...code,
        }),
        microseconds:
          ((pastTask - firstTask) / tasks) * (((6 * d + 4 * e) * map.visited * TILE * PANEL) / FLOPS_PER_MICROSECOND),
      };
    });
  });
}

/** Tasks that go together, as many as their working memory allows: whole turns of all threads. The bits do not depend on it. */
function tasksOfRound(tasks: number, ofTask: Readonly<Record<string, number>>, threads: number): number {
  const own = Object.values(ofTask).reduce((sum, bytes) => sum + bytes, 0);
  return Math.min(tasks, threads * Math.max(1, Math.floor(ROUND_BYTES / own / threads)));
}

/** Bytes for what rounds hold of a gradient: that of float32 holds it itself. */
export const heldBytes = (gradient: Tensor): number => (gradient.dtype === 'f32' ? 0 : gradient.size * 4);

/** Where rounds hold it. */
export const heldAt = (gradient: Tensor, own: number): number => (gradient.dtype === 'f32' ? address(gradient) : own);
