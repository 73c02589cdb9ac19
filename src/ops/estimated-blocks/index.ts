/** Which blocks of keys have a score, estimated in four bits, above a limit of its query. */
import { LARGEST_HEAD } from '../../runtime/cpu/params';
import { FLOPS_PER_MICROSECOND, withMemory } from '../../runtime/cpu/plan';
import type { Tensor } from '../../tensor/tensor';
import { choice, defineOp, f32, i32, type OptionsOf, whole } from '../define';
import type { ResultOptions } from '../float32';
import { checkHeads } from '../heads';
import { QUANTIZE } from './params';
import { EstimatedBlocksParams, KEYS, kernels, PART, QUERY_GROUP } from './params.generated';

/** Below so many columns all are taken at once. */
const LEAST_TERMS = 32;

/** The terms that are taken first, three eighths, a multiple of 4. */
const firstTerms = (d: number): number =>
  4 * (d < LEAST_TERMS ? Math.ceil(d / 4) : Math.floor((3 * Math.ceil(d / 4)) / 8));

const estimatedBlocksOp = defineOp({
  name: 'estimatedBlocks',
  inputs: {
    q: f32('b n h d'),
    center: f32('b h d'),
    k: f32('b m g d'),
    limits: f32('b n h'),
    spans: i32('u 2'),
    queryBlock: whole({ least: 1 }),
    keyBlock: whole({ least: 1 }),
    w: whole({ least: 1 }),
  },
  options: {
    /**
     * What shares a scale: `thread`, queries r and r + 8 of 16 and the keys of a block with equal floor((j mod 8) / 2); `token`,
     * nothing; `none`, scores are exact. Default `thread`.
     */
    quantize: choice('thread', ...QUANTIZE),
  },
  results: { kept: i32('b h u w', { fresh: true }) },
  operations: 'b n h m d',
  largest: { d: LARGEST_HEAD },
  fits: checkHeads,
  reference: async () => (await import('./reference')).estimatedBlocks,
  kernels,
  cpu({ q, center, k, limits, spans, queryBlock, keyBlock, quantize, kept }) {
    const [b, n, h, d] = q.shape as [number, number, number, number];
    const [, m, g] = k.shape as [number, number, number];
    const [, , queryBlocks, keyBlocks] = kept.shape as [number, number, number, number];
    const depth = Math.ceil(d / 16) * 16;
    const terms = firstTerms(d);
    const blocks = b * g * Math.ceil(m / keyBlock);
    const keys = blocks * Math.ceil(keyBlock / KEYS) * KEYS;
    const isRounded = quantize !== 'none';
    const ofRows = isRounded ? 4 * b * h * n : 0;
    const bytes = {
      rows: isRounded ? b * h * n * depth : 0,
      rowSums: 2 * ofRows,
      rowScales: ofRows,
      rowInverses: ofRows,
      rowLimits: ofRows,
      tops: ofRows,
      rowNorms: ofRows,
      rowReaches: 2 * ofRows,
      keyRows: isRounded ? keys * depth : 0,
      columns: isRounded ? keys * terms : 0,
      columnScales: 4 * keys,
      inverses: 4 * keys,
      columnNorms: 4 * keys,
      order: 4 * keys,
      extremes: (8 * keys) / KEYS,
      largestInverses: 4 * blocks,
      products: (4 * keys * h) / g,
      biases: (4 * keys * h) / g,
      largestBiases: (4 * blocks * h) / g,
      reaches: (4 * keys * h) / g / PART,
    };
    const extents = { b, n, m, h, g, d, queryBlocks, keyBlocks, queryBlock, keyBlock };
    return withMemory(bytes, (at) => [
      {
        phases: [
          ...(isRounded ? [{ kernel: 'estimateQueries', tasks: b * h * Math.ceil(n / QUERY_GROUP) }] : []),
          { kernel: 'estimateKeys', tasks: blocks },
          { kernel: 'estimateBlocks', tasks: b * h * queryBlocks, main: true },
        ],
        params: EstimatedBlocksParams({
          ...extents,
          quantize: QUANTIZE.indexOf(quantize),
          terms,
          q,
          center,
          k,
          limits,
          spans,
          kept,
          ...at,
        }),
        microseconds: (b * n * h * m * d) / FLOPS_PER_MICROSECOND / 2,
      },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planEstimatedBlocks,
});

interface EstimatedBlocksOptions extends OptionsOf<typeof estimatedBlocksOp>, ResultOptions<'i32'> {}

/** Where keys and queries are cut, and which blocks are in question. */
interface BlockSpans {
  readonly queryBlock: number;
  readonly keyBlock: number;
  /** Key blocks of the result. */
  readonly keyBlocks: number;
  /**
   * [ceil(n / queryBlock), 2], i32: of each block of queries one past the last key block whose scores are estimated, and one past
   * the last that it may see. Block 0, and those from the first number to before the second, are kept as they are.
   */
  readonly spans: Tensor<'i32'>;
}

/**
 * Which blocks of keys hold, for some query of a block of queries, a score above its limit: q [b,n,h,d] without `center` [b,h,d],
 * k [b,m,g,d] and limits [b,n,h] -> [b, h, ceil(n / queryBlock), keyBlocks], i32, 1 where a block is kept, else 0. The score of a
 * pair is that of q and k, both rounded to 4 bits, plus center . k; the last query sees the last key, and a query no key after its
 * own. Integers decide only where they decide as real numbers do.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 */
export function estimatedBlocks(
  q: Tensor,
  center: Tensor,
  k: Tensor,
  limits: Tensor,
  { spans, queryBlock, keyBlock, keyBlocks }: BlockSpans,
  options: EstimatedBlocksOptions = {},
): Tensor<'i32'> {
  return estimatedBlocksOp({ q, center, k, limits, spans, queryBlock, keyBlock, w: keyBlocks }, options).kept;
}
