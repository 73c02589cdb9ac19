/** Masks of blocks of keys that are chosen by scores, for each head of keys by itself, as block-sparse attention has them. */
import { checkBoolean, checkParams } from '../check';
import { ParameterError } from '../errors';
import { uniformGenerator } from '../tensor/random';
import { full } from './band';
import { checkTokens, checkWhole } from './check';
import type { Extent, Mask } from './mask';
import { type Blocks, blocksOf, blocksOfLengths, chosenByLists, selection } from './selection';

/** Which blocks of keys are seen. */
export interface BlockSparse {
  /** Queries, and as many keys. */
  readonly tokens: number;
  /** Heads of keys; neighbouring query heads share the blocks of one. */
  readonly heads: number;
  /** Tokens of a block, of which the last may be short; of blocks of unequal lengths their mean. */
  readonly block: number;
  /** The share of the blocks that is kept: those with the largest scores of each block of queries, at least one. */
  readonly ratio: number;
  /** Blocks are kept that have the largest scores of all, whatever block of queries they are of. Default false. */
  readonly acrossQueries?: boolean | undefined;
  /** Blocks have random lengths, others for queries and keys and in each head. Default false. */
  readonly variable?: boolean | undefined;
  /** For scores and lengths. */
  readonly seed: number;
}

const PARAMS = ['tokens', 'heads', 'block', 'ratio', 'acrossQueries', 'variable', 'seed'];

/** A mask of chosen blocks, and how many pairs its heads see. */
export interface BlockSparseMask extends Mask {
  /** Pairs of all heads of keys together, counted block by block. */
  readonly pairs: number;
}

/** Each block of queries sees the blocks of keys with the largest random scores. */
export function blockSparse(params: BlockSparse): BlockSparseMask {
  checkParams('blockSparse', params, PARAMS);
  const { tokens, heads, block, ratio, acrossQueries = false, variable = false, seed } = params;
  for (const [name, value] of Object.entries({ tokens, heads, block })) checkWhole(name, value, 1);
  checkWhole('seed', seed, 0);
  for (const [name, value] of Object.entries({ acrossQueries, variable })) checkBoolean(name, value);
  if (!(ratio > 0 && ratio <= 1)) throw new ParameterError(`ratio must be above 0 and at most 1, got ${ratio}`);
  const count = Math.ceil(tokens / block);
  const sides = variable
    ? blockLengths(params).map((lengths) => lengths.map(blocksOfLengths))
    : [[blocksOf(tokens, block)], [blocksOf(tokens, block)]];
  const [queries, keys] = sides as [Blocks[], Blocks[]];
  const { lists, width } = chosenBlocks(params);
  const name = `${variable ? 'unequal blocks of about' : 'blocks of'} ${block} in ${tokens} tokens, ${ratio} kept${acrossQueries ? ' of all' : ''}, seed ${seed}`;
  const mask = selection(full(), { queries, keys, batches: 1, heads, choice: chosenByLists(lists, width) });
  const lengthsAt = (all: readonly Blocks[], head: number) => {
    const { start } = (all[head] ?? all[0]) as Blocks;
    return Array.from({ length: count }, (_, at) => start(at + 1) - start(at));
  };
  let pairs = 0;
  for (let head = 0; head < heads; head++) {
    const [rows, columns] = [lengthsAt(queries, head), lengthsAt(keys, head)];
    for (let row = 0; row < count; row++) {
      const from = (head * count + row) * width;
      for (let at = from; at < from + width; at++)
        if ((lists[at] as number) >= 0) pairs += (rows[row] as number) * (columns[lists[at] as number] as number);
    }
  }
  return {
    ...mask,
    isPassing: false,
    name,
    pairs,
    check(extent: Extent) {
      checkTokens(name, tokens, extent);
      if (extent.h % heads !== 0)
        throw new ParameterError(`mask "${name}" needs a multiple of ${heads} query heads, got ${extent.h}`);
    },
  };
}

/**
 * The lengths of the blocks of queries and of keys, by head: half of `block` each, at least 1, and what is left cut at random
 * places.
 */
export function blockLengths({ tokens, heads, block, seed }: BlockSparse): readonly (readonly number[])[][] {
  const count = Math.ceil(tokens / block);
  const least = Math.max(1, Math.floor(block / 2));
  const floor = least * count <= tokens ? least : 1;
  const next = uniformGenerator(seed + 1);
  const cut = () => {
    const rest = tokens - floor * count;
    const cuts = Array.from({ length: count - 1 }, () => Math.floor(next() * (rest + 1))).sort((a, b) => a - b);
    return Array.from({ length: count }, (_, at) => floor + (cuts[at] ?? rest) - (cuts[at - 1] ?? 0));
  };
  return [0, 1].map(() => Array.from({ length: heads }, cut));
}

/** The random score of each block of keys for each block of queries of a head: [query blocks][key blocks]. */
export function blockScores({ tokens, block, seed }: BlockSparse, head: number): Float64Array {
  const count = Math.ceil(tokens / block);
  const next = uniformGenerator((seed + 2) * 8191 + head);
  return Float64Array.from({ length: count * count }, next);
}

/** How many blocks of keys are kept, of so many. */
const keptOf = (ratio: number, count: number) => Math.max(1, Math.floor(ratio * count + 1e-9));

/** Lists [heads][query blocks][width] of kept blocks, -1 for none. */
function chosenBlocks(params: BlockSparse): { readonly lists: Int32Array; readonly width: number } {
  const { tokens, heads, block, ratio, acrossQueries = false } = params;
  const count = Math.ceil(tokens / block);
  const rows: number[][] = [];
  for (let head = 0; head < heads; head++) {
    const scores = blockScores(params, head);
    const own = Array.from({ length: count }, (_, row) => scores.subarray(row * count, (row + 1) * count));
    if (acrossQueries) {
      const least = thresholdOf(scores, keptOf(ratio, count * count));
      rows.push(...own.map((row) => placesFrom(row, least)));
    } else rows.push(...own.map((row) => placesFrom(row, thresholdOf(row, keptOf(ratio, count)))));
  }
  const width = Math.max(1, ...rows.map(({ length }) => length));
  const lists = new Int32Array(rows.length * width).fill(-1);
  for (const [at, row] of rows.entries()) lists.set(row, at * width);
  return { lists, width };
}

/** The smallest of the `kept` largest scores, which are all different. */
const thresholdOf = (scores: Float64Array, kept: number) => scores.slice().sort()[scores.length - kept] as number;

function placesFrom(scores: Float64Array, least: number): number[] {
  const places: number[] = [];
  for (let at = 0; at < scores.length; at++) if ((scores[at] as number) >= least) places.push(at);
  return places;
}
