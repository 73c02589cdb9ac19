/** Assertions that the tests share. */
import { expect } from 'vitest';
import { type DType, type Runtime, Tensor } from '../src/index';
import { toFloat64 } from '../src/tensor/host';

/** Every |actual - expected| is at most `tolerance` (one number, or one for each element); NaN and infinities agree. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number | ArrayLike<number>,
): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    const got = actual[i] as number;
    const want = expected[i] as number;
    const allowed = typeof tolerance === 'number' ? tolerance : (tolerance[i] as number);
    if (Object.is(got, want) || Math.abs(got - want) <= allowed) continue;
    expect.fail(`element ${i}: got ${got}, expected ${want} within ${allowed}`);
  }
}

/**
 * `call` is refused with `message`, at once or as the fault of each tensor that it returns (alone or in an object), and
 * leaves the runtime's live bytes as they were.
 */
export async function expectRefusal(runtime: Runtime, call: () => unknown, message: string): Promise<void> {
  // Calls before it, and those that it made until it was refused, hold memory until they are computed.
  await runtime.finish().catch(() => undefined);
  const before = runtime.memory().live;
  await expect(async () => {
    const results = tensorsIn(await call());
    const reads = results.map((result) => result.read());
    for (const result of results) result.dispose();
    await Promise.allSettled(reads);
    for (const read of reads) await expect(read).rejects.toThrow(message);
    await reads[0];
  }).rejects.toThrow(message);
  await runtime.finish().catch(() => undefined);
  expect(runtime.memory().live).toBe(before);
}

/** Disposes the tensors that a call returns; resolves or rejects with how the first comes out. */
export function outcomeOf(made: object): Promise<unknown> {
  const results = tensorsIn(made);
  const read = results[0]?.read() as Promise<unknown>;
  for (const result of results) result.dispose();
  return read;
}

const tensorsIn = (made: unknown): Tensor[] =>
  (made instanceof Tensor ? [made] : Object.values(made ?? {})).filter((each) => each instanceof Tensor);

/** What every dtype of more than a byte holds. */
const SENTINEL = 12288;

/** A tensor of `shape` in the middle of memory filled with a sentinel, and a check that its surroundings still hold it. */
export function guarded<D extends DType = 'f32'>(
  runtime: Runtime,
  shape: readonly number[],
  dtype: D = 'f32' as D,
): { out: Tensor<D>; check: () => Promise<void> } {
  const margin = 64;
  const size = shape.reduce((a, b) => a * b, 1);
  const memory = runtime.tensor(new Float64Array(size + 2 * margin).fill(SENTINEL), [size + 2 * margin], dtype);
  const middle = memory.slice(0, margin, margin + size);
  const out = middle.reshape(shape);
  middle.dispose();
  return {
    out,
    async check() {
      const values = toFloat64(await memory.toHost());
      const around = [...values.subarray(0, margin), ...values.subarray(margin + size)];
      memory.dispose();
      expect(around.every((value) => value === SENTINEL)).toBe(true);
    },
  };
}
