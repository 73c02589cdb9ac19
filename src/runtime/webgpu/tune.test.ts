import { afterEach, describe, expect, inject, test, vi } from 'vitest';
import { strongDevice } from '../../../test/gpu-device';
import {
  add,
  BackendError,
  createRuntime,
  type GpuSizes,
  ParameterError,
  type Runtime,
  type Tensor,
  tuneWebGpu,
} from '../../index';
import type { tableSizes } from './sizes';
import { TUNABLE, type Tunable, type Work } from './tune-works';

const attention = TUNABLE.attention as Tunable<ReturnType<typeof tableSizes>['attention']>;

const small = { queries: 16, keys: 16, columns: 4, rows: 4, depth: 16, values: 16 };
const others = [16, 8, 4, 2].map((values) => ({ ...small, values }));

/** Has candidates tuned on the cheapest of works, which in the runtimes of some of them goes as `faults` says. */
function pretend(
  candidates: readonly (typeof small)[],
  faults: Record<number, (sum: Tensor) => Promise<Tensor>> = {},
): void {
  const runtimes: Runtime[] = [];
  const work: Work = {
    inputs: (runtime) => ({ a: runtime.random([64], { seed: 1 }), b: runtime.random([64], { seed: 2 }) }),
    async run({ a, b }, control) {
      const { runtime } = a as Tensor;
      if (!runtimes.includes(runtime)) runtimes.push(runtime);
      const sum = await add(a as Tensor, b as Tensor, control);
      // The first is the reference's, the second has the table's sizes.
      return [(await faults[runtimes.indexOf(runtime) - 2]?.(sum)) ?? sum];
    },
  };
  vi.spyOn(attention, 'candidates').mockReturnValue(candidates);
  vi.spyOn(attention, 'trials').mockReturnValue([work]);
  vi.spyOn(attention, 'timed').mockReturnValue([work]);
}

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  [{ fast: true }, /tuneWebGpu has no option 'fast'/],
  [{ quick: 1 }, /quick must be true or false, got 1/],
  [{ onProgress: 'loud' }, /onProgress must be a function/],
  [{ subgroups: 3 }, /webgpu.subgroups must be true, false or a power of two/],
])('%j is refused', async (options, message) => {
  await expect(tuneWebGpu(options as object)).rejects.toThrow(message);
});

describe.runIf(inject('hasGpu'))('tuning', () => {
  test('on the real calls finds sizes that a runtime takes', async () => {
    vi.spyOn(attention, 'candidates').mockReturnValue([small]);
    const said: [number, string][] = [];
    const { device, sizes, candidates } = await tuneWebGpu({
      quick: true,
      onProgress: (share, what) => said.push([share, what]),
    });
    expect(device).not.toBe('');
    expect(candidates.map(({ entry, isTable }) => [entry, isTable])).toEqual([
      ['attention', true],
      ['attention', false],
    ]);
    for (const { ms, ratio, reason } of candidates) {
      expect(reason).toBeUndefined();
      expect(ms).toBeGreaterThan(0);
      expect(ratio).toBeGreaterThan(0);
    }
    const [kept, ...more] = candidates.filter(({ verdict }) => verdict === 'kept');
    expect(more).toEqual([]);
    expect(sizes).toEqual(kept?.isTable ? {} : { attention: kept?.sizes });
    expect(said[0]).toEqual([0, 'attention, check 1 of 2']);
    expect(said.at(-1)).toEqual([1, 'attention, timing']);
    const shares = said.map(([share]) => share);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));

    using runtime = await createRuntime({ backend: 'webgpu', webgpu: { sizes } });
    expect(runtime.explain()).toMatch(/^sizes: given$/m);
  });

  test('tells apart what is wrong, what is refused and what is too large, and times the others', async () => {
    const large = { queries: 256, keys: 256, columns: 64, rows: 4, depth: 256, values: 256 };
    pretend([...others.slice(0, 3), large], {
      0: async (sum) => add(sum, sum),
      1: () => Promise.reject(new BackendError('the compiler refused')),
    });
    const { candidates } = await tuneWebGpu({ quick: true });
    expect(candidates.map(({ verdict, reason }) => [verdict, reason])).toMatchObject([
      [expect.stringMatching(/kept|slower/), undefined],
      ['wrong', 'off by 1.0 of the largest number, allowed are 0.0001'],
      ['refused', 'the compiler refused'],
      [expect.stringMatching(/kept|faster|as fast|slower/), undefined],
      ['too large', expect.stringMatching(/expected at most \d+ invocations/)],
    ]);
  });

  test("takes NaN for wrong, and others where the table's sizes are", async () => {
    const spoil = async (sum: Tensor) => sum.runtime.tensor(new Float32Array(64).fill(Number.NaN), [64]);
    pretend(others.slice(0, 1), { [-1]: spoil });
    const { sizes, candidates } = await tuneWebGpu({ quick: true });
    expect(candidates.map(({ verdict }) => verdict)).toEqual(['wrong', 'kept']);
    expect(sizes).toEqual({ attention: others[0] });

    pretend([], { [-1]: spoil });
    await expect(tuneWebGpu({ quick: true })).rejects.toThrow(
      /no sizes for attention compute as they should.*off by NaN/,
    );
  });

  test("leaves a caller's device alive, and ends when it is aborted or the device is lost", async () => {
    const device = await strongDevice();
    pretend(others);
    await tuneWebGpu({ device, quick: true });
    using runtime = await createRuntime({ backend: 'webgpu', webgpu: { device } });
    expect(await (await add(runtime.tensor([1], [1]), runtime.tensor([2], [1]))).read()).toEqual(Float32Array.of(3));

    const controller = new AbortController();
    pretend(others, {
      1: async (sum) => {
        controller.abort();
        return sum;
      },
    });
    await expect(tuneWebGpu({ device, quick: true, signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
    });

    pretend(others, {
      1: async (sum) => {
        device.destroy();
        return sum;
      },
    });
    await expect(tuneWebGpu({ device, quick: true })).rejects.toThrow(/device was lost/);
  });

  test('is not needed to give sizes, which are checked', async () => {
    const open = (sizes: unknown) => createRuntime({ backend: 'webgpu', webgpu: { sizes: sizes as GpuSizes } });
    using runtime = await open({ attention: small });
    expect(runtime.explain()).toMatch(/^sizes: given$/m);
    const refused = open({ attention: { ...small, keys: 5 } });
    await expect(refused).rejects.toThrow(ParameterError);
    await expect(refused).rejects.toThrow(
      'webgpu.sizes.attention.keys: expected a multiple of 4 up to 256, got 5; leave the option out, or take what tuneWebGpu() found for this device',
    );
  });
});
