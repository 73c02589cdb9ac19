import { checkBoolean, checkNumbers, checkParams } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkTokens, checkWhole } from './check';
import type { Intervals } from './intervals';
import { joinIntervals, pushRun } from './intervals';
import type { Mask, Place } from './mask';

/** Which chunks of tokens are chosen, by batch and head. */
export interface ChosenChunks {
  /** Tokens of a chunk; the last one may be short. */
  readonly chunk: number;
  readonly tokens: number;
  /** [batches, heads, chunks]: 1 for the chunks that are chosen, else 0. */
  readonly chosen: ArrayLike<number>;
  readonly batches: number;
  /** Divides the query heads; neighbouring ones share a choice. */
  readonly heads: number;
  /** Whether a query sees its own chunk, up to itself, chosen or not. Default true. */
  readonly own?: boolean | undefined;
}

const PARAMS = ['chunk', 'tokens', 'chosen', 'batches', 'heads', 'own'];

/** A query sees the chosen chunks of tokens before its own, by head and batch. */
export function chosenChunks(params: ChosenChunks): Mask {
  checkParams('chosenChunks', params, PARAMS);
  const { chunk, tokens, chosen, batches, heads, own = true } = params;
  for (const [name, value] of Object.entries({ chunk, tokens, batches, heads })) checkWhole(name, value, 1);
  checkBoolean('own', own);
  checkNumbers('chosen', chosen, '1 or 0 for each chunk', (choice) => choice === 0 || choice === 1);
  const chunks = Math.ceil(tokens / chunk);
  if (chosen.length !== batches * heads * chunks) {
    throw new ParameterError(
      `chosen must be [${batches}, ${heads}, ${chunks}], ${batches * heads * chunks} numbers, got ${chosen.length}`,
    );
  }
  const rows = Array.from({ length: batches * heads }, (_, row) =>
    Uint8Array.from({ length: chunks }, (_, at) => chosen[row * chunks + at] as number),
  );
  const runs = rows.map((row) => runsOfChunks(row, chunk, tokens));
  const keys = rows.map((row) => row.join(''));
  const name = `chosen chunks of ${chunk} in ${tokens} tokens${own ? '' : ', the own one left out'}`;
  const rowOf = ({ batch, head, h }: Place) => batch * heads + Math.floor((head * heads) / h);
  return {
    name,
    sees(i, j, place) {
      const [query, key] = [Math.floor(i / chunk), Math.floor(j / chunk)];
      if (query === key) return own && j <= i;
      return key < query && rows[rowOf(place)]?.[key] === 1;
    },
    intervals(i, place) {
      const start = i - (i % chunk);
      const past = joinIntervals(runs[rowOf(place)] as Intervals, start > 0 ? [0, start] : [], (a, b) => a && b);
      if (!own) return past;
      const all = [...past];
      pushRun(all, start, i + 1);
      return all;
    },
    variant: (place) => keys[rowOf(place)] as string,
    check(extent) {
      checkTokens(name, tokens, extent);
      if (extent.b !== batches) throw new ShapeError(`mask "${name}" is for ${batches} batches, got ${extent.b}`);
      if (extent.h % heads !== 0)
        throw new ShapeError(`mask "${name}" needs a multiple of ${heads} query heads, got ${extent.h}`);
    },
  };
}

function runsOfChunks(chosen: Uint8Array, chunk: number, tokens: number): Intervals {
  const runs: number[] = [];
  chosen.forEach((isChosen, at) => {
    if (isChosen) pushRun(runs, at * chunk, Math.min(tokens, (at + 1) * chunk));
  });
  return runs;
}
