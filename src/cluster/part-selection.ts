/** What of a selection for whole sequences belongs to some queries, keys and heads. */
import type { Blocks, Choice, Selected } from '../masks/selection';
import { type Part, positionsOf } from './part-mask';

/** The blocks of a part: pieces of the whole ones. */
interface Pieces extends Blocks {
  /** The whole block of each piece. */
  readonly wholes: Int32Array;
}

/** The selection of a part with so many heads, whose queries and keys are numbered by themselves. */
export function partSelection(selected: Selected, { whole, firstHead, ...part }: Part, heads: number): Selected {
  const sharing = whole.h / selected.heads;
  // Neighbouring heads go on sharing a choice if the part has all of them.
  const shared = heads % sharing === 0 && firstHead % sharing === 0 ? sharing : 1;
  const ownHeads = heads / shared;
  const wholeHeads = Array.from({ length: ownHeads }, (_, head) => Math.floor((firstHead + head * shared) / sharing));
  const [ofQueries, ofKeys] = [positionsOf(part.queries), positionsOf(part.keys)];
  const own = (blocks: readonly Blocks[], tokens: Int32Array) =>
    alike((blocks.length === 1 ? [0] : wholeHeads).map((head) => piecesOf(blocks[head] as Blocks, tokens)));
  const [queries, keys] = [own(selected.queries, ofQueries), own(selected.keys, ofKeys)];
  const count = (selected.queries[0] as Blocks).count;
  /** The whole selection's row of a piece of queries, and the pieces of keys that it is about. */
  const rowOf = (row: number) => {
    const own = (queries[0] as Pieces).count;
    const [place, piece] = [Math.floor(row / own), row % own];
    const [batch, head] = [Math.floor(place / ownHeads), place % ownHeads];
    const of = (all: readonly Pieces[]) => all[all.length === 1 ? 0 : head] as Pieces;
    const wholePlace = batch * selected.heads + (wholeHeads[head] as number);
    return { row: wholePlace * count + (of(queries).wholes[piece] as number), pieces: of(keys) };
  };
  return { queries, keys, batches: selected.batches, heads: ownHeads, choice: choiceOf(selected.choice, rowOf) };
}

function choiceOf(choice: Choice, rowOf: (row: number) => { readonly row: number; readonly pieces: Pieces }): Choice {
  return {
    sees(own, piece) {
      const { row, pieces } = rowOf(own);
      return choice.sees(row, pieces.wholes[piece] as number);
    },
    eachRun(own, take) {
      const { row, pieces } = rowOf(own);
      const { wholes } = pieces;
      const stretches = ascending(wholes);
      choice.eachRun(row, (first, past) => {
        for (const [start, end] of stretches) {
          const [from, to] = [firstFrom(wholes, first, start, end), firstFrom(wholes, past, start, end)];
          if (from < to) take(from, to);
        }
      });
    },
  };
}

const known = new WeakMap<Int32Array, readonly (readonly [start: number, end: number])[]>();

/** The stretches in which the blocks of pieces ascend: keys of several ranks lie one after the other. */
function ascending(wholes: Int32Array): readonly (readonly [start: number, end: number])[] {
  const found = known.get(wholes);
  if (found) return found;
  const stretches: [number, number][] = [];
  for (let at = 0; at < wholes.length; at++) {
    const last = stretches.at(-1);
    if (last && (wholes[at] as number) >= (wholes[at - 1] as number)) last[1] = at + 1;
    else stretches.push([at, at + 1]);
  }
  known.set(wholes, stretches);
  return stretches;
}

/** The first place from `start` to `end` whose block is `block` or a later one. */
function firstFrom(wholes: Int32Array, block: number, start: number, end: number): number {
  let [low, high] = [start, end];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((wholes[middle] as number) < block) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The pieces of blocks that some tokens are. */
function piecesOf(blocks: Blocks, positions: Int32Array): Pieces {
  const count = positions.length;
  const blockOf = (token: number) => blocks.of(positions[token] as number);
  // Blocks that are no runs of tokens have an order of their own.
  const tokens = blocks.tokens && Int32Array.from({ length: count }, (_, at) => at);
  tokens?.sort((a, b) => blockOf(a) - blockOf(b) || a - b);
  const [starts, wholes, of]: [number[], number[], Int32Array] = [[], [], new Int32Array(count)];
  for (let slot = 0; slot < count; slot++) {
    const token = tokens ? (tokens[slot] as number) : slot;
    const block = blockOf(token);
    if (wholes.at(-1) !== block) {
      starts.push(slot);
      wholes.push(block);
    }
    of[token] = starts.length - 1;
  }
  return {
    count: starts.length,
    of: (token) => of[token] as number,
    start: (piece) => starts[piece] ?? count,
    ...(tokens && { tokens }),
    name: `pieces of ${blocks.name}`,
    wholes: Int32Array.from(wholes),
  };
}

/** Heads have equally many pieces: the last ones may be empty. */
function alike(all: readonly Pieces[]): readonly Pieces[] {
  const count = Math.max(...all.map((pieces) => pieces.count));
  return all.map((pieces) => ({ ...pieces, count }));
}
