/** Where fitting a line beats fitting a mean: regression from neighbours, the ends of the data, and large ridges. */
import { exponent } from '../../measure/statistics';
import { attention } from '../../ops/attention';
import { localLinearAttention as attend } from '../../ops/local-linear';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { significant } from '../../text/format';
import { type Criterion, chart, defineExperiment, figure, listed, type MeasureContext } from '../experiment';
import { numbersOf } from '../held';
import { largestDifference } from '../vectors';

/** The sizes of the piecewise linear map. */
const [DIMENSION, SEGMENTS, LENGTH, STEP] = [8, 4, 128, 8];
const SCALES = [4, 8, 16, 32];
const RIDGE = 1e-3;
/** Points of the curve, and bandwidths as scales, each half as wide as the last. */
const POINTS = 4096;
const BANDWIDTHS = [16, 64, 256, 1024];
const RIDGES = [0.1, 1, 10, 100, 1000];

const ratio = (what: string, expected: Criterion['expected'], partly: Criterion['expected']) =>
  figure(what, expected, partly, [0, 100]);

export const experiment = defineExperiment({
  title: 'error on a piecewise linear map, bias at the ends of a curve, and the difference from softmax attention',
  claims: {
    regression: {
      claim:
        'On a piecewise linear map local linear attention has the least error overall; a global linear fit is best in the first segment and then degrades strongly, and softmax attention is poor throughout.',
      source: 'arXiv 2510.01450, figure 2 (sizes reconstructed)',
      criteria: {
        first: ratio(
          'error of the global fit in the first segment over the best of local linear attention',
          [0, 1],
          [0, 1.2],
        ),
        global: ratio('its error over that of the global fit', [0, 0.3], [0, 0.9]),
        softmax: ratio('its error over that of softmax attention, each at its best scale', [0, 0.7], [0, 0.95]),
        everywhere: ratio('the same at one scale, the largest of all scales', [0, 0.95], [0, 1]),
      },
    },
    boundary: {
      claim:
        'At the ends of the data the bias of softmax attention falls as the bandwidth, that of local linear attention as its square.',
      source: 'arXiv 2510.01450, rates of local constant and local linear regression; the curve is reconstructed',
      criteria: {
        constant: figure('exponent of the bandwidth at the ends, softmax attention', [0.8, 1.2], [0.6, 1.5], [0, 6]),
        linear: figure('the same, local linear attention', [1.7, 4.5], [1.4, 5], [0, 8]),
      },
    },
    softmax: {
      claim: 'With a large ridge it is softmax attention.',
      source: 'definition: the slope of each fit vanishes',
      byConstruction: true,
      criteria: {
        exponent: figure('exponent of the ridge of the difference, from 10 on', [-1.1, -0.9], [-3, 1]),
        last: figure(`difference with a ridge of ${RIDGES.at(-1)}, over the largest output`, [0, 0.05], [0, 10]),
      },
    },
    models: {
      claim: 'As a layer of trained models it recalls more associations than softmax attention and recurrent layers.',
      source: 'arXiv 2510.01450, figure 4b',
      criteria: {},
      untested: 'no model is trained here',
    },
  },
  measure: {
    regression,
    boundary,
    softmax,
    models: () => ({ measured: 'not measured: no model is trained here', values: {} }),
  },
});

async function regression({ runtime, quick, step }: MeasureContext) {
  const seeds = quick ? 2 : 10;
  const n = SEGMENTS * LENGTH;
  const shape = [1, n, 1, DIMENSION];
  const [local, plain] = [SCALES.map(() => zeros()), SCALES.map(() => zeros())];
  const global = zeros();
  for (let seed = 0; seed < seeds; seed++) {
    await step((0.6 * seed) / seeds, 'regression');
    const { keys, values, queries, targets } = pieces(seed);
    const errors = async (sums: number[], compute: (q: Tensor, k: Tensor, v: Tensor) => Tensor) => {
      const out = await numbersOf(runtime, () => {
        const [q, k, v] = [queries, keys, values].map((x) => runtime.tensor(x, shape)) as [Tensor, Tensor, Tensor];
        return compute(q, k, v);
      });
      for (let i = STEP - 1; i < n; i += STEP) {
        const segment = Math.floor(i / LENGTH);
        for (let c = 0; c < DIMENSION; c++) {
          const error = out[i * DIMENSION + c]! - targets[i * DIMENSION + c]!;
          sums[segment]! += (error * error * STEP) / (seeds * LENGTH * DIMENSION);
        }
      }
    };
    const settings = { causal: true, ridge: RIDGE, solver: 'direct' } as const;
    await errors(global, (q, k, v) => attend(q, k, v, { ...settings, scale: 0 }).out);
    for (const [at, scale] of SCALES.entries()) {
      await errors(local[at] as number[], (q, k, v) => attend(q, k, v, { ...settings, scale }).out);
      await errors(plain[at] as number[], (q, k, v) => attention(q, k, v, { causal: true, scale }).out);
    }
  }
  const total = (sums: readonly number[]) => sums.reduce((a, x) => a + x, 0) / SEGMENTS;
  const best = (all: readonly (readonly number[])[]) => Math.min(...all.map(total));
  const firsts = Math.min(...local.map(([first]) => first as number));
  return {
    measured: `mean squared error: local linear ${significant(best(local))}, softmax ${significant(best(plain))}, global linear ${significant(total(global))}`,
    values: {
      first: global[0]! / firsts,
      global: best(local) / total(global),
      softmax: best(local) / best(plain),
      everywhere: Math.max(...SCALES.map((_, at) => total(local[at] as number[]) / total(plain[at] as number[]))),
    },
    details: `${SEGMENTS} segments of ${LENGTH} tokens of ${DIMENSION} numbers, each with a centre and a map of its own, noise 0.05, ridge ${RIDGE}, scales ${SCALES.join(', ')}, ${seeds} seeds. Global linear: all keys weigh alike.`,
    series: chart(
      'Mean squared error by segment, each at its best scale overall',
      { segment: Array.from({ length: SEGMENTS }, (_, at) => at + 1) },
      { 'local linear': bestOf(local, total), softmax: bestOf(plain, total), 'global linear': global },
    ),
  };
}

const zeros = () => new Array<number>(SEGMENTS).fill(0);
const bestOf = (all: readonly number[][], total: (sums: readonly number[]) => number) =>
  all.reduce((best, sums) => (total(sums) < total(best) ? sums : best));

/** Keys around a centre for each segment, of length 1, their values by the segment's map, and queries like the keys. */
function pieces(seed: number) {
  const n = SEGMENTS * LENGTH;
  const [centres, maps] = [normal(SEGMENTS * DIMENSION, 5 * seed + 1), normal(SEGMENTS * DIMENSION ** 2, 5 * seed + 2)];
  const [around, others, noise] = [3, 4, 5].map((more) => normal(n * DIMENSION, 5 * seed + more)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const unit = (x: number[]) => x.map((value) => value / Math.hypot(...x));
  const near = (spread: Float32Array, i: number) => {
    const segment = Math.floor(i / LENGTH);
    const centre = unit([...centres.subarray(segment * DIMENSION, (segment + 1) * DIMENSION)]);
    return unit(centre.map((x, c) => x + (0.5 * spread[i * DIMENSION + c]!) / Math.sqrt(DIMENSION)));
  };
  const mapped = (x: readonly number[], i: number) => {
    const first = Math.floor(i / LENGTH) * DIMENSION ** 2;
    return x.map((_, r) =>
      x.reduce((sum, value, c) => sum + (maps[first + r * DIMENSION + c]! * value) / Math.sqrt(DIMENSION), 0),
    );
  };
  const rows = (row: (i: number) => number[]) => Float32Array.from(Array.from({ length: n }, (_, i) => row(i)).flat());
  return {
    keys: rows((i) => near(around, i)),
    values: rows((i) => mapped(near(around, i), i).map((x, c) => x + 0.05 * noise[i * DIMENSION + c]!)),
    queries: rows((i) => near(others, i)),
    targets: rows((i) => mapped(near(others, i), i)),
  };
}

async function boundary({ runtime, quick, step }: MeasureContext) {
  await step(0.7, 'ends of a curve');
  const points = quick ? POINTS / 4 : POINTS;
  // On an arc all keys are equally long, so that weights fall with the distance.
  const arc = (positions: readonly number[]) => Float32Array.from(positions.flatMap((x) => [Math.cos(x), Math.sin(x)]));
  const positions = Array.from({ length: points }, (_, i) => i / (points - 1));
  const curve = (x: number) => Math.sin(3 * x);
  const errors = async (compute: (q: Tensor, k: Tensor, v: Tensor, scale: number) => Tensor) => {
    const all: number[] = [];
    for (const scale of BANDWIDTHS) {
      const out = await numbersOf(runtime, () => {
        const q = runtime.tensor(arc([0, 1]), [1, 2, 1, 2]);
        const k = runtime.tensor(arc(positions), [1, points, 1, 2]);
        const v = runtime.tensor(Float32Array.from(positions, curve), [1, points, 1, 1]);
        return compute(q, k, v, scale);
      });
      all.push((Math.abs(out[0]! - curve(0)) + Math.abs(out[1]! - curve(1))) / 2);
    }
    return all;
  };
  const constant = await errors((q, k, v, scale) => attention(q, k, v, { scale }).out);
  const linear = await errors(
    (q, k, v, scale) => attend(q, k, v, { scale, ridge: 0.01 / scale, solver: 'direct' }).out,
  );
  const widths = BANDWIDTHS.map((scale) => 1 / Math.sqrt(scale));
  return {
    measured: `mean error at the ends: softmax ${listed(constant)}; local linear ${listed(linear)}`,
    values: { constant: exponent(widths, constant), linear: exponent(widths, linear) },
    details: `sin 3x on [0, 1] at ${points} points, which lie on an arc of radius 1; bandwidths ${listed(widths)}, ridge 0.01 of their square.`,
    series: chart('Error at the ends', { bandwidth: widths }, { softmax: constant, 'local linear': linear }),
  };
}

async function softmax({ runtime, quick, step }: MeasureContext) {
  await step(0.8, 'large ridges');
  const lengths = quick ? [32, 64] : [64, 256, 1024];
  const differences: number[][] = [];
  for (const n of lengths) {
    const shape = [1, n, 1, 32];
    const all = async (compute: (q: Tensor, k: Tensor, v: Tensor) => Tensor) =>
      numbersOf(runtime, () => {
        const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(shape, { seed })) as [Tensor, Tensor, Tensor];
        return compute(q, k, v);
      });
    const exact = await all((q, k, v) => attention(q, k, v).out);
    const row: number[] = [];
    for (const ridge of RIDGES) {
      const out = await all((q, k, v) => attend(q, k, v, { ridge, maxIterations: 128 }).out);
      row.push(largestDifference(out, exact));
    }
    differences.push(row);
  }
  const last = differences.at(-1) as number[];
  return {
    measured: `largest difference from softmax attention over its largest output, ridge ${RIDGES.join(', ')}, n = ${lengths.at(-1)}: ${listed(last)}`,
    values: { exponent: exponent(RIDGES.slice(2), last.slice(2)), last: last.at(-1)! },
    details: 'Random queries, keys and values of unit variance, d = 32, full attention.',
    series: chart(
      'Difference from softmax attention',
      { ridge: RIDGES },
      Object.fromEntries(lengths.map((n, at) => [`n = ${n}`, differences[at] as number[]])),
    ),
  };
}
