import { describe, expect, inject, test, vi } from 'vitest';
import { describeWithMachineCode } from '../../../../test/backends';
import { relativeError } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { disguised, strongDevice } from '../../../../test/gpu-device';
import { scoped } from '../../../../test/scoped';
import { expectGradients } from '../../../../test/tape-gradients';
import { attention, attentionBackward, createRuntime, map, type Runtime, type Tensor } from '../../..';
import { band } from '../../../masks/band';
import * as scores from '../../../scores';
import type { Score } from '../../../scores/score';
import { type HostTensor, hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { scorePrograms } from './cpu';
import { scoreCode } from './webgpu';

const randomOf = (seed: number, ...shape: number[]) =>
  hostTensor(
    normal(
      shape.reduce((a, x) => a * x, 1),
      seed,
    ) as Float32Array,
    shape,
    'f32',
  );

const [b, n, m, h, g] = [2, 13, 17, 4, 2];
const qkv = {
  q: randomOf(1, b, n, h, 5),
  k: randomOf(2, b, m, g, 5),
  v: randomOf(3, b, m, g, 6),
  gradOut: randomOf(4, b, n, h, 6),
};
const [short, each] = [randomOf(7, 7), randomOf(8, b, h, 3)];

/** Two tensors or arrays and a number, as many as browsers' devices bind: one shader for all tests, as a GPU in software compiles for long. */
const scoreOf = (short: Tensor | Float32Array, each: Tensor | Float32Array) =>
  scores.from(
    (s, b, h, q, k, { short, of, slope }) => s * short[q % 7]! - slope * of.each[(b * 4 + h) * 3 + (k % 3)]!,
    { short, of: { each }, slope: 0.3 },
  );

/** Results and gradients of all, on host. */
async function computed(runtime: Runtime, of: (upload: (host: HostTensor<'f32'>) => Tensor) => Score) {
  return scopedHosts(runtime, async () => {
    const upload = (host: HostTensor<'f32'>) => runtime.fromHost(host);
    const [q, k, v, gradOut] = [qkv.q, qkv.k, qkv.v, qkv.gradOut].map(upload) as [Tensor, Tensor, Tensor, Tensor];
    const settings = { score: of(upload), mask: band(25, 19) };
    const { out, lse } = attention(q, k, v, settings);
    const { gradCaptured, ...grads } = attentionBackward(
      q,
      k,
      v,
      { out, lse, gradOut },
      { ...settings, captured: true },
    );
    return { out, lse, ...grads, ...gradCaptured };
  });
}

async function scopedHosts(runtime: Runtime, work: () => Promise<Record<string, Tensor>>) {
  const found: Record<string, HostTensor> = {};
  await scoped(runtime, async () => {
    for (const [name, tensor] of Object.entries(await work())) found[name] = (await tensor.toHost()) as HostTensor;
    return {};
  });
  return found;
}

describeWithMachineCode('tensors that a score captured', (runtime) => {
  test('a hand example: out is the value whose bias is by far the largest, and lse that bias', async () => {
    using q = runtime().tensor([0, 0], [1, 2, 1, 1]);
    using v = runtime().tensor([1, 2, 3, 4], [1, 4, 1, 1]);
    using plain = runtime().tensor([0, 0, 1, 0, 0, 0, 0, 1], [2, 4]);
    const bias = map((x) => 100 * x, plain);
    const score = scores.from((s, _b, _h, q, k, { bias }) => s + bias[4 * q + k]!, { bias });
    const { out, lse } = attention(q, v, v, { score });
    // What reads it keeps it until it has.
    bias.dispose();
    expect([...(await out.read()), ...(await lse.read())]).toEqual([3, 4, 100, 100]);
    for (const each of [out, lse]) each.dispose();
  });

  test('as arrays of the same, forward and backward', async () => {
    using reference = await createRuntime({ backend: 'reference' });
    const found = await computed(runtime(), (upload) => scoreOf(upload(short), upload(each)));
    const wanted = await computed(reference, () => scoreOf(short.data as Float32Array, each.data as Float32Array));
    expect(Object.keys(wanted).slice(5)).toEqual(['short', 'of.each']);
    expect(Object.keys(found)).toEqual(Object.keys(wanted));
    expect(found['of.each']!.shape).toEqual(each.shape);
    for (const [name, { shape, data }] of Object.entries(wanted)) {
      const flat = { ...(found[name] as HostTensor), shape } as HostTensor;
      expect(relativeError(flat, { dtype: 'f32', shape, data } as HostTensor), name).toBeLessThan(2e-5);
    }
  });

  test('are gradients to a tape, also of what was computed just before, and nothing is read on the way', async () => {
    const known = vi.spyOn(runtime().backend, 'known');
    const read = vi.spyOn(runtime().backend, 'read');
    await expectGradients(runtime(), {
      fn({ q, k, v, short, table, gain }) {
        const before = known.mock.calls.length + read.mock.calls.length;
        const each = map((table, gain) => Math.sin(table) * gain, table!, gain!);
        const results = attention(q!, k!, v!, { score: scoreOf(short!, each), causal: true });
        expect(known.mock.calls.length + read.mock.calls.length).toBe(before);
        return { ...results };
      },
      inputs: { q: [1, 9, 2, 3], k: [1, 9, 1, 3], v: [1, 9, 1, 2], short: [7], table: [2, 3], gain: [3] },
    });
    known.mockRestore();
    read.mockRestore();
  });

  test('an index outside reads NaN; of infinities and denormals it is the element', async () => {
    using q = runtime().tensor([0, 0, 0], [1, 3, 1, 1]);
    using v = runtime().tensor([1, 2], [1, 2, 1, 1]);
    using bias = runtime().tensor([Number.NEGATIVE_INFINITY, 1e-40, 3], [3]);
    const score = scores.from((s, _b, _h, q, k, { bias }) => s + bias[2 * q + k - 1]!, { bias });
    const { out, lse } = attention(q, v, v, { score });
    // Query by query: NaN and -Infinity, 0 and 3, past the end.
    expectClose(await out.read(), [Number.NaN, 1 + 1 / (1 + Math.exp(-3)), Number.NaN], 1e-6);
    for (const each of [out, lse]) each.dispose();
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using q = runtime().tensor([1, 2], [1, 2, 1, 1]);
    using table = runtime().tensor([1, 2, 3, 4], [2, 2]);
    using swapped = table.permute([1, 0]);
    using half = runtime().tensor([1, 2], [2], 'f16');
    using gone = runtime().tensor([1], [1]);
    gone.dispose();
    using other = await createRuntime({ backend: 'reference' });
    using foreign = other.tensor([1], [1]);
    const biased = (bias: Tensor) => scores.from((s, _b, _h, _q, k, { bias }) => s + bias[k]!, { bias: bias as never });
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => biased(half), 'captured.bias must be f32, got f16');
    await refuse(() => scores.alibi(half), 'captured.slopes must be f32, got f16');
    await refuse(() => attention(q, q, q, { score: biased(gone) }), 'captured.bias');
    await refuse(() => attention(q, q, q, { score: biased(foreign) }), 'captured.bias lives on another runtime than q');
    await refuse(() => attention(q, q, q, { score: biased(swapped) }), 'captured.bias [2, 2] must be contiguous');
    await refuse(
      () => attention(q, q, q, { score: scores.alibi(table) }),
      'alibi needs a slope for each of 1 heads, got 4',
    );
    await refuse(
      () => scores.from((s, _b, _h, _q, _k, { table }) => s + (table as never), { table }),
      "'table', which is an object,",
    );
  });
});

describe('another number or tensor', () => {
  const slope = (slope: number) => scores.from((s, _b, _h, q, k, { slope }) => s - slope * (q - k), { slope });

  test('is no part of what is compiled, unless integers must be exact', () => {
    const expressions = [1, 2, 0.5, 1e9, Number.NaN].map((value) => slope(value).expression);
    expect(new Set(expressions).size).toBe(1);
    const window = (w: number) =>
      scores.from((s, _b, _h, q, k, { w }) => (q - k < w || (q * w) % 5 === 0 ? s : -Infinity), { w });
    expect(window(3).expression).not.toBe(window(4).expression);
    expect(window(3)).toMatchObject({ numbers: [], expression: window(3).expression });
    // An array's elements are copied into it.
    const array = [1, 2];
    const biased = () => scores.from((s, _b, _h, _q, k, { array }) => s + array[k]!, { array });
    const before = biased();
    array[0] = 5;
    expect(biased().expression).not.toBe(before.expression);
  });

  const extent = { b: 1, n: 9, m: 8, h: 1, g: 1 };

  test('has an index that is an integer; other tensors and numbers make no other code', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    using table = runtime.tensor([1, 2], [2]);
    const half = scores.from((s, _b, _h, q, _k, { table }) => s + table[q / 2]!, { table });
    for (const compile of [() => scorePrograms(half, extent), () => scoreCode(half, extent, 'tables')])
      expect(compile).toThrow("the index of 'table' may be no integer: round it");
    using other = runtime.tensor([1, 2, 3], [3, 1]);
    const of = (table: Tensor, gain: number) =>
      scores.from((s, _b, _h, q, _k, { table, gain }) => s * gain + table[q]!, { table, gain });
    const shader = (score: Score) => scoreCode(score, extent, 'tables').shader;
    expect(shader(of(table, 2))).toBe(shader(of(other, 0.5)));
  });

  test.runIf(inject('hasGpu'))('compiles no pipeline on a GPU', async () => {
    const gpu = await strongDevice();
    let pipelines = 0;
    const createComputePipelineAsync = (descriptor: GPUComputePipelineDescriptor) => {
      pipelines++;
      return gpu.createComputePipelineAsync(descriptor);
    };
    using runtime = await createRuntime({
      ...{ backend: 'webgpu', webgpu: { device: disguised(gpu, { createComputePipelineAsync }) } },
    });
    const counts: number[] = [];
    using q = runtime.tensor(new Float32Array(20), [1, 20, 1, 1]);
    for (const [value, size] of [
      [0.5, 3],
      [2, 3],
      [1, 4],
      [-1e-3, 5],
    ] as const) {
      using bias = runtime.tensor(new Float32Array(size).fill(value), [size]);
      const score = scores.from((s, _b, _h, q, k, { value, bias }) => value * s - value * (q - k) + bias[k % 3]!, {
        ...{ value, bias },
      });
      const { out, lse } = attention(q, q, q, { score });
      await lse.read();
      for (const each of [out, lse]) each.dispose();
      counts.push(pipelines);
    }
    expect(counts[0]).toBeGreaterThan(0);
    expect(counts).toEqual(counts.map(() => counts[0]));
    runtime.dispose();
    gpu.destroy();
  });
});
