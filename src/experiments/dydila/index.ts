/** How far powers that keep the length, and a share of redundant features taken off, sharpen linear attention; and transformers with it. */

import { focused } from '../../methods/linear/dydila/reference';
import { normal } from '../../tensor/random';
import { significant } from '../../text/format';
import { CLUSTERS, DIMENSION, meanEntropies, productOf, softmaxWeight, TOKENS } from '../clusters';
import { chart, defineExperiment, figure, linearIn, listed, type MeasureContext, share, together } from '../experiment';
import { columnMeans, largestStep } from '../vectors';
import { resolution, transformers } from './transformers';

const EXPONENTS = [1, 2, 3, 5];
const LAMBDAS = [0.01, 0.2, 0.5];
/** The exponent under which redundant features are taken off. */
const POWER = 3;
const PAIRS = 20_000;
const PAIR_DIMENSION = 16;

/** A figure that is expected below 0, by so much at least. */
const less = (what: string, least: number) => figure(what, [-1, -least], [-1, 0], [-10, 10]);

export const experiment = defineExperiment({
  title:
    'spread of the weights by exponent and by share of redundant features; likeness of features; transformers that learn to paint, and time by resolution',
  claims: {
    smoother: {
      claim: 'Linear attention over ReLU features is smoother than softmax attention.',
      source: 'paper, abstract',
      criteria: {
        difference: figure('entropy of ReLU features less that of softmax, over log n', [0.1, 1], [0.02, 1], [-1, 1]),
      },
    },
    kernel: {
      claim: 'The dynamic measure kernel makes it sharper.',
      source: 'paper, abstract; the kernel as a port has it',
      criteria: { step: figure('largest step of the entropy to the next exponent', [-1, -0.01], [-1, 0], [-1, 1]) },
    },
    difference: {
      claim: 'The token differential operator makes it sharper still.',
      source: 'paper, abstract; the operator as a port has it',
      criteria: {
        step: figure('largest step of the entropy to the next lambda, from none', [-1, -0.01], [-1, 0], [-1, 1]),
      },
    },
    likeness: {
      claim: 'The larger the exponent, the less alike are features of different tokens.',
      source: 'follows from the kernel as a port has it',
      criteria: {
        step: figure('largest step of the mean cosine to the next exponent', [-1, -0.01], [-1, 0], [-2, 2]),
      },
    },
    learns: {
      claim: 'A diffusion transformer with it is better than one with earlier linear attention: it learns more.',
      source: 'paper, abstract; at equal parameters, beside ReLU features, which is reconstructed here',
      criteria: { loss: less('loss less that with ReLU features', 0.005) },
    },
    parts: {
      claim: 'Each of its parts adds to that: the kernel, the difference, and choices by token.',
      source: 'paper, abstract; the loss as what tells it is reconstructed here',
      criteria: {
        kernel: less('loss with the kernel less that with ReLU features', 0.001),
        difference: less('with the difference less without', 0.001),
        routes: less('with choices by token less without', 0.001),
      },
    },
    paints: {
      claim: 'What it paints is better.',
      source: 'paper, abstract; as a Frechet distance of features of a small classifier, on drawn scenes',
      criteria: { distance: less('Frechet distance less that with ReLU features', 0.01) },
    },
    routes: {
      claim: 'Tokens choose different matrices: routes do not collapse.',
      source: 'no claim of the paper, but what its choices need to be of use',
      criteria: { evenness: share('evenness of choices', [0.5, 1], [0.1, 1]) },
    },
    resolution: {
      claim: 'It is linear in the places, and so faster than softmax attention at high resolution.',
      source: 'paper, abstract; by how much is reconstructed',
      timed: true,
      criteria: {
        growth: linearIn('its time in places'),
        speed: figure('times as fast as softmax attention at 64 x 64 places', [1.5, 100], [1, 100], [0, 100]),
      },
    },
  },
  measure: {
    ...together(['smoother', 'kernel', 'difference'], spreads),
    likeness,
    ...together(['learns', 'parts', 'paints', 'routes'], transformers),
    resolution,
  },
});

async function spreads(context: MeasureContext) {
  const draws = context.quick ? 1 : 5;
  await context.step(0, 'entropies');
  let negative = 0;
  const among = (phi: Float64Array) => (i: number, j: number) => productOf(phi, phi, i, j);
  const entropies = await meanEntropies<string>(context, draws, (tokens) => {
    const phi = featuresOf(tokens, POWER);
    const redundant = focused(columnMeans(tokens, DIMENSION), POWER);
    const difference = (lambda: number) => {
      const product = among(phi.map((value, c) => value - lambda * redundant[c % DIMENSION]!));
      return (i: number, j: number) => {
        const weight = product(i, j);
        if (weight < 0 && lambda === LAMBDAS.at(-1)) negative += 1 / (draws * TOKENS ** 2);
        return Math.max(0, weight);
      };
    };
    return {
      softmax: softmaxWeight(tokens),
      ...Object.fromEntries(EXPONENTS.map((exponent) => [exponent, among(featuresOf(tokens, exponent))])),
      ...Object.fromEntries(LAMBDAS.map((lambda) => [`lambda ${lambda}`, difference(lambda)])),
    };
  });
  const softmax = entropies.softmax!;
  const powers = EXPONENTS.map((exponent) => entropies[exponent]!);
  const differences = LAMBDAS.map((lambda) => entropies[`lambda ${lambda}`]!);
  const power = powers[EXPONENTS.indexOf(POWER)]!;
  const setting = `${TOKENS} tokens of ${DIMENSION} numbers in ${CLUSTERS} clusters are queries and keys alike, ${draws} draw${draws > 1 ? 's' : ''}, no training. Entropy of a query's weights over log n: 1 is uniform.`;
  return {
    smoother: {
      measured: `entropy over log n: ReLU ${significant(powers[0]!)}, softmax ${significant(softmax)}`,
      values: { difference: powers[0]! - softmax },
      details: setting,
    },
    kernel: {
      measured: `${listed(powers)} for exponents ${EXPONENTS.join(', ')}; softmax ${significant(softmax)}`,
      values: { step: largestStep(powers) },
      details: `${setting} One exponent for all tokens, as at the start of training, where all entries of the bank are equal.`,
      series: chart(
        'Entropy by exponent',
        { exponent: EXPONENTS },
        { powers: powers, softmax: EXPONENTS.map(() => softmax) },
      ),
    },
    difference: {
      measured: `${listed(differences)} for lambda ${LAMBDAS.join(', ')}; ${significant(power)} without`,
      values: { step: largestStep([power, ...differences]) },
      details: `${setting} Exponent ${POWER}; the features of the mean token stand for the redundant ones (reconstructed: a trained projection gives them). At 0.01, where training begins, it changes little. Weights below 0, ${significant(100 * negative)}% of them at the largest lambda, count as 0.`,
      series: chart(
        'Entropy by lambda',
        { lambda: [0, ...LAMBDAS] },
        { [`differences, exponent ${POWER}`]: [power, ...differences] },
      ),
    },
  };
}

async function likeness({ quick, step }: MeasureContext) {
  await step(0.03, 'likeness of features');
  const pairs = quick ? PAIRS / 10 : PAIRS;
  const numbers = Float64Array.from(normal(2 * pairs * PAIR_DIMENSION, 1));
  const means = EXPONENTS.map((exponent) => {
    const phi = featuresOf(numbers, exponent, PAIR_DIMENSION);
    let sum = 0;
    for (let pair = 0; pair < pairs; pair++) {
      const product = (a: number, b: number) => productOf(phi, phi, a, b, PAIR_DIMENSION);
      const [a, b] = [2 * pair, 2 * pair + 1];
      sum += product(a, b) / (Math.sqrt(product(a, a) * product(b, b)) || 1);
    }
    return sum / pairs;
  });
  return {
    measured: `mean cosine ${listed(means)} for exponents ${EXPONENTS.join(', ')}`,
    values: { step: largestStep(means) },
    details: `${pairs} pairs of random vectors of ${PAIR_DIMENSION} numbers. On the mean: not for every pair.`,
  };
}

/** phi of rows of d numbers. */
function featuresOf(tokens: Float64Array, exponent: number, d = DIMENSION): Float64Array {
  const phi = new Float64Array(tokens.length);
  for (let first = 0; first < tokens.length; first += d)
    phi.set(focused(tokens.subarray(first, first + d), exponent), first);
  return phi;
}
