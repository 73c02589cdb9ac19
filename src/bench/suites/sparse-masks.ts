/** The masks of `bench sparse`. */
import { band, causal } from '../../masks/band';
import { and, or } from '../../masks/combine';
import { dilated } from '../../masks/dilated';
import { documentIds, documents } from '../../masks/documents';
import { prefix, sinks } from '../../masks/first';
import { from } from '../../masks/from';
import { globalSliding } from '../../masks/global-sliding';
import { longNet } from '../../masks/longnet';
import type { Mask } from '../../masks/mask';
import type { NeighborhoodParams } from '../../masks/neighborhood';
import { power } from '../../masks/power';
import { s2 } from '../../masks/s2';
import { randomPermutation, stochastic } from '../../masks/stochastic';
import { strided } from '../../masks/strided';
import { neighborhoodMask } from '../../methods/sparse/neighborhood-attention/params';
import { MASKS, named } from '../problem';
import type { Goal } from '../report';

/** A mask that is measured beside dense attention; reports call it by the mask's name. */
export interface SparseMask {
  readonly mask: Mask;
  /** Its params, in words. */
  readonly label: string;
  /** Default: the time that its share of tiles predicts. */
  readonly goal?: Goal;
}

/** Phi-3-small's setting. */
const S2 = { block: 64, localBlocks: 16, verticalStride: 8 } as const;
const POWER = { block: 64, window: 5, sink: 1 } as const;
const WINDOW = 256;
const GLOBALS = 64;

/** The share of the tokens in each of six documents; none is a multiple of a tile. */
const DOCUMENTS = [0.05, 0.1, 0.15, 0.3, 0.25, 0.15];

export const powerMask: SparseMask = entry('power', 'blocks of 64, window 5, sink 1', power(POWER));
export const s2Mask: SparseMask = entry('s2', 'blocks of 64, 16 local, every 8th', s2(S2));

/** Masks of n tokens in groups, which are timed one after the other. */
export function sequenceMasks(n: number): readonly (readonly SparseMask[])[] {
  const own = documents(documentIds(shares(n, DOCUMENTS)));
  const permutation = randomPermutation(n, 1);
  const segments = `segments of 8 to 128 blocks of ${S2.block}`;
  return [
    [
      { mask: MASKS.causal, label: 'causal' },
      { mask: MASKS.window, label: `causal, ${WINDOW} keys` },
      entry('window-both', `${WINDOW} to either side`, band(WINDOW, WINDOW)),
      entry('sinks', `causal, ${WINDOW} keys, 4 sinks`, and(causal(), or(band(WINDOW - 1, 0), sinks(4)))),
      entry('global', `${WINDOW} to either side, ${GLOBALS} globals`, globalSliding(WINDOW, GLOBALS)),
      entry('dilated', `every 4th of ${WINDOW} to either side`, dilated(WINDOW, 4)),
      entry('strided', 'causal, every 64th', and(causal(), strided(64))),
    ],
    [
      entry('documents', `${DOCUMENTS.length} of unequal length`, own),
      entry('causal-documents', `${DOCUMENTS.length} of unequal length`, and(causal(), own)),
      entry('prefix', 'causal beside a quarter', or(causal(), prefix(Math.ceil(n / 4)))),
    ],
    [
      powerMask,
      s2Mask,
      entry('longnet', segments, longNet({ block: S2.block })),
      entry('stochastic', `${WINDOW} slots`, stochastic({ permutation, window: WINDOW })),
      entry('stochastic-causal', `${WINDOW} slots`, stochastic({ permutation, window: WINDOW, causal: true })),
    ],
  ];
}

/** Neighborhood attention on one grid. */
export interface GridMasks {
  readonly n: number;
  /** The share of the heads that is measured, as dense attention on large grids takes long. Default: 1. */
  readonly part?: number;
  readonly masks: readonly SparseMask[];
}

/** The share of the speed-up that FLOPs promise. */
const GNA_GOAL: Goal = { measure: 'efficiency', atLeast: 0.9 };

/** Every tile is seen whole or not at all, so no work is wasted. */
export const BLOCK_SPARSE: readonly NeighborhoodParams[] = [
  { grid: [96, 96], window: [16, 24], stride: [4, 6] },
  { grid: [96, 96], window: [16, 24], stride: [16, 24] },
  { grid: [96, 96], window: [32, 36], stride: [8, 12] },
  { grid: [16, 24, 24], window: [8, 10, 12], stride: [2, 6, 12] },
  { grid: [16, 24, 24], window: [4, 18, 24], stride: [4, 18, 24] },
];

/**
 * The published settings that are perfectly block-sparse with the tiles of the paper's kernels, as long as dense attention
 * of one head does not take too long (HunyuanVideo's does).
 * Source: Hassani et al. 2025, arXiv 2504.16922, tables 2, 3 and 6.
 */
export const PUBLISHED_SPARSE = [
  {
    model: 'FLUX.1-dev 4K',
    grid: [256, 256],
    settings: [{ name: 'gna-flux', window: [80, 80], stride: [16, 16] }],
  },
  {
    model: 'Cosmos-7B',
    grid: [16, 44, 80],
    settings: [
      { name: 'gna-cosmos-1', window: [16, 24, 16], stride: [1, 8, 16] },
      { name: 'gna-cosmos-2', window: [16, 32, 48], stride: [1, 8, 16] },
    ],
  },
] as const;

/** Made on demand: choosing their tiles takes longer than many commands. */
export function gridMasks(): readonly GridMasks[] {
  return [
    {
      n: 64 * 64,
      masks: [
        {
          ...entry('neighborhood', '7x7 of 64x64', neighborhoodMask({ window: 7 }, [64, 64])),
          goal: { measure: 'ratio', atMost: 1 / 20 },
        },
      ],
    },
    {
      n: 96 * 96,
      masks: BLOCK_SPARSE.map((params, at) => ({
        ...entry(`gna-${at + 1}`, labelOf(params), neighborhoodMask(params, params.grid)),
        goal: GNA_GOAL,
      })),
    },
    ...PUBLISHED_SPARSE.map(({ model, grid, settings }) => ({
      n: grid.reduce<number>((tokens, length) => tokens * length, 1),
      part: 1 / 8,
      masks: settings.map(({ name, window, stride }) => {
        const params = { grid, window, stride };
        return { ...entry(name, `${model}: ${labelOf(params)}`, neighborhoodMask(params, grid)), goal: GNA_GOAL };
      }),
    })),
  ];
}

function entry(name: string, label: string, mask: Mask): SparseMask {
  return { mask: named(name, mask), label };
}

function labelOf({ grid, window, stride }: NeighborhoodParams): string {
  const [sizes, windows, strides] = [grid, window, stride].map((of) => (of as readonly number[]).join('x'));
  return `${windows} of ${sizes}, stride ${strides}`;
}

/** Whole numbers that add up to n, in about these proportions. */
function shares(n: number, parts: readonly number[]): number[] {
  let before = 0;
  let end = 0;
  return parts.map((part) => {
    end += part;
    const length = Math.round(end * n) - before;
    before += length;
    return length;
  });
}

/** A mask whose tile map is built. */
export interface MeasuredMap {
  readonly name: string;
  readonly label: string;
  /** For how many times the tokens of the suite it is built. */
  readonly times: number;
  readonly goal: Goal;
  /** A mask of n tokens about which nothing is cached yet. */
  make(n: number): Mask;
  /** The same mask in a form that answers single pairs quickly. */
  definition?(n: number): Mask;
}

/** By default for 131072, 262144 and 8192 tokens. */
export const MAPS: readonly MeasuredMap[] = [
  {
    name: 'map',
    label: 'building its tile map',
    times: 16,
    goal: { measure: 'time', atMost: 5 },
    make: () => ({ ...MASKS.window }),
  },
  {
    name: 'map-documents',
    label: 'building the tile map of documents, as a function',
    times: 32,
    goal: { measure: 'time', atMost: 500 },
    make: (n) =>
      named(
        'documents',
        from((_b, _h, q, k, { doc }) => doc[q] === doc[k], { doc: equalDocuments(n) }),
      ),
    definition: (n) => documents(equalDocuments(n)),
  },
  {
    name: 'map-function',
    label: 'building the tile map of a function of which ranges tell nothing',
    times: 1,
    goal: { measure: 'time', atMost: 850 },
    make: () =>
      named(
        'function',
        from((_b, _h, q, k) => ((q * 7 + k * 13) & 15) < 3),
      ),
  },
];

/** Ids of 64 documents of about equal length. */
function equalDocuments(n: number): Int32Array {
  const count = Math.min(64, n);
  return documentIds(shares(n, new Array(count).fill(1 / count)));
}
