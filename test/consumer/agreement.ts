/**
 * A program that uses the library as a stranger does. The tests run it from source in a page, and from the packed
 * package in Node, through a bundler and through the type checker; there `saccade` takes the place of the path below.
 */
import * as saccade from '../../src/index';

const CASES = [
  { q: [1, 1, 1, 1], k: [1, 1, 1, 1], e: 1, options: {} },
  { q: [1, 5, 2, 3], k: [1, 7, 1, 3], e: 9, options: { causal: true } },
  { q: [2, 37, 4, 40], k: [2, 53, 2, 40], e: 24, options: { causal: true } },
  { q: [1, 131, 3, 80], k: [1, 129, 3, 80], e: 128, options: {} },
  { q: [1, 200, 2, 64], k: [1, 200, 2, 64], e: 64, options: { window: [9, 4] } },
  // Enough work to wake the threads.
  { q: [1, 611, 4, 72], k: [1, 611, 2, 72], e: 72, options: { causal: true } },
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

/** Compares attention on a runtime made with `options` with the reference, on shapes that fit no tile. */
export async function agreement(options: saccade.RuntimeOptions): Promise<Agreement> {
  const runtime = await saccade.createRuntime(options);
  const reference = await saccade.createRuntime({ backend: 'reference' });
  let worst = 0;
  for (const { q, k, e, options } of CASES) {
    const inputs = [q, k, [...k.slice(0, 3), e]].map((shape, seed) => reference.random(shape, { seed }));
    const expected = await attend(reference, inputs, options);
    const actual = await attend(runtime, inputs, options);
    worst = Math.max(worst, difference(actual.out, expected.out), difference(actual.lse, expected.lse));
  }
  const report = { explain: runtime.explain(), cases: CASES.length, worst, leaked: runtime.memory().live };
  runtime.dispose();
  reference.dispose();
  return report;
}

async function attend(
  runtime: saccade.Runtime,
  inputs: readonly saccade.Tensor[],
  options: saccade.AttentionOptions,
): Promise<{ out: Float32Array; lse: Float32Array }> {
  const hosts = await Promise.all(inputs.map((input) => input.toHost()));
  const [q, k, v] = hosts.map((host) => runtime.fromHost(host)) as [saccade.Tensor, saccade.Tensor, saccade.Tensor];
  const { out, lse } = saccade.attention(q, k, v, options);
  const result = { out: (await out.read()) as Float32Array, lse: await lse.read() };
  for (const tensor of [q, k, v, out, lse]) tensor.dispose();
  return result;
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
