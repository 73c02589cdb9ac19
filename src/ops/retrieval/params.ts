import { Operand } from '../../runtime/cpu/params';
import { fields, struct } from '../../runtime/cpu/struct';

export { CODE_BYTES, INDEXES } from './kinds';
// The definition has these too.
export {
  CANDIDATES,
  DRAWN,
  ENTRIES,
  FOLLOWED,
  LARGEST_CODE,
  LARGEST_WEIGHT,
  LINKING_BEAM,
  ROUNDS,
  SPREAD,
} from './reference';

/** Queries of a task that searches all keys, and panels of keys that it takes at a time. */
export const QUERIES = 48;
export const BLOCK_PANELS = 16;
/** Queries for which keys are packed to be looked at. */
export const LEAST_BLOCK = 8;
/** The most keys of a query's list, and edges of a key. */
export const MOST_NEIGHBORS = 256;
export const MOST_DEGREE = 256;
/** Keys of a task that packs, links or assigns keys. */
export const KEYS = 512;
/** Tasks that move the centres of cells. */
export const MOVERS = 16;

/** Keys and values where they lie: in tensors, or in the pages of a row of a cache, whose addresses are at `pages`. */
export const Keys = struct({
  ...fields(Operand, 'k', 'v'),
  ...fields('usize', 'pages', 'keyScales', 'valueScales'),
  ...fields('i32', 'm', 'g', 'd', 'e'),
});

/** An index of keys from `first` to the one before `past`. */
export const Index = struct({
  kind: 'i32',
  ...fields('i32', 'first', 'past'),
  /** Keys that there is room for; edges of each; entries or cells. */
  ...fields('i32', 'capacity', 'degree', 'starts'),
  /**
   * i32 [b][g][capacity][degree]: edges of a graph, -1 behind the last; or of each key the next in its cell, -1 for none. i32
   * [b][g][starts]: entries of a graph, or the first key of each cell. f32 [b][g][starts][d]: centres of cells. Of a graph, bytes in
   * i32 [b][g][capacity][words]: copies of keys in 8 bits; f32 [b][g][2][d]: means of columns, and steps of their codes.
   */
  ...fields('tensor', 'edges', 'entries', 'centers', 'codes', 'columns'),
});

export const BuildParams = struct({
  keys: Keys,
  index: Index,
  ...fields('i32', 'batch', 'head'),
  queries: Operand,
  /** Queries that are looked at: `count` of those of `shared` heads, every `stride`-th; keys themselves by distance where they are `keys`. */
  ...fields('i32', 'shared', 'count', 'stride', 'neighbors'),
  isOfKeys: 'bool',
  /** Keys in panels of six, and halves of their squared norms. */
  ...fields('usize', 'packed', 'norms'),
  /** i32 [count][neighbors], the best first, -1 behind the last. */
  lists: 'usize',
  /** Queries by the key that is their best, and the best keys of the lists that a key is in: where those of each key begin, and all. */
  ...fields('usize', 'bestStarts', 'best', 'usedStarts', 'used'),
  /** A bit a key for each task, and what keys found: i32 [keys][degree]. */
  ...fields('usize', 'marks', 'found'),
  /** The cell of each key, and sums of cells. */
  ...fields('usize', 'cells', 'sums'),
  tasks: 'i32',
});

export const ExtendParams = struct({
  keys: Keys,
  index: Index,
  /** The last key to come, and one. */
  past: 'i32',
  marks: 'usize',
});

export const RetrieveParams = struct({
  keys: Keys,
  index: Index,
  q: Operand,
  ...fields('i32', 'b', 'n', 'h'),
  ...fields('i32', 'topK', 'first', 'recent', 'beam', 'probes'),
  causal: 'bool',
  scale: 'f64',
  ...fields('tensor', 'out', 'lse', 'scanned'),
  /** `block`: queries of a head that look at all keys together. */
  ...fields('i32', 'rowsOfTask', 'block'),
  /** For each task: bits of the keys, entries of the best keys and cells, and keys that are attended to with their weights. */
  ...fields('usize', 'marks', 'beams', 'attended'),
  ...fields('i32', 'marksBytes', 'beamBytes', 'attendedKeys'),
});
