/** Plans of attention's backward pass, for the kernels of backward.as.ts. */

import { CHUNK_PANELS, PANEL, TILE } from '../../../runtime/cpu/params';
import { allContiguous, FLOPS_PER_MICROSECOND, type Machine, operands, type Plan } from '../../../runtime/cpu/plan';
import type { Steps } from '../../../runtime/turns';
import { blockMapSteps } from '../block-map/cpu';
import type { AttentionBackwardCall } from '../call';
import { extentsOf, inSlices, planned, problemOf } from '../cpu';
import { BackwardParams, TABLE_RUN } from '../params.generated';
import { tablePlaces, tablePlacesBytes, writeTablePlaces } from '../score/cpu';

/** The fewest tasks, if there are keys enough. */
const TASKS = 16;
/** The fewest panels in a part of the keys: each part lays out all queries anew. */
const PART_PANELS = 48;
/** Bytes of sums for the gradients with respect to captured arrays, beyond which fewer threads compute. */
const TABLE_SUMS_BYTES = 2 ** 26;

export function* planAttentionBackward(call: AttentionBackwardCall, { memory }: Machine): Steps<Plan> {
  const { out, lse, gradOut, gradLse, gradQ, gradK, gradV, gradTables, score } = call;
  const extents = extentsOf(call);
  const { b, h, g, d, e } = extents;
  const map = yield* blockMapSteps(call.mask, extents);
  const problem = problemOf(call, extents, map, memory);
  const keyBytes = b * g * map.panels * PANEL * 4;
  const parts = Math.min(Math.ceil(map.panels / PART_PANELS), Math.ceil(TASKS / (b * g)));
  const places = score && gradTables ? tablePlaces(score, extents) : [];
  const elements = gradTables?.size ?? 0;
  const groups = Math.min(b * g * parts, Math.max(1, Math.floor(TABLE_SUMS_BYTES / (elements * 8))));
  const bytes = {
    ...problem.bytes,
    keyPanels: keyBytes * d,
    keySlices: keyBytes * inSlices(d),
    valuePanels: keyBytes * e,
    sumsQ: (parts * b * h * map.tiles * TILE * d + 4) * 4,
    sumsK: keyBytes * inSlices(d),
    sumsV: keyBytes * inSlices(e),
    places: tablePlacesBytes(places),
    sumsOfTables: places.length && groups * elements * 8,
  };
  const programs = [...problem.programs, ...places.flatMap((place) => place.programs)];
  return planned(bytes, programs, (at, addressOf) => {
    writeTablePlaces(places, memory, at.places, addressOf);
    return [
      {
        phases: [
          { kernel: 'backwardPack', tasks: b * g * Math.ceil(map.panels / CHUNK_PANELS) },
          { kernel: 'attentionBackward', tasks: places.length ? groups : b * g * parts, main: true },
          { kernel: 'backwardReduce', tasks: b * h * map.tiles },
          ...(places.length ? [{ kernel: 'backwardTables', tasks: Math.ceil(elements / TABLE_RUN) } as const] : []),
        ],
        params: BackwardParams({
          ...at,
          problem: problem.params(at, addressOf),
          ...operands({ out, gradOut }),
          lse,
          gradLse,
          gradTables,
          ...allContiguous({ gradQ, gradK, gradV }),
          parts,
          placeCount: places.length,
          elements,
          groups,
        }),
        microseconds: ((6 * d + 4 * e) * map.visited * TILE * PANEL) / FLOPS_PER_MICROSECOND,
      },
    ];
  });
}
