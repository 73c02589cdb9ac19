/**
 * Measures what both ways of convolutions by channel cost on one thread of this machine, fits the constants of costs.ts and
 * prints them, and how well they tell the faster way. Run by scripts/measure-conv-costs.ts.
 */
import { createRuntime } from '../create-runtime';
import { conv } from '.';
import type { ConvCall, Extents } from './call';
import { directCounts } from './cpu';
import { fourierPlan } from './fourier';

const ROUNDS = 15;

/** Pictures, rows and columns, channels, kernel. */
const SHAPES = [
  ...[5, 7, 9, 11, 13, 21, 31, 51].map((kernel) => [1, 56, 96, kernel] as const),
  ...[7, 13, 27].map((kernel) => [1, 14, 384, kernel] as const),
  ...[7, 9, 13, 31].map((kernel) => [1, 28, 192, kernel] as const),
  ...[7, 13, 31].map((kernel) => [1, 112, 32, kernel] as const),
  ...[7, 13].map((kernel) => [8, 20, 32, kernel] as const),
];

type Counts = Readonly<Record<string, number>>;
interface Point {
  readonly counts: Counts;
  readonly nanoseconds: number;
}

const runtime = await createRuntime({ threads: 1 });
const points = { direct: [] as Point[], fourier: [] as Point[] };
for (const [batch, side, channels, kernel] of SHAPES) {
  const padding = (kernel - 1) / 2;
  const axis = (before: number) => ({ stride: 1, dilation: 1, up: 1, before });
  const axes = [axis(0), axis(padding), axis(padding)] as const;
  const elements = (shape: readonly number[]) => ({ shape }) as ConvCall['x'];
  const call: Pick<ConvCall, 'x' | 'weight' | 'results' | 'axes'> = {
    x: elements([batch, 1, side, side, channels, 1]),
    weight: elements([channels, 1, 1, 1, kernel, kernel]),
    results: elements([batch, 1, side, side, channels, 1]),
    axes,
  };
  const all: Extents = {
    batch,
    groups: channels,
    outputs: 1,
    inputs: 1,
    extents: [1, side, side],
    taps: [1, kernel, kernel],
    results: [1, side, side],
  };
  const counts = { direct: directCounts(call, all), fourier: fourierPlan(axes, all)?.counts as Counts };
  const x = runtime.random([batch, side, side, channels]);
  const weight = runtime.random([channels, 1, kernel, kernel]);
  const least = { direct: Infinity, fourier: Infinity };
  for (let round = 0; round < ROUNDS; round++)
    for (const way of ['direct', 'fourier'] as const) {
      const start = process.cpuUsage();
      const out = conv(x, weight, { groups: channels, padding, way });
      await runtime.finish();
      const { user, system } = process.cpuUsage(start);
      least[way] = Math.min(least[way], 1e3 * (user + system));
      out.dispose();
    }
  for (const way of ['direct', 'fourier'] as const) points[way].push({ counts: counts[way], nanoseconds: least[way] });
  x.dispose();
  weight.dispose();
}
runtime.dispose();

const costs = { direct: fitted(points.direct), fourier: fitted(points.fourier) };
console.log(costs);
for (const [index, shape] of SHAPES.entries()) {
  const of = (way: 'direct' | 'fourier') => {
    const { counts, nanoseconds } = points[way][index] as Point;
    return { measured: nanoseconds / 1e6, model: estimate(costs[way], counts) / 1e6 };
  };
  const [direct, fourier] = [of('direct'), of('fourier')];
  const isRight = direct.measured < fourier.measured === direct.model < fourier.model;
  const told = [direct, fourier].map(({ measured, model }) => `${measured.toFixed(2)} (model ${model.toFixed(2)})`);
  console.log(`${shape.join(' ')}: direct ${told[0]} ms, Fourier ${told[1]} ms${isRight ? '' : '  <- wrong way'}`);
}

function estimate(costs: Counts, counts: Counts): number {
  return Object.entries(counts).reduce((sum, [name, count]) => sum + count * (costs[name] as number), 0);
}

/** Costs from 0 up with the least squares of relative errors, one after the other until they settle. */
function fitted(points: readonly Point[]): Counts {
  const names = Object.keys(points[0]?.counts ?? {});
  const costs: Record<string, number> = Object.fromEntries(names.map((name) => [name, 0]));
  for (let step = 0; step < 20_000; step++)
    for (const name of names) {
      let [above, below] = [0, 0];
      for (const { counts, nanoseconds } of points) {
        const weight = (counts[name] as number) / nanoseconds;
        above +=
          weight * (1 - (estimate(costs, counts) - (costs[name] as number) * (counts[name] as number)) / nanoseconds);
        below += weight * weight;
      }
      costs[name] = Math.max(0, above / below);
    }
  return Object.fromEntries(names.map((name) => [name, Number((costs[name] as number).toPrecision(2))]));
}
