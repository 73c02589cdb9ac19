/** How far a token can look back through several layers of a sparse mask. */
import { checkBoolean, checkFunction, checkOptions, checkWhole } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkExtent, checkMask } from '../masks/check';
import type { Intervals } from '../masks/intervals';
import { keyWords } from '../masks/key-words';
import { type Extent, type Mask, placesOf } from '../masks/mask';

/** The keys that a query sees in a layer; layer 0 is the one nearest the output. Indices are of tokens or of blocks. */
export type KeysOf = (layer: number, query: number) => Intervals;

export interface ReachOptions {
  /** Where to look from. Default: the last token. */
  readonly query?: number | undefined;
  /** The most layers to go through. */
  readonly layers: number;
  /** Whether each layer has a mask of its own. Default: false. */
  readonly changes?: boolean | undefined;
}

/**
 * Receptive field by layer: of `size` tokens, how many the query reaches through one layer, two, ... Each token must see
 * itself. Ends early with the layer that reaches everything, or after which nothing more can be reached.
 */
export function receptiveField(keysOf: KeysOf, size: number, options: ReachOptions): number[] {
  checkFunction('keysOf', keysOf);
  checkWhole('size', size, 1);
  checkOptions('receptiveField', options, ['query', 'layers', 'changes']);
  const { query = size - 1, layers, changes = false } = options;
  checkWhole('query', query, 0, size - 1);
  checkWhole('layers', layers, 1);
  checkBoolean('changes', changes);
  const counts: number[] = [];
  for (let reached = [query]; counts.length < layers; ) {
    const isNext = new Uint8Array(size);
    for (const from of reached) {
      const keys = keysOf(counts.length, from);
      if (!Array.isArray(keys))
        throw new ParameterError('keysOf must return runs of keys: start, one past the end, ...');
      for (let at = 0; at < keys.length; at += 2) isNext.fill(1, keys[at], keys[at + 1]);
    }
    const next = Array.from(isNext.keys()).filter((key) => isNext[key]);
    counts.push(next.length);
    if (next.length === size || (!changes && next.length === reached.length)) break;
    reached = next;
  }
  return counts;
}

/**
 * The keys through any mask: those that some head of the first batch sees. Queries and keys are the same tokens.
 *
 * @throws {ShapeError} an extent that the mask does not fit, or with other numbers of queries and keys
 */
export function keysOfMask(mask: Mask, extent: Extent): KeysOf {
  checkMask('mask', mask);
  checkExtent('extent', extent);
  const { n, m } = extent;
  if (n !== m) throw new ShapeError(`extent must have as many queries as keys, got ${n} queries and ${m} keys`);
  mask.check?.(extent);
  // One for all heads that see alike.
  const places = new Map([...placesOf({ ...extent, b: 1 })].map((place) => [mask.variant?.(place) ?? 0, place]));
  return (_, query) =>
    [...places.values()].flatMap((place) => mask.intervals?.(query, place) ?? keyWords(mask, [query], place).starts);
}

/**
 * The expected number of tokens that a token reaches, by layer, if each sees a random window of `window` of `size` tokens, drawn
 * for each layer: r' = n (1 - (1 - w / n)^r). Stochastic attention, Jin and Sui 2026, arXiv 2604.00754.
 */
export function expectedRandomField(size: number, window: number, layers: number): number[] {
  checkWhole('size', size, 1);
  checkWhole('window', window, 1, size);
  checkWhole('layers', layers, 1);
  const counts: number[] = [];
  for (let layer = 0, reached = 1; layer < layers; layer++) {
    reached = size * (1 - (1 - window / size) ** reached);
    counts.push(reached);
  }
  return counts;
}
