/**
 * A program that uses the library as a stranger does. The tests run it from source in a page, and from the packed
 * package in Node, through a bundler and through the type checker; there `saccade` takes the place of the paths below.
 */
import * as saccade from '../../src/index';
import * as masks from '../../src/masks';
import { adamw, train } from '../../src/train';

type Tensor = saccade.Tensor;

const CASES = [
  { q: [1, 1, 1, 1], k: [1, 1, 1, 1], e: 1, options: {} },
  { q: [1, 5, 2, 3], k: [1, 7, 1, 3], e: 9, options: { causal: true } },
  { q: [2, 37, 4, 40], k: [2, 53, 2, 40], e: 24, options: { causal: true } },
  { q: [1, 131, 3, 80], k: [1, 129, 3, 80], e: 128, options: {} },
  { q: [1, 200, 2, 64], k: [1, 200, 2, 64], e: 64, options: { mask: masks.band(9, 4) } },
  // Enough work to wake the threads.
  { q: [1, 611, 2, 72], k: [1, 611, 1, 72], e: 72, options: { causal: true } },
  { q: [1, 65, 1, 7], k: [1, 30, 1, 7], e: 5, options: { window: [3, 0], scale: 0.7 } },
] as const;

export interface Agreement {
  readonly explain: string;
  readonly cases: number;
  /** The largest error against the reference, as a share of the largest value; NaN if any element is not a number. */
  readonly worst: number;
  /** Bytes still held after everything was disposed. */
  readonly leaked: number;
}

/**
 * Compares attention, its gradients, a decoding step and some steps of training on a runtime with the reference, on shapes that
 * fit no tile; in brief on few of them.
 */
export async function agreement(options: saccade.RuntimeOptions, isBrief = false): Promise<Agreement> {
  const runtime = await saccade.createRuntime(options);
  const reference = await saccade.createRuntime({ backend: 'reference' });
  let worst = 0;
  // GPUs in software compile kernels for most of a second each.
  const cases = options.backend === 'webgpu' ? CASES.slice(2, 3) : isBrief ? CASES.slice(1, 3) : CASES;
  for (const { q, k, e, options } of cases) {
    const shapes = [q, k, [...k.slice(0, 3), e]];
    const expected = await attend(reference, shapes, options);
    const actual = await attend(runtime, shapes, options);
    for (const [at, values] of expected.entries()) worst = Math.max(worst, difference(actual[at]!, values));
  }
  worst = Math.max(worst, difference(await decode(runtime), await decode(reference)));
  worst = Math.max(worst, difference(await learn(runtime), await learn(reference)));
  const report = { explain: runtime.explain(), cases: cases.length, worst, leaked: runtime.memory().live };
  runtime.dispose();
  reference.dispose();
  return report;
}

/** Results and gradients of attention. */
async function attend(
  runtime: saccade.Runtime,
  shapes: readonly (readonly number[])[],
  options: saccade.AttentionOptions,
): Promise<Float32Array[]> {
  const [q, k, v] = shapes.map((shape, seed) => runtime.random(shape, { seed })) as [Tensor, Tensor, Tensor];
  const { results, pull } = saccade.pullback((x) => saccade.attention(x.q, x.k, x.v, options), { q, k, v });
  const gradients = pull({ out: results.out });
  const tensors = [results.out, results.lse, gradients.q, gradients.k, gradients.v];
  const values = await Promise.all(tensors.map((tensor) => tensor.read() as Promise<Float32Array>));
  for (const tensor of [q, k, v, ...tensors]) tensor.dispose();
  return values;
}

/** What a layer has learned when it is told to stop after the third step. */
async function learn(runtime: saccade.Runtime): Promise<Float32Array> {
  const parameters = { weight: runtime.random([40, 30], { seed: 1 }) };
  const optimizer = adamw(parameters, { learningRate: 0.1 });
  const stop = new AbortController();
  const training = train({
    ...{ parameters, optimizer, steps: 9, signal: stop.signal },
    batches: (index) => runtime.random([50, 40], { seed: index }),
    loss: ({ weight }, x) => saccade.mean(saccade.map((y) => (y - 1) * (y - 1), saccade.matmul(x, weight as Tensor))),
    onStep: ({ step }) => {
      if (step === 3) stop.abort(new Error('enough'));
    },
  });
  await training.catch((error) => {
    if (error.message !== 'enough') throw error;
  });
  const values = await parameters.weight.read();
  optimizer.dispose();
  parameters.weight.dispose();
  return values;
}

/** A prompt of 40 tokens and one token after it, from a cache. */
async function decode(runtime: saccade.Runtime): Promise<Float32Array> {
  const cache = saccade.createKeyValueCache(runtime, { layers: 1, heads: 2, d: 24, capacity: 64 });
  let values = new Float32Array();
  for (const n of [40, 1]) {
    const [q, k, v] = [4, 2, 2].map((heads, seed) => runtime.random([1, n, heads, 24], { seed: seed + n })) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    cache.append(0, k, v);
    const { out, lse } = saccade.attention(q, cache.layer(0));
    values = (await out.read()) as Float32Array<ArrayBuffer>;
    for (const tensor of [q, k, v, out, lse]) tensor.dispose();
  }
  cache.dispose();
  return values;
}

function difference(actual: Float32Array, expected: Float32Array): number {
  let [largest, worst] = [0, 0];
  expected.forEach((value, i) => {
    if (Object.is(value, actual[i])) return;
    largest = Math.max(largest, Math.abs(value));
    worst = Math.max(worst, Math.abs(value - (actual[i] as number)));
  });
  return worst === 0 ? 0 : worst / largest;
}
