/** What plans of attention's forward and backward pass share. */

import type { HeapMemory } from '../../runtime/cpu/heap';
import { SLICE } from '../../runtime/cpu/params';
import type { Job } from '../../runtime/cpu/plan';
import { operands, type Plan } from '../../runtime/cpu/plan';
import type { BlockMap } from './block-map/block-map';
import { blockMapBytes, writeBlockMap } from './block-map/cpu';
import type { AttentionCall } from './call';
import {
  type AddressOf,
  type ScoreProgram,
  scoreProgramBytes,
  scorePrograms,
  tablesRead,
  writeScorePrograms,
} from './score/cpu';

export type Extents = Readonly<Record<'b' | 'n' | 'm' | 'h' | 'g' | 'd' | 'e', number>>;

export function extentsOf({ q, v }: Pick<AttentionCall, 'q' | 'v'>): Extents {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  return { b, n, m, h, g, d, e };
}

/** Columns up to a whole number of slices. */
export const inSlices = (columns: number): number => Math.ceil(columns / SLICE) * SLICE;

/** The problem of a call: the memory that its map and programs take, and its params once these have addresses. */
export function problemOf(
  { q, k, v, scale, score }: AttentionCall,
  extents: Extents,
  map: BlockMap,
  memory: HeapMemory,
) {
  const programs = scorePrograms(score, extents);
  return {
    programs,
    bytes: { map: blockMapBytes(map), programs: scoreProgramBytes(programs) },
    params: (at: Readonly<Record<'map' | 'programs', number>>, addressOf: AddressOf) => ({
      ...extents,
      scale,
      ...operands({ q, k, v }),
      ...writeBlockMap(map, memory, at.map),
      ...writeScorePrograms(programs, memory, at.programs, addressOf),
    }),
  };
}

/** A plan whose jobs get the addresses of working memory, and learn where the tables lie that programs read. */
export function planned<Name extends string>(
  bytes: Readonly<Record<Name, number>>,
  programs: readonly ScoreProgram[],
  jobs: (addresses: Readonly<Record<Name, number>>, addressOf: AddressOf) => readonly Job[],
): Plan {
  return { bytes, tables: tablesRead(programs), interprets: programs.length > 0, jobs };
}

/** The plan of an op that has joined in, with kernels of its own: its jobs take so many times as long, and have its params behind attention's. */
export function extended(
  plan: Plan,
  times: number,
  params: (at: Readonly<Record<string, number>>) => readonly number[],
): Plan {
  return {
    ...plan,
    kernels: undefined,
    jobs: (at, addressOf) =>
      plan.jobs(at, addressOf).map((job) => ({
        ...job,
        params: [...job.params, ...params(at)],
        microseconds: times * job.microseconds,
      })),
  };
}
