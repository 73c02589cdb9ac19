import { afterEach, describe, expect, inject, test, vi } from 'vitest';
import { strongDevice } from '../../test/gpu-device';
import {
  add,
  BackendError,
  createRuntime,
  type GpuSizes,
  ParameterError,
  type Runtime,
  type Tensor,
  type TuneReport,
  tuneWebGpu,
} from '../index';
import type { Sizes } from '../ops/attention/webgpu/sizes';
import { TUNABLE } from '../ops/attention/webgpu/tunable';
import type { Work } from '../ops/sizes/tunable';

const { attention, workgroups } = TUNABLE;

const small: Sizes['attention'] = [{ rows: { lanes: 8, rows: 2, keys: 4, shares: false } }];
const others = [1, 2, 3, 4].map((keys): Sizes['attention'] => [{ rows: { lanes: 8, rows: 2, keys, shares: false } }]);

/** Has candidates for attention tuned on the cheapest of works, which in the runtimes of some of them goes as `faults` says. */
function pretend(
  candidates: readonly Sizes['attention'][],
  faults: Record<number, (sum: Tensor) => Tensor> = {},
): void {
  const runtimes: Runtime[] = [];
  const inputs = (runtime: Runtime) => ({ a: runtime.random([64], { seed: 1 }), b: runtime.random([64], { seed: 2 }) });
  const sum: Work = { inputs, run: ({ a, b }, control) => [add(a as Tensor, b as Tensor, control)] };
  const work: Work = {
    inputs,
    run(given, control) {
      const { runtime } = given.a as Tensor;
      if (!runtimes.includes(runtime)) runtimes.push(runtime);
      const [right] = sum.run(given, control) as [Tensor];
      // The first is the reference's, the second has the table's sizes.
      return [faults[runtimes.indexOf(runtime) - 2]?.(right) ?? right];
    },
  };
  vi.spyOn(attention, 'candidates').mockReturnValue(candidates);
  vi.spyOn(attention, 'trials').mockReturnValue([work]);
  vi.spyOn(attention, 'timed').mockReturnValue([work]);
  vi.spyOn(workgroups, 'candidates').mockReturnValue([]);
  vi.spyOn(workgroups, 'trials').mockReturnValue([]);
  vi.spyOn(workgroups, 'timed').mockReturnValue([sum]);
}

/** Software takes long to compile kernels, longer on a busy machine. */
const COMPILING = 240_000;

const ofAttention = ({ candidates }: TuneReport) => candidates.filter(({ entry }) => entry === 'attention');

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  [{ fast: true }, /tuneWebGpu has no option 'fast'/],
  [{ quick: 1 }, /quick must be true or false, got 1/],
  [{ onProgress: 'loud' }, /onProgress must be a function/],
  [{ subgroups: 3 }, /webgpu.subgroups must be true, false or a power of two/],
])('%j is refused', async (options, message) => {
  await expect(async () => tuneWebGpu(options as object)).rejects.toThrow(message);
});

describe.runIf(inject('hasGpu'))('tuning for a GPU', () => {
  test('on the real calls finds sizes that a runtime takes', { timeout: COMPILING }, async () => {
    vi.spyOn(attention, 'candidates').mockReturnValue([small]);
    vi.spyOn(workgroups, 'candidates').mockReturnValue([3]);
    const said: [number, string][] = [];
    const { device, sizes, candidates } = await tuneWebGpu({
      quick: true,
      onProgress: (share, what) => said.push([share, what]),
    });
    expect(device).not.toBe('');
    expect(candidates.map(({ entry, isTable }) => [entry, isTable])).toEqual([
      ['attention', true],
      ['attention', false],
      ['workgroups', true],
      ['workgroups', false],
    ]);
    for (const { ms, ratio, reason } of candidates) {
      expect(reason).toBeUndefined();
      expect(ms).toBeGreaterThan(0);
      expect(ratio).toBeGreaterThan(0);
    }
    const kept = candidates.filter(({ verdict }) => verdict === 'kept');
    expect(kept.map(({ entry }) => entry)).toEqual(['attention', 'workgroups']);
    const better = kept.filter(({ isTable }) => !isTable);
    expect(sizes).toEqual(Object.fromEntries(better.map(({ entry, sizes }) => [entry, sizes])));
    expect(said[0]).toEqual([0, 'attention, check 1 of 2']);
    expect(said.at(-1)).toEqual([1, 'workgroups, timing']);
    const shares = said.map(([share]) => share);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));

    using runtime = await createRuntime({ backend: 'webgpu', webgpu: { sizes } });
    expect(runtime.explain()).toMatch(/^sizes: given$/m);
  });

  test('tells apart what is wrong, what is refused and what is too large, and times the others', async () => {
    const large: Sizes['attention'] = [
      { tiled: { queries: 256, keys: 256, columns: 64, rows: 4, depth: 256, values: 256 } },
    ];
    pretend([...others.slice(0, 3), large], {
      0: (sum) => add(sum, sum),
      1: () => {
        throw new BackendError('the compiler refused');
      },
    });
    const report = await tuneWebGpu({ quick: true });
    expect(ofAttention(report).map(({ verdict, reason }) => [verdict, reason])).toMatchObject([
      [expect.stringMatching(/kept|slower/), undefined],
      ['wrong', expect.stringContaining('differs from the float64 reference by 1.0 of the largest number')],
      ['refused', 'the compiler refused'],
      [expect.stringMatching(/kept|faster|as fast|slower/), undefined],
      ['too large', expect.stringMatching(/expected at most \d+ invocations/)],
    ]);
  });

  test("takes NaN for wrong, and others where the table's sizes are", async () => {
    const spoil = (sum: Tensor) => sum.runtime.tensor(new Float32Array(64).fill(Number.NaN), [64]);
    pretend(others.slice(0, 1), { [-1]: spoil });
    const report = await tuneWebGpu({ quick: true });
    expect(ofAttention(report).map(({ verdict }) => verdict)).toEqual(['wrong', 'kept']);
    expect(report.sizes).toEqual({ attention: others[0] });

    pretend([], { [-1]: spoil });
    await expect(async () => tuneWebGpu({ quick: true })).rejects.toThrow(
      /no sizes for attention compute as they should.*differs from the float64 reference by NaN/,
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
      1: (sum) => {
        controller.abort();
        return sum;
      },
    });
    await expect(async () => tuneWebGpu({ device, quick: true, signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
    });

    pretend(others, {
      1: (sum) => {
        device.destroy();
        return sum;
      },
    });
    await expect(async () => tuneWebGpu({ device, quick: true })).rejects.toThrow(/device was lost/);
  });

  test('is not needed to give sizes, which are checked', async () => {
    const open = (sizes: unknown) => createRuntime({ backend: 'webgpu', webgpu: { sizes: sizes as GpuSizes } });
    using runtime = await open({ attention: small });
    expect(runtime.explain()).toMatch(/^sizes: given$/m);
    const refused = open({ workgroups: 'many' });
    await expect(refused).rejects.toThrow(ParameterError);
    await expect(refused).rejects.toThrow(
      'webgpu.sizes.workgroups: expected a whole number up to 65536, got "many"; leave the option out, or take what tuneWebGpu() found for this device',
    );
  });
});
