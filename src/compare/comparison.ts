/** The result of a comparison: the JSON of `saccade compare`, and what its report shows. */
import type { Machine } from '../machine';
import type { Summary } from '../measure/statistics';
import type { DType } from '../tensor/dtype';

/** The result of a comparison. */
export interface Comparison {
  /** Extents: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension. */
  readonly extents: Readonly<Record<'b' | 'n' | 'm' | 'h' | 'g' | 'd' | 'e', number>>;
  /** Extents of the spatial axes, if q, k and v have them: n and m are then their product. */
  readonly grid?: readonly number[];
  readonly dtype: DType;
  /** What the runtime is: backend, threads, kernels; one fact a line. */
  readonly runtime: readonly string[];
  /** Exact full attention and its variants; then, but not on a grid, exact causal attention and its own. */
  readonly rows: readonly Row[];
  /** What else could have been compared, if no methods were named. */
  readonly leftOut?: LeftOut;
  /** The true attention of each head: exact, full, averaged over the batch. */
  readonly maps: AttentionMaps;
  /** The attention of some tokens of a two-dimensional grid. */
  readonly glances?: Glances;
  readonly recommendation: Recommendation;
}

export interface LeftOut {
  /** How many variants were not measured. */
  readonly variants: number;
  /** The methods none of whose variants were. */
  readonly methods: readonly string[];
}

/** One variant, measured or failed. */
export type Row = MeasuredRow | FailedRow;

/** The variant of a row. */
interface Variant {
  /** Name of the method in the registry. */
  readonly method: string;
  /** Its params as a user may give them. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Its name in tables and plots. */
  readonly label: string;
  /** Whether a query sees only the keys up to its own position: the baseline is then exact causal attention. */
  readonly causal: boolean;
  /** Whether this is the baseline itself. */
  readonly baseline: boolean;
}

export interface MeasuredRow extends Variant {
  readonly failed?: undefined;
  /** Milliseconds of one call, over repeats that alternate with those of the other rows. */
  readonly time: Summary;
  /** Median time of the baseline over that of this row; undefined if the baseline failed. */
  readonly speedup?: number;
  /** Most bytes that one call held beside its inputs: its results and its working memory. */
  readonly memory: number;
  /** Multiplications and additions of one call. */
  readonly flops: number;
  /** Share of the query-key pairs that are computed. */
  readonly visited?: number;
  /** On a grid: the side, in tokens, of the square around the middle one that has nine tenths of its weights. */
  readonly reach?: number;
  /** The baseline's softmax probability of the keys that a query keeps; only for masks. */
  readonly mass?: Mass;
  /** Undefined for methods that need training, for which it would mean nothing, and if the baseline failed. */
  readonly error?: OutputError;
  /** For baselines, and for methods that need training and have no negative weights. */
  readonly entropy?: Entropy;
  /**
   * Largest error against the float64 reference on a few queries, over the largest |v|, or the largest result of a
   * method that needs training: what the fast kernels themselves lose. Methods that are neither a mask nor need training
   * have none.
   */
  readonly exactness?: number;
  /** What causal variants that need no training and exact causal attention give, where q, k and v are of a language model. */
  readonly loss?: NextTokenLoss;
  /** The method's warning about its results on these inputs. */
  readonly warning?: string;
}

/** The mean cross entropy of next tokens, in nats, when a variant takes the place of a language model's attention. */
export interface NextTokenLoss {
  /** In the layer of q, k and v alone. */
  readonly layer: number;
  /** In all layers. */
  readonly all: number;
  /** In each layer alone, if that was asked for. */
  readonly layers?: readonly number[];
}

/** A row without figures: its result was wrong, its call failed, or it does not take such inputs. */
export interface FailedRow
  extends Variant,
    Partial<Record<Exclude<keyof MeasuredRow, keyof Variant | 'failed'>, undefined>> {
  /** The reason, in one line. */
  readonly failed: string;
}

export function isMeasured(row: Row): row is MeasuredRow {
  return row.failed === undefined;
}

/** A row that is compared with the baseline by its output. */
export type RowWithError = MeasuredRow & { readonly error: OutputError; readonly speedup: number };

export function hasError(row: Row): row is RowWithError {
  return row.error !== undefined;
}

/** Whether a measured row has no meaningful error, since its method needs training. */
export function needsTraining(row: Row): row is MeasuredRow {
  return isMeasured(row) && row.speedup !== undefined && !hasError(row);
}

/** Whether a row tells how a language model predicts with its variant. */
export function hasLoss({ loss }: Row): boolean {
  return loss !== undefined;
}

/** Whether a row tells how far the middle of a picture sees. */
export function hasReach(row: Row): boolean {
  return isMeasured(row) && row.reach !== undefined;
}

export interface Mass {
  readonly mean: number;
  readonly min: number;
  /** Per head, over batch and queries. */
  readonly heads: readonly { readonly mean: number; readonly min: number }[];
}

/**
 * How attention spreads: the mean entropy of the normalised weights of a few queries, in bits. 0 is all on one key,
 * log2(m) the same on each.
 */
export interface Entropy {
  readonly mean: number;
  /** Per head, over batch and queries. */
  readonly heads: readonly number[];
}

export interface OutputError extends Distance {
  readonly heads: readonly Distance[];
}

/** How far an output is from the baseline's. */
export interface Distance {
  /** |out - baseline| / |baseline|, Euclidean norms over everything compared. */
  readonly relativeL2: number;
  /** Cosine of the angle between the two. */
  readonly cosine: number;
}

/** The attention of each head, in bins of queries and keys. */
export interface AttentionMaps {
  /** Queries and keys are binned: how many bins, and how many of them a bin holds (the last may hold fewer). */
  readonly queryBins: number;
  readonly queriesPerBin: number;
  readonly keyBins: number;
  readonly keysPerBin: number;
  /**
   * Per head the base64 of float16 bits, little-endian, [queryBins, keyBins]: the share of the attention of a bin's
   * average query that falls on a bin's keys. Each row sums to 1.
   */
  readonly heads: readonly string[];
}

/** The exact, full attention of some tokens of a grid, of the first batch. */
export interface Glances {
  /** Indices of the tokens, row by row. */
  readonly tokens: readonly number[];
  /** Per head the base64 of float16 bits, little-endian, [tokens, n]: the share that each key has. Rows sum to 1. */
  readonly heads: readonly string[];
}

/** A comparison with what is needed to understand it later. */
export interface ComparisonReport extends Comparison {
  readonly format: 'saccade compare';
  /** Grows when a field changes its meaning. */
  readonly version: 1;
  readonly machine: Machine;
  /** What was compared on, in words. */
  readonly input: string;
}

/** What to use. */
export interface Recommendation {
  /** One sentence: what to use for full and, where measured, for causal attention, with the numbers it follows from. */
  readonly text: string;
  /** How the variant was chosen. */
  readonly rule: string;
  /** The label of the chosen row; undefined if exact attention is the best choice. */
  readonly full?: string;
  readonly causal?: string;
  /** How to use the chosen rows. */
  readonly uses: readonly Use[];
  /** Largest output error (relative L2) that a recommended variant may have. */
  readonly maxError: number;
}

/** How to use a measured variant, shown with a recommendation. */
export interface Use {
  /** The row's. */
  readonly label: string;
  /** The method in words: its name and what it computes. */
  readonly method: string;
  /** Where to read about it: its page in the repository, for methods of the registry, and its paper. */
  readonly pages: readonly string[];
  /** Lines of JavaScript that compute it from q, k and v. */
  readonly code: string;
  /** A command that does so for a file, for methods of the registry. */
  readonly command?: string;
}
