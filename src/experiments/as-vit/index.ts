/** Whether masks prune as dropping does, what pruning saves, and whether thresholds keep more of larger objects. */
import { pearson } from '../../measure/statistics';
import { adaptiveTokenPruning as method } from '../../methods/sparse/adaptive-token-pruning';
import { deitNetwork, type Glance } from '../../models/vision/deit';
import { initial } from '../../nn/module';
import { normal } from '../../tensor/random';
import { formatPercent, formatTime, significant } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext, share } from '../experiment';
import { medians, overRounds } from '../rounds';

/** Tokens of a picture, of so many numbers. */
const [SIDE, WIDTH] = [8, 32];
const TOKENS = SIDE ** 2;

export const experiment = defineExperiment({
  title: 'masked and dropped tokens, what pruning saves, and tokens kept by the size of objects',
  claims: {
    masks: {
      claim: 'A forward pass that masks pruned tokens, as in training, gives what one without them gives.',
      source: 'code: the two graphs of training and inference',
      criteria: {
        error: figure('largest difference of the class token, of the largest value', [0, 1e-5], [0, 1e-4], [0, 2]),
      },
    },
    saved: {
      claim:
        'Thresholds that leave 0.65 of the operations of DeiT-S leave about 0.65 of its time: 50% more pictures a second.',
      source: 'abstract; 0.65 is the target of the code',
      criteria: {
        time: figure('time over that without pruning', [0, 0.7], [0, 0.8], [0, 2]),
      },
      untested: 'The thresholds are those that leave the operations of random weights: no accuracy was measured.',
    },
    sizes: {
      claim: 'As many tokens are kept as a picture needs: with a larger object more of them.',
      source: 'paper, figure of kept tokens; a prediction of ours',
      criteria: {
        correlation: share('correlation of the size of the object and of the tokens kept', [0.6, 1], [0.3, 1]),
      },
    },
    monotone: {
      claim: 'A higher threshold never keeps more tokens.',
      source: 'follows from the definition',
      criteria: { rises: figure('steps at which more are kept', [0, 0], [0, 100]) },
      byConstruction: true,
    },
  },
  measure: { masks, saved, sizes, monotone },
});

async function masks({ runtime, step }: MeasureContext) {
  await step(0, 'masks');
  const [n, h, d] = [TOKENS + 1, 3, 16];
  const kept = Int32Array.from({ length: n }, (_, at) => Number(at === 0 || at % 3 !== 0));
  const places = [...kept.keys()].filter((at) => kept[at]);
  const numbers = [1, 2, 3].map((seed) => normal(n * h * d, seed));
  const reads = runtime.scope(() => {
    const [q, k, v] = numbers.map((data) => runtime.tensor(data, [1, n, h, d]));
    const policy = runtime.tensor(kept, [1, n], 'i32');
    const masked = method.forward({ q: q!, k: k!, v: v!, policy }, method.parse({ threshold: 0 })).out;
    const [ownQ, ownK, ownV] = numbers.map((data) => {
      const rows = places.flatMap((at) => [...data.subarray(at * h * d, (at + 1) * h * d)]);
      return runtime.tensor(rows, [1, places.length, h, d]);
    });
    const dropped = method.forward({ q: ownQ!, k: ownK!, v: ownV! }, method.parse({ threshold: 0 })).out;
    return [masked.read(), dropped.read()] as const;
  });
  const [masked, dropped] = (await Promise.all(reads)) as [Float32Array, Float32Array];
  const largest = dropped.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const differences = dropped.map((value, at) => {
    const token = places[Math.floor(at / (h * d))] as number;
    return Math.abs(value - masked[token * h * d + (at % (h * d))]!);
  });
  const error = differences.reduce((most, each) => Math.max(most, each), 0) / largest;
  return { measured: `kept tokens differ by ${significant(error)} of the largest value`, values: { error } };
}

const DEIT_S = { width: 384, heads: 6, depth: 12, patch: 16, patches: 14 };
const LAYERS = [4, 7, 10];
/** What each stage keeps of its tokens, for 0.65 of all multiplications. */
const KEPT = 0.656;

async function saved({ runtime, step, quick }: MeasureContext) {
  await step(0.2, 'a network with its tokens and without some');
  const config = quick ? { ...DEIT_S, width: 48, heads: 3 } : DEIT_S;
  const plain = deitNetwork(config, { classes: 10 });
  using held = new DisposableStack();
  const parameters = initial(plain, runtime);
  for (const tensor of Object.values(parameters)) held.use(tensor);
  using x = runtime.random([1, 3, 224, 224], { seed: 1 });
  const thresholds: number[] = [];
  for (const [at, layer] of LAYERS.entries()) {
    const prune = { layers: LAYERS.slice(0, at + 1), thresholds: [...thresholds, -1] };
    const glances = await deitNetwork(config, { classes: 10, prune }).glances({ x }, parameters, {});
    const { scores } = glances.find((glance) => glance.layer === layer) as Glance;
    const sorted = scores.slice().sort((a, b) => b - a);
    thresholds.push(sorted[Math.round(KEPT * scores.length)] as number);
  }
  const pruned = deitNetwork(config, { classes: 10, prune: { layers: LAYERS, thresholds } });
  const times: [number[], number[]] = [[], []];
  let kept: readonly number[] = [];
  for (let round = 0; round < (quick ? 2 : ROUNDS); round++)
    for (const [at, network] of [pruned, plain].entries()) {
      await step(0.3 + (0.4 * round) / ROUNDS);
      const start = performance.now();
      const { logits, kept: counts } = await network.infer({ x }, parameters, {});
      await logits.read();
      // The first round warms up.
      if (round > 0) times[at as 0 | 1].push(performance.now() - start);
      if (counts) kept = [...((await counts.read()) as Int32Array)];
      logits.dispose();
      counts?.dispose();
    }
  const [own, all] = medians(times) as [number, number];
  return {
    measured: `${formatTime(own)} with ${listed(kept, String)} of 197 tokens left, ${formatTime(all)} with all`,
    values: { time: overRounds(times, ([less, whole]) => (less as number) / (whole as number)) },
    details: `DeiT-S at 224 x 224 pixels with random weights, one picture; thresholds leave ${formatPercent(KEPT)} of the tokens at layers ${LAYERS.join(', ')}.`,
  };
}
const ROUNDS = 12;

/** The class token looks in one direction, which the keys of an object of `size` tokens have; others are noise. */
function pictureOf(size: number, seed: number, strength: number) {
  const drawn = normal((TOKENS + 1) * WIDTH, seed);
  const keys = Float32Array.from(drawn, (value, at) => {
    const [token, c] = [Math.floor(at / WIDTH), at % WIDTH];
    return 0.5 * value + (token > 0 && token <= size && c === 0 ? strength : 0);
  });
  const queries = Float32Array.from(drawn, (_, at) => (at === 0 ? 8 : 0));
  return { queries, keys, values: drawn };
}

/** How many tokens a threshold keeps of a picture besides the class token. */
async function keptOf(
  { runtime }: MeasureContext,
  { queries, keys, values }: ReturnType<typeof pictureOf>,
  threshold: number,
) {
  const [keep] = runtime.scope(() => {
    const [q, k, v] = [queries, keys, values].map((data) => runtime.tensor(data, [1, TOKENS + 1, 1, WIDTH]));
    return [method.forward({ q: q!, k: k!, v: v! }, method.parse({ threshold })).keep.read()] as const;
  });
  return [...((await keep) as Int32Array)].reduce((sum, each) => sum + each, -1);
}

async function sizes(context: MeasureContext) {
  await context.step(0.8, 'sizes of objects');
  const all = Array.from({ length: 20 }, (_, at) => at + 1);
  const countsBy = async (strength: number) => {
    const counts: number[] = [];
    for (const size of all) counts.push(await keptOf(context, pictureOf(size, 10 + size, strength), THRESHOLD));
    return counts;
  };
  const [sharp, blunt] = [await countsBy(SHARP), await countsBy(BLUNT)];
  return {
    measured: `${sharp[0]} tokens of an object of 1, ${sharp.at(-1)} of one of 20; ${blunt[0]} and ${blunt.at(-1)} where the class token sees objects half as sharply`,
    values: { correlation: pearson(all, sharp) },
    series: chart('Tokens kept', { 'tokens of the object': all }, { sharp, blunt }),
    details: `Objects on noise of deviation 0.5 among ${TOKENS} tokens of ${WIDTH} numbers, and one threshold of ${THRESHOLD} for all. No training. Where attention is blunt, a small object leaves so much of it to the background that this is kept: the correlation is ${significant(pearson(all, blunt))}.`,
  };
}
/** How far the keys of objects lie in the direction in which the class token looks. */
const [SHARP, BLUNT] = [6, 3];
const THRESHOLD = 0.01;

async function monotone(context: MeasureContext) {
  await context.step(0.9, 'thresholds');
  const thresholds = Array.from({ length: 12 }, (_, at) => 0.0005 * 1.6 ** at);
  const picture = pictureOf(6, 40, BLUNT);
  const counts: number[] = [];
  for (const threshold of thresholds) counts.push(await keptOf(context, picture, threshold));
  return {
    measured: `${listed(counts, String)} tokens`,
    values: { rises: counts.filter((count, at) => at > 0 && count > (counts[at - 1] as number)).length },
    series: chart('Tokens kept', { threshold: thresholds }, { kept: counts }),
  };
}
