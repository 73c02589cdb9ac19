/** How far ReLU linear attention spreads, how often its minimum is taken, and what the local module reads. */

import { localConcentration } from '../../methods/linear/l2vit/local-concentration';
import { reference } from '../../methods/linear/l2vit/reference';
import { normal } from '../../tensor/random';
import { formatPercent, significant } from '../../text/format';
import { CLUSTERS, DIMENSION, meanEntropies, productOf, softmaxWeight, TOKENS } from '../clusters';
import { chart, defineExperiment, figure, listed, type MeasureContext, share } from '../experiment';

const MINIMUM = 100;

export const experiment = defineExperiment({
  title: 'spread of the weights beside softmax, denominators below the minimum, reach of the local module',
  claims: {
    spread: {
      claim: 'Linear attention lacks concentration: it spreads its weights where softmax attention picks a few keys.',
      source: 'paper, section 4.2',
      criteria: {
        relu: share('entropy of ReLU features over log n', [0.9, 1], [0.8, 1]),
        softmax: share('entropy of softmax over log n', [0, 0.7], [0, 0.8]),
      },
    },
    below: {
      claim: 'With few tokens or small heads denominators are often below 100: the attention is then not normalised.',
      source: 'third-party ports of the code',
      criteria: {
        few: share('share of rows below, 49 tokens of deviation 0.3', [0.9, 1], [0.5, 1]),
        many: share('share of rows below, 784 tokens of deviation 1', [0, 0.01], [0, 0.1]),
      },
    },
    reach: {
      claim: 'The two 7 by 7 convolutions of a local concentration module gather a token from the 13 by 13 around it.',
      source: 'paper, equations 6 and 7: follows from the kernels',
      criteria: { width: figure('tokens changed, on a line', [13, 13], [1, 21]) },
      byConstruction: true,
    },
  },
  measure: { spread, below, reach },
});

async function spread(context: MeasureContext) {
  await context.step(0, 'entropies');
  const entropies = await meanEntropies(context, context.quick ? 1 : 5, (tokens) => {
    const relu = tokens.map((value) => Math.max(0, value));
    const elu = tokens.map((value) => (value > 0 ? 1 + value : Math.exp(value)));
    return {
      softmax: softmaxWeight(tokens),
      ReLU: (i, j) => productOf(relu, relu, i, j),
      '1 + elu': (i, j) => productOf(elu, elu, i, j),
    };
  });
  const { softmax, ReLU: relu } = entropies;
  const text = Object.entries(entropies).map(([name, entropy]) => `${name} ${significant(entropy)}`);
  return {
    measured: `entropy over log n: ${text.join(', ')}`,
    values: { relu, softmax },
    series: chart(
      'Entropy of the weights over log n',
      { weights: Object.keys(entropies) },
      { entropy: Object.values(entropies) },
    ),
    details: `${TOKENS} tokens of ${DIMENSION} numbers in ${CLUSTERS} clusters are queries and keys alike; no training. 1 is uniform; a cluster of ${TOKENS / CLUSTERS} alone is ${significant(Math.log(TOKENS / CLUSTERS) / Math.log(TOKENS))}.`,
  };
}

/** The denominators of random queries and keys, by the number of tokens. */
async function below({ step }: MeasureContext) {
  await step(0.7, 'denominators');
  const counts = [16, 49, 196, 784];
  const deviations = [0.3, 1];
  const shares = deviations.map((deviation) =>
    counts.map((n) => {
      const draw = (seed: number) => ({
        dtype: 'f64' as const,
        shape: [1, n, 1, DIMENSION],
        data: Float64Array.from(normal(n * DIMENSION, seed), (value) => deviation * value),
      });
      const { denominator } = reference({ q: draw(1), k: draw(2), v: draw(3) }, { minimum: MINIMUM });
      const data = denominator?.data as Float64Array;
      return data.filter((value) => value < MINIMUM).length / n;
    }),
  );
  const text = deviations.map((deviation, row) => {
    return `deviation ${deviation}: ${listed(shares[row]!, formatPercent)}`;
  });
  const [small, large] = shares as [number[], number[]];
  return {
    measured: `rows below it for ${counts.join(', ')} tokens: ${text.join('; ')}`,
    values: { few: small[1]!, many: large.at(-1)! },
    details: `Random inputs, d = ${DIMENSION}. A row below the minimum is a plain linear map of the values, not a mean. That the minimum keeps training stable (paper, table 10, by a third party) was not tested.`,
    series: chart(
      `Rows whose denominator is below ${MINIMUM}`,
      { tokens: counts },
      Object.fromEntries(deviations.map((deviation, row) => [`deviation ${deviation}`, shares[row] as number[]])),
    ),
  };
}

async function reach({ runtime, step }: MeasureContext) {
  await step(0.9, 'reach of the local module');
  const size = 21;
  const outputs = runtime.scope(() => {
    const random = (shape: number[], seed: number) => runtime.random(shape, { seed });
    const [one, other] = [random([1], 3), random([1], 4)];
    const [first, second] = [random([7, 7, 1], 1), random([7, 7, 1], 2)];
    const weights = { first, firstBias: one, gain: one, bias: other, second, secondBias: other };
    const statistics = { mean: runtime.tensor([0], [1]), variance: runtime.tensor([1], [1]) };
    return [0, 1].map((value) => {
      const picture = new Float32Array(size * size);
      picture[Math.floor(picture.length / 2)] = value;
      return localConcentration(runtime.tensor(picture, [1, size, size, 1]), weights, { statistics }).out.read();
    });
  });
  const [before, after] = (await Promise.all(outputs)) as [Float32Array, Float32Array];
  const changed = [...before.keys()].filter((at) => before[at] !== after[at]).map((at) => at % size);
  const widest = Math.max(...changed) - Math.min(...changed) + 1;
  return {
    measured: `a token changes the ${widest} by ${widest} around it`,
    values: { width: widest },
  };
}
