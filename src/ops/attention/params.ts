import { Contiguous, Operand } from '../../runtime/cpu/params';
import { fields, struct } from '../../runtime/cpu/struct';

/** Panels in a block: 336 keys, whose scores against 24 queries fill 32 KiB. */
export const BLOCK_PANELS = 56;
/** The most tiles of one head that go through blocks of keys together. */
export const MOST_TOGETHER = 4;
/** The most bytes of keys and values of a head that its task packs. */
export const PACKED_BYTES = 240_000;
/** Bytes of a head's largest key norm and largest value magnitude. */
export const EXTREMES_BYTES = 8;
/** Elements of captured arrays whose gradients a task adds up. */
export const TABLE_RUN = 4096;

/** Numbers of a pattern: six words of 24 bits, a key each, whose bit r says whether query r of the tile sees it; flags; a pad. */
export const PATTERN_LENGTH = 8;
/** The flags' lowest bits: all keys are seen by the slice of eight queries; some are; some are by the group of six. */
export const FULL = 1;
export const SEEN = 8;
export const SEEN_BY_GROUP = 64;

export const Problem = struct({
  ...fields('i32', 'b', 'n', 'm', 'h', 'g', 'd', 'e'),
  scale: 'f64',
  /** The block map (block-map/block-map.ts). */
  ...fields('i32', 'tiles', 'panels'),
  ...fields('usize', 'maps', 'order', 'tileRuns', 'runs'),
  ...fields('usize', 'patterns', 'queries', 'keys'),
  /** What changes the scores, and its derivative: a program and its tables each, 0 for none. */
  ...fields('usize', 'program', 'tables', 'derivative', 'derivativeTables'),
  ...fields(Operand, 'q', 'k', 'v'),
});

export const ForwardParams = struct({
  problem: Problem,
  out: Contiguous,
  lse: 'tensor',
  /** 0 where tasks pack what they need. */
  ...fields('usize', 'packedKeys', 'packedValues', 'extremes'),
  /** Tiles that a task takes of one head, or of each head of all batches in turn. */
  tilesOfTask: 'i32',
  takesAllHeads: 'bool',
  /** Whether a panel's values lie side by side, as where tiles see keys here and there; else a slice's panels, which are then read through. */
  byPanels: 'bool',
  /** Key/value heads that a task takes if it packs them. */
  headsOfTask: 'i32',
  /** Panels of keys that a task's tiles of a head go through together. */
  rangePanels: 'i32',
  /** Machine code for parts of a block (forward/native.ts), 0 for none: scores, with maxima, as weights; weights of scores; weighted values. */
  ...fields('f64', 'scores', 'maxima', 'weights', 'exponentials', 'values'),
});

/**
 * What machine code for a block gets: groups of six queries or, for products of queries, tiles; keys or values from panel to panel,
 * and from slice to slice; what is read and written.
 */
export const BlockParams = struct({
  ...fields('i32', 'count', 'd', 'slices', 'groups'),
  ...fields('usize', 'rows', 'panelBytes', 'sliceBytes', 'queries', 'scores', 'block', 'stretches', 'result'),
});
/** Bytes of the list of stretches of a group of six queries. */
export const STRETCH_LIST_BYTES = 4 + 12 * BLOCK_PANELS;

export const BackwardParams = struct({
  problem: Problem,
  ...fields(Operand, 'out', 'gradOut'),
  lse: 'tensor',
  /** 0 for none. */
  gradLse: 'tensor',
  ...fields(Contiguous, 'gradQ', 'gradK', 'gradV'),
  /** Parts of the keys of a head; the most panels in one. A task is a part of a key/value head. */
  ...fields('i32', 'parts', 'partPanels'),
  /** The tasks of this round, whose working memory lies one after the other. */
  ...fields('i32', 'firstTask', 'pastTask'),
  /** Each task's keys and values, packed. */
  ...fields('usize', 'keyPanels', 'keySlices', 'valuePanels'),
  /** Each task's sums for the queries of the heads that share its keys, [h / g][tiles * 24][d]; a byte for each pair of tiles, 0 if it sees none. */
  ...fields('usize', 'sumsQ', 'met'),
  /** Each task's sums for its keys and values, laid out as their slices are. */
  ...fields('usize', 'sumsK', 'sumsV'),
  /** What earlier rounds left of the queries' gradient, f32 [b, n, h, d]. */
  heldQ: 'usize',
  /**
   * Places where the modifier reads captured tables, and how many; 0 where no gradients with respect to them are
   * wanted.
   */
  places: 'usize',
  placeCount: 'i32',
  /** Sums of the groups of parts, float64 [groups][elements of all tables]. */
  sumsOfTables: 'usize',
  elements: 'i32',
  /** Groups of parts, each of which has sums of its own for the tables: as many as memory allows. */
  groups: 'i32',
  /** f32 [elements]. */
  gradTables: 'tensor',
  /** Machine code for parts of a block (backward/native.ts), 0 for none: scores; weights; their gradients; what is added to keys and queries. */
  ...fields('f64', 'scores', 'weights', 'gradients', 'ofKeys', 'ofQueries'),
});

/** Where a modifier reads a table: programs of the index and of how the score changes with the element. */
export const Place = struct({
  ...fields('usize', 'index', 'indexTables', 'factor', 'factorTables'),
  /** Where the table begins among the elements of all, and its length. */
  first: 'usize',
  length: 'i32',
});
export const PLACE_BYTES = 8 * Object.keys(Place).length;

/** Keys that decoding takes at once: scores against four queries, and rows of keys and values, stay in a thread's first cache. */
export const DECODE_KEYS = 48;
/** Numbers of decoding's rows, lists and segments. */
export const DECODE_ROW_LENGTH = 3;
export const DECODE_LIST_LENGTH = 3;
export const DECODE_SEGMENT_LENGTH = 3;

/** Attention of few queries, which reads keys and values where they lie. */
export const DecodeParams = struct({
  /** g are the groups of query heads that go together: those of a key/value head or, where these see differently, each. */
  ...fields('i32', 'b', 'n', 'h', 'g', 'd', 'e', 'keyHeads'),
  scale: 'f64',
  ...fields(Operand, 'q', 'k', 'v'),
  out: Contiguous,
  lse: 'tensor',
  /**
   * The pages of a cache: their addresses [b][pagesOfRow], each of `pageRows` keys and values; 0 for plain tensors. k and v
   * then say where rows lie within a page, and the scales of 8-bit ones f32 [keyHeads][pageRows] from these bytes on.
   */
  pages: 'usize',
  ...fields('i32', 'pagesOfRow', 'pageRows'),
  ...fields('usize', 'keyScales', 'valueScales'),
  /** How many queries each batch has, and its score's program and tables, 0 for none. */
  rows: 'usize',
  /** A list for each head of each batch: its first segment, one past its last, and the keys in them. */
  ...fields('usize', 'maps', 'lists'),
  /** First key, one past the last, and which six words say who sees them, -1 where all queries do. */
  ...fields('usize', 'segments', 'words'),
  /**
   * Queries [b][g][groups of 4 rows][columns of 4][4 rows][4]; sums [b][g][splits][groups of 4 rows], each the weighted values
   * laid out alike, then of its rows the maxima, the sums of weights, and whether float32 does not do.
   */
  ...fields('usize', 'queries', 'parts'),
  /** Splits of the longest list, of `splitKeys` keys; groups that a task takes. */
  ...fields('i32', 'splits', 'splitKeys', 'headsOfTask'),
});

/** A program over one tile of queries and `count` keys. */
export const ModifyParams = struct({
  ...fields('usize', 'program', 'tables', 'scores', 'out', 'queries', 'keys'),
  ...fields('i32', 'count', 'batch', 'head'),
});
