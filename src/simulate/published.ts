/**
 * The rows of the paper's simulator: what it predicted and what was measured on a B200. Tiles, bounds and end-to-end speed-ups
 * are computed here, for comparison.
 * Source: Hassani et al. 2025, arXiv 2504.16922, tables 1 to 6 and figure 3.
 */
import { sameShape } from '../tensor/shape';
import { endToEndSpeedup, type GnaSimulation, simulateGna } from './gna';

/** End-to-end speed-ups over self attention. */
interface PublishedSpeedups {
  readonly simulated: number;
  readonly measured: number;
}

/** A row of a table of the paper. */
export interface PublishedRow {
  readonly model: string;
  /** Where in the paper. */
  readonly source: string;
  readonly grid: readonly number[];
  readonly window: readonly number[];
  readonly stride: readonly number[];
  readonly queryTile: readonly number[];
  readonly keyTile: readonly number[];
  /** False if the paper does not print the tile shapes: they were found by search. */
  readonly tilesPrinted: boolean;
  /** Attention's share of the time of the run, from 0 to 1. */
  readonly attentionShare: number;
  readonly steps: number;
  /** Steps that keep self attention in `someSteps`. */
  readonly denseSteps: number;
  readonly allSteps: PublishedSpeedups;
  readonly someSteps?: PublishedSpeedups;
  /** Why the simulator does not get the same. */
  readonly notReproduced?: string;
}

type Model = Omit<PublishedRow, 'window' | 'stride' | 'allSteps' | 'someSteps'>;

/** Simulated and measured: all steps, then some. */
type Figures = readonly [number, number] | readonly [number, number, number, number];

const HUNYUAN: Model = {
  model: 'HunyuanVideo',
  source: 'tables 4, 5 and figure 3',
  grid: [30, 48, 80],
  queryTile: [4, 8, 8],
  keyTile: [2, 8, 8],
  tilesPrinted: true,
  attentionShare: 0.607,
  denseSteps: 15,
  steps: 50,
};

const FLUX: Model = {
  model: 'FLUX.1-dev 4K',
  source: 'tables 2 and 6',
  grid: [256, 256],
  queryTile: [16, 16],
  keyTile: [16, 8],
  tilesPrinted: true,
  attentionShare: 0.518,
  denseSteps: 9,
  steps: 28,
};

const COSMOS: Model = {
  model: 'Cosmos-7B',
  source: 'table 3',
  grid: [16, 44, 80],
  queryTile: [8, 4, 8],
  keyTile: [4, 4, 8],
  tilesPrinted: false,
  attentionShare: 0.587,
  denseSteps: 12,
  steps: 35,
};

const EARLIER_CENTRE =
  'implies 450 tiles, an operator speed-up of 2.0: as with an earlier choice of the middle of a stride group';

/** Speed-ups published in the paper on generalized neighborhood attention (arXiv 2504.16922). */
export const publishedRows: readonly PublishedRow[] = [
  row(HUNYUAN, [30, 40, 40], [1, 1, 1], [1.21, 1.15, 1.14, 1.08]),
  row(HUNYUAN, [30, 40, 40], [1, 1, 8], [1.44, 1.26, 1.27, 1.15]),
  row(HUNYUAN, [30, 40, 40], [1, 32, 8], [1.55, 1.53, 1.33, 1.3]),
  { ...row(HUNYUAN, [30, 40, 40], [30, 40, 40], [1.44, 1.28]), notReproduced: EARLIER_CENTRE },
  row(HUNYUAN, [18, 24, 24], [1, 1, 1], [1.73, 1.73, 1.42, 1.42]),
  row(HUNYUAN, [18, 24, 24], [2, 1, 1], [1.78, 1.77, 1.44, 1.44]),
  row(HUNYUAN, [18, 24, 24], [1, 1, 8], [1.99, 1.95, 1.53, 1.51]),
  row(HUNYUAN, [18, 24, 24], [2, 1, 8], [2.02, 1.98, 1.55, 1.54]),
  row(HUNYUAN, [18, 24, 24], [1, 8, 8], [2.17, 2.09, 1.61, 1.58]),
  row(HUNYUAN, [18, 24, 24], [2, 8, 8], [2.2, 2.11, 1.62, 1.59]),
  row(HUNYUAN, [18, 24, 24], [16, 8, 8], [2.23, 2.23, 1.63, 1.63]),
  row(HUNYUAN, [18, 24, 24], [18, 24, 24], [2.06, 2.0]),
  row(FLUX, [80, 80], [1, 1], [1.76, 1.65, 1.42, 1.37]),
  row(FLUX, [80, 80], [16, 1], [1.84, 1.72, 1.45, 1.4]),
  row(FLUX, [80, 80], [16, 16], [1.88, 1.82, 1.46, 1.45]),
  row(COSMOS, [16, 32, 48], [1, 1, 1], [1.35, 1.18, 1.21, 1.11]),
  row(COSMOS, [16, 32, 48], [1, 8, 1], [1.42, 1.2, 1.24, 1.12]),
  row(COSMOS, [16, 32, 48], [1, 1, 16], [1.42, 1.21, 1.24, 1.13]),
  row(COSMOS, [16, 32, 48], [1, 8, 16], [1.5, 1.46, 1.28, 1.26]),
  row(COSMOS, [16, 24, 16], [1, 1, 1], [1.9, 1.76, 1.45, 1.4]),
  row(COSMOS, [16, 24, 16], [1, 8, 1], [1.96, 1.79, 1.48, 1.4]),
  row(COSMOS, [16, 24, 16], [1, 1, 16], [2.05, 1.88, 1.51, 1.44]),
  row(COSMOS, [16, 24, 16], [1, 8, 16], [2.1, 2.05, 1.52, 1.5]),
];

/** A row with our simulation of its setting. */
export interface PublishedComparison extends PublishedRow {
  readonly tilesPerAxis: readonly number[];
  readonly visited: number;
  readonly total: number;
  readonly speedup: number;
  readonly flopSpeedup: number;
  /** End-to-end speed-ups. */
  readonly computed: { readonly allSteps: number; readonly someSteps?: number };
}

export function besidePublished(row: PublishedRow): PublishedComparison {
  const { attentionShare, denseSteps, steps, someSteps } = row;
  const { tilesPerAxis, visited, total, speedup, flopSpeedup } = simulateGna(row, row);
  const computed = {
    allSteps: endToEndSpeedup(speedup, attentionShare),
    ...(someSteps && {
      someSteps: endToEndSpeedup(speedup, attentionShare * (1 - denseSteps / steps)),
    }),
  };
  return { ...row, tilesPerAxis, visited, total, speedup, flopSpeedup, computed };
}

/** The published row of a simulated setting, tiles included. */
export function findPublished(simulation: GnaSimulation): PublishedRow | undefined {
  const { dilation, causal, tiling } = simulation;
  if (tiling === 'dynamic' || causal.includes(true) || dilation.some((step) => step > 1)) return undefined;
  const keys = ['grid', 'window', 'stride', 'queryTile', 'keyTile'] as const;
  return publishedRows.find((published) => keys.every((key) => sameShape(published[key], simulation[key])));
}

function row(
  model: Model,
  window: readonly number[],
  stride: readonly number[],
  [simulated, measured, ...some]: Figures,
): PublishedRow {
  const someSteps = some.length === 2 && { simulated: some[0], measured: some[1] };
  return { ...model, window, stride, allSteps: { simulated, measured }, ...(someSteps && { someSteps }) };
}
