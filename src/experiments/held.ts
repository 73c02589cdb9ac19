/** Tensors of experiments, which wait for numbers and so cannot have a scope around them. */
import { nextTurn } from '../next-turn';
import { attention } from '../ops/attention';
import type { Runtime } from '../runtime/runtime';
import { toFloat64 } from '../tensor/host';
import { normal } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import { disposeKey, type Tensor, tensorsIn } from '../tensor/tensor';

/** Disposes all tensors in arrays and plain objects at the end of the block that is `using` it. */
export function held(tensors: unknown): Disposable {
  return { [disposeKey]: () => disposeAll(tensors) };
}

/** Disposes the tensors that a timed call returned. */
export function disposeAll(tensors: unknown): void {
  for (const tensor of tensorsIn(tensors)) tensor.dispose();
}

/** The numbers of the tensor that `compute` returns, which is freed; others of this thread have a turn before. */
export async function numbersOf(runtime: Runtime, compute: () => Tensor): Promise<Float64Array> {
  await nextTurn();
  const [host] = runtime.scope(() => [compute().toHost()] as const);
  return toFloat64(await host);
}

/** The bytes that a call holds at most, its results included, beyond those held before; the results are disposed. */
export async function bytesOf(runtime: Runtime, call: () => unknown): Promise<number> {
  await runtime.finish();
  const before = runtime.memory().live;
  runtime.backend.resetPeak();
  using _ = held(call());
  await runtime.finish();
  return runtime.memory().peak - before;
}

/** Normal random numbers of this standard deviation. */
export function randomNormal(runtime: Runtime, shape: readonly number[], seed: number, deviation = 1): Tensor<'f32'> {
  return runtime.tensor(
    normal(sizeOf(shape), seed).map((value) => deviation * value),
    shape,
  );
}

export type Qkv = Readonly<Record<'q' | 'k' | 'v', Tensor<'f32'>>>;

/** q, k and v of one shape, normal random numbers. */
export function randomQkv(runtime: Runtime, shape: readonly number[], deviation?: number): Qkv {
  const random = (seed: number) => randomNormal(runtime, shape, seed, deviation);
  return { q: random(1), k: random(2), v: random(3) };
}

/** Values whose attention is its weights: [1, n, 1, n]. */
function identityValues(runtime: Runtime, n: number): Tensor<'f32'> {
  const values = new Float32Array(n * n);
  for (let i = 0; i < n; i++) values[i * (n + 1)] = 1;
  return runtime.tensor(values, [1, n, 1, n]);
}

/** Tokens whose whole matrix of weights is compared; as many as linear attention has value columns for. */
export const WEIGHED = 256;

/**
 * `use` gets the weights of exact attention, row by row, of q and k [1, 256, 1, d] of this standard deviation, and what reads
 * those of another attention of them.
 */
export async function besideWeights<T>(
  runtime: Runtime,
  d: number,
  deviation: number,
  use: (exact: Float64Array, weightsOf: (attend: (qkv: Qkv) => Tensor) => Promise<Float64Array>) => Promise<T>,
): Promise<T> {
  const random = (seed: number) => randomNormal(runtime, [1, WEIGHED, 1, d], seed, deviation);
  const qkv = { q: random(1), k: random(2), v: identityValues(runtime, WEIGHED) };
  using _ = held(qkv);
  const weightsOf = (attend: (qkv: Qkv) => Tensor) => numbersOf(runtime, () => attend(qkv));
  return await use(await weightsOf(({ q, k, v }) => attention(q, k, v).out), weightsOf);
}
