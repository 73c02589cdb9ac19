/** What bilevel routing keeps of attention to a clustered picture, which partners it finds, and how its cost grows. */
import { exponent } from '../../measure/statistics';
import { bilevelRoutingAttention as method } from '../../methods/sparse/bilevel-routing-attention';
import { attention } from '../../ops/attention';
import { type HostTensor, hostTensor } from '../../tensor/host';
import { normal, uniform } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { formatPercent, formatTime, significant } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext, share } from '../experiment';
import { medians, overRounds, timeRounds } from '../rounds';

/** Regions along an axis of the picture, tokens along an axis of a region, and channels. */
const [REGIONS, SIDE, WIDTH] = [8, 4, 32];
const ROWS = REGIONS * SIDE;
const COUNT = REGIONS ** 2;
const TOP = [1, 2, 4, 8, 16];

export const experiment = defineExperiment({
  title: 'attention kept by chosen regions, partners found, and cost of bilevel routing',
  claims: {
    mass: {
      claim:
        'Four of 64 regions hold most of the attention of a clustered picture, chosen by the means of their tokens.',
      source: 'a prediction of ours, on synthetic maps',
      criteria: {
        chosen: share('mass kept by the 4 of 64 regions chosen', [0.8, 1], [0.6, 1]),
        random: share('mass kept by 4 of 64 regions drawn', [0, 0.12], [0, 0.2]),
      },
    },
    twins: {
      claim: 'Two chosen regions find the region with the same key, wherever it lies; windows of neighbours do not.',
      source: 'a prediction of ours, without training',
      criteria: {
        routed: share('twins found by 2 regions', [0.98, 1], [0.9, 1]),
        near: share('twins among the 8 regions around', [0, 0.3], [0, 0.4]),
      },
    },
    growth: {
      claim: 'With the best number of regions, cost beyond the projections grows with the 4/3 power of the tokens.',
      source: 'paper, section 3.2: follows from the counts',
      criteria: { power: figure('exponent of the cost', [1.3, 1.37], [0.9, 2.1]) },
      byConstruction: true,
    },
    whole: {
      claim: 'All regions chosen, it is attention to the whole picture.',
      source: 'follows from the definition',
      criteria: { error: figure('largest difference, of the largest value', [0, 1e-5], [0, 2]) },
      byConstruction: true,
    },
    time: {
      claim: 'Its products are dense ones, so that time falls with the share of pairs that are computed.',
      source: 'paper, section 3.2: by gathered copies on a GPU; here keys and values are read where they lie',
      criteria: {
        ratio: figure('time over dense time and share of pairs, 56 x 56, 4 of 49 regions', [0, 1.3], [0, 3], [0, 100]),
      },
    },
  },
  measure: { mass, twins, growth, whole, time },
});

const regionOf = (token: number) =>
  Math.floor(Math.floor(token / ROWS) / SIDE) * REGIONS + Math.floor((token % ROWS) / SIDE);

/** Tokens [1, ROWS, ROWS, 1, WIDTH] of what their regions have, and noise. */
function tokensOf(ofRegion: (region: number) => ArrayLike<number>, noise: number, seed: number): HostTensor<'f32'> {
  const drawn = normal(ROWS * ROWS * WIDTH, seed);
  const data = Float32Array.from(drawn, (value, at) => {
    const own = ofRegion(regionOf(Math.floor(at / WIDTH)));
    return (own[at % WIDTH] as number) + noise * value;
  });
  return hostTensor(data, [1, ROWS, ROWS, 1, WIDTH], 'f32');
}

/** Regions are in 16 clusters, of which each has four. */
function clustered(seed: number) {
  const centres = normal(16 * WIDTH, seed);
  const place = orderOf(COUNT, seed + 1);
  const cluster = (region: number) => (place[region] as number) % 16;
  return (region: number) => centres.subarray(cluster(region) * WIDTH, (cluster(region) + 1) * WIDTH);
}

/** The indices below `count` in an order of the seed. */
function orderOf(count: number, seed: number): number[] {
  const drawn = uniform(count, seed);
  return [...drawn.keys()].sort((a, b) => (drawn[a] as number) - (drawn[b] as number));
}

/** The share of the attention of some queries that lies in the regions that are given for the region of each, in float64. */
function keptBy({ data }: HostTensor<'f32'>, regions: readonly ReadonlySet<number>[]): number {
  const rows = Array.from({ length: ROWS * ROWS }, (_, token) => data.subarray(token * WIDTH, (token + 1) * WIDTH));
  const shares = rows
    .filter((_, query) => query % 17 === 0)
    .map((own, at) => {
      const scores = rows.map((other) => productOf(own, other) / Math.sqrt(WIDTH));
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const seen = regions[regionOf(17 * at)] as ReadonlySet<number>;
      const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
      return sum(weights.filter((_, key) => seen.has(regionOf(key)))) / sum(weights);
    });
  return shares.reduce((all, each) => all + each, 0) / shares.length;
}

const productOf = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, c) => sum + value * (b[c] as number), 0);

/** The regions that each region chooses, by the means of its tokens, as the method does. */
function chosenBy(x: HostTensor<'f32'>, top: number): ReadonlySet<number>[] {
  const means = Array.from({ length: COUNT }, () => new Float64Array(WIDTH));
  x.data.forEach((value, at) => {
    means[regionOf(Math.floor(at / WIDTH))]![at % WIDTH]! += value / SIDE ** 2;
  });
  return means.map((own) => {
    const products = means.map((other) => productOf(own, other));
    return new Set([...products.keys()].sort((a, b) => products[b]! - products[a]! || a - b).slice(0, top));
  });
}

async function mass({ step }: MeasureContext) {
  await step(0, 'mass of chosen regions');
  const x = tokensOf(clustered(1), 0.5, 3);
  const kept = TOP.map((top) => keptBy(x, chosenBy(x, top)));
  const drawn = TOP.map((top) =>
    keptBy(
      x,
      Array.from({ length: COUNT }, (_, region) => new Set(orderOf(COUNT, 100 + region).slice(0, top))),
    ),
  );
  const four = TOP.indexOf(4);
  return {
    measured: `${listed(kept, formatPercent)} of it in ${TOP.join(', ')} of ${COUNT} regions`,
    values: { chosen: kept[four] as number, random: drawn[four] as number },
    series: chart('Attention kept', { regions: TOP }, { chosen: kept, drawn }),
    details: `${ROWS} x ${ROWS} tokens of ${WIDTH} numbers, queries and keys alike: regions of ${SIDE} x ${SIDE} in 16 clusters, and noise of deviation 0.5. No training.`,
  };
}

async function twins({ step }: MeasureContext) {
  await step(0.3, 'twins');
  const order = orderOf(COUNT, 5);
  const pair = order.map((place) => Math.floor(place / 2));
  const twinOf = (region: number) => pair.findIndex((each, other) => each === pair[region] && other !== region);
  const keys = normal((COUNT / 2) * WIDTH, 6);
  const x = tokensOf((region) => keys.subarray((pair[region] as number) * WIDTH), 1, 7);
  const among = (sets: (region: number) => ReadonlySet<number>) =>
    order.filter((_, region) => sets(region).has(twinOf(region))).length / COUNT;
  const found = TOP.map((top) => {
    const chosen = chosenBy(x, top);
    return among((region) => chosen[region] as ReadonlySet<number>);
  });
  const around = among((region) => {
    const near = (other: number) =>
      Math.abs(Math.floor(other / REGIONS) - Math.floor(region / REGIONS)) <= 1 &&
      Math.abs((other % REGIONS) - (region % REGIONS)) <= 1;
    return new Set([...order.keys()].filter((other) => other !== region && near(other)));
  });
  return {
    measured: `${listed(found, formatPercent)} by ${TOP.join(', ')} regions, ${formatPercent(around)} among neighbours`,
    values: { routed: found[TOP.indexOf(2)] as number, near: around },
    details: `The regions are ${COUNT / 2} pairs of one random key each, anywhere on the picture, with noise of deviation 1 in each token. One chosen region is mostly a region itself.`,
  };
}

/** Products of regions and of tokens, with the number of regions that makes them fewest. */
async function growth({ step }: MeasureContext) {
  await step(0.5, 'growth of the cost');
  const sides = [64, 128, 256, 512, 1024];
  const costs = sides.map((side) => {
    const letters = { b: 1, h: 1, d: WIDTH, e: WIDTH, space0: side, space1: side };
    const all = Array.from({ length: 8 }, (_, at) => 2 ** (at + 1)).filter((regions) => regions <= side);
    return Math.min(...all.map((regions) => method.cost(letters as never, { regions, topRegions: 4, scale: 1 }).flops));
  });
  const tokens = sides.map((side) => side ** 2);
  const power = exponent(tokens, costs);
  return {
    measured: `exponent ${significant(power)} of the number of tokens`,
    values: { power },
    series: chart('Multiplications and additions', { tokens }, { routing: costs }),
  };
}

async function whole({ runtime, step }: MeasureContext) {
  await step(0.6, 'all regions');
  const shape = [1, 16, 16, 2, 12];
  const flat = [1, 256, 2, 12];
  const reads = runtime.scope(() => {
    const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(shape, { seed })) as [Tensor, Tensor, Tensor];
    const params = { regions: 4, topRegions: 16, scale: 1 / Math.sqrt(12) };
    const { out } = method.forward({ q, k, v }, params);
    return [out.read(), attention(q.reshape(flat), k.reshape(flat), v.reshape(flat)).out.read()] as const;
  });
  const [routed, dense] = await Promise.all(reads);
  const largest = [...dense].reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const error = [...dense].reduce((most, value, at) => Math.max(most, Math.abs(value - routed[at]!)), 0) / largest;
  return { measured: `they differ by ${significant(error)} of the largest value`, values: { error } };
}

async function time(context: MeasureContext) {
  const { runtime, step } = context;
  await step(0.7, 'times');
  const shape = [1, 56, 56, 2, 32];
  const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(shape, { seed })) as [Tensor, Tensor, Tensor];
  const flat = (x: Tensor) => x.reshape([1, 56 * 56, 2, 32]);
  const calls = [
    () => runtime.scope(() => void method.forward({ q, k, v }, { regions: 7, topRegions: 4 })),
    () => runtime.scope(() => void attention(flat(q), flat(k), flat(v))),
  ];
  const rounds = await timeRounds(calls, 4, context);
  for (const tensor of [q, k, v]) tensor.dispose();
  const [routed, dense] = medians(rounds) as [number, number];
  return {
    measured: `${formatTime(routed)} for 4 of 49 regions, ${formatTime(dense)} for all`,
    values: { ratio: overRounds(rounds, ([own, all]) => (own as number) / (all as number) / (4 / 49)) },
    details: 'Routing, means and choice are part of the time. Two heads of 32 numbers.',
  };
}
