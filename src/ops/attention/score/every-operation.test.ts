/** A score that has every operation, compiled into every kernel of attention: no name of one may meet another's. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { device } from '../../../../test/backends';
import { scoped } from '../../../../test/scoped';
import { attention, attentionBackward, createRuntime, type Runtime, type Tensor } from '../../..';
import { OPERATIONS } from '../../../expressions/operations';
import { stepsOf } from '../../../expressions/steps';
import { HELPERS } from '../../../runtime/webgpu/kernels/expressions';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import { declaredIn } from '../../../runtime/webgpu/shader';
import * as scores from '../../../scores';
import type { AttentionSizes } from '../webgpu/sizes';
import { scoreCode } from './webgpu';

// Integers and fractions, so that what is rounded and what is not are both compiled.
const score = scores.from(
  (s, b, h, q, k, { table, n, m, sigmoid, softplus, erf, rsqrt, gelu }) => {
    const near = Math.max(0, Math.min(15, q - k + 8));
    const bits = ((near & 7) | (k ^ q) | (~near >> 1) | (near << 2)) + ((q - k) >>> 3) / 2 ** 30 + ((q - 9) >>> 30);
    const quotients = Math.floor((q - 5) / (k + 1)) + Math.ceil((q - 5) / (k + 1)) + (((q - 5) / (k + 1)) | 0);
    const wholes = Math.abs(q - k) - Math.sign(q - k) + ((q - 5) % 3) + -k * q + (Math.max(-99, Math.min(99, s)) | 0);
    const rounded = Math.floor(s) + Math.ceil(s) + Math.trunc(s) + Math.round(s) + Math.sign(s) - Math.abs(s);
    const powers = 2 ** (-h - s / 8) + (s % 0.75) - Math.sqrt(1 + s * s) + Math.log(2 + s * s) + Math.exp(-s * s);
    const waves = Math.tanh(s) + Math.cos(s) + Math.sin(s) + Math.min(s, 0.5) - Math.max(s, -0.5);
    const more =
      Math.expm1(-s * s) + Math.log1p(s * s) + sigmoid(s) + softplus(s) + erf(s) + rsqrt(1 + s * s) + gelu(s);
    const chosen = (q < k && !(s <= 0.25)) || (k === b && n <= m) ? s : (table[near] as number);
    return (bits + quotients + wholes + rounded + powers + waves + more + chosen) / 64;
  },
  { table: Float32Array.from({ length: 16 }, (_, i) => Math.sin(i)) },
);
const extent = { b: 1, n: 9, m: 11, h: 2, g: 1 };

test('it has every operation and helper, whose names begin with score_ or are those of functions', () => {
  const steps = [score.expression, score.derivative].flatMap(stepsOf);
  const used = new Set(steps.map(({ node }) => node.operation));
  // Captured tensors are of maps alone.
  const unused = Object.keys(OPERATIONS).filter((operation) => !used.has(operation as keyof typeof OPERATIONS));
  expect(unused).toEqual(['lookup']);
  const { shader } = scoreCode(score, extent, 'tables');
  const helpers = declaredIn(shader.text).filter((name) => !/^modified(_slope)?$|^table_(index|factor)\d+$/.test(name));
  expect(helpers).toEqual(expect.arrayContaining(Object.keys(HELPERS)));
  expect(helpers.filter((name) => !name.startsWith('score_'))).toEqual([]);
  expect(declaredIn(functions(...shader.functions)).filter((name) => name.startsWith('score_'))).toEqual([]);
});

const KERNELS: readonly (readonly [name: string, attention: AttentionSizes[] | undefined])[] = [
  ['kernels of the table', undefined],
  ['tiles', [{ tiled: { queries: 16, keys: 8, columns: 2, rows: 4, depth: 4, values: 8 } }]],
  ['lanes on their own', [{ rows: { lanes: 8, rows: 1, keys: 2, shares: false } }]],
];

describe.runIf(inject('hasGpu')).each(KERNELS)(
  'WebGPU attention, every operation by %s',
  { timeout: 300_000 },
  (_, sizes) => {
    let [runtime, reference] = [undefined, undefined] as unknown as [Runtime, Runtime];
    beforeAll(async () => {
      runtime = await createRuntime({
        backend: 'webgpu',
        webgpu: { device, ...(sizes && { sizes: { attention: sizes } }) },
      });
      reference = await createRuntime({ backend: 'reference' });
    });
    afterAll(() => {
      runtime.dispose();
      reference.dispose();
    });

    const compute = (on: Runtime, n: number, hasGradients: boolean) =>
      scoped(on, async () => {
        const { m, h } = extent;
        const q = on.random([1, n, h, 4], { seed: 1 });
        const [k, v] = [2, 3].map((seed) => on.random([1, m, 1, 4], { seed })) as [Tensor, Tensor];
        const { out, lse } = await attention(q, k, v, { score });
        const results: Record<string, Tensor> = { out, lse };
        if (hasGradients) {
          const given = { out, lse, gradOut: q };
          const { gradCaptured, ...grads } = await attentionBackward(q, k, v, given, { score, captured: true });
          Object.assign(results, grads, gradCaptured);
        }
        const entries = Object.entries(results).map(async ([name, x]) => [name, await x.read()] as const);
        return Object.fromEntries(await Promise.all(entries)) as Record<string, Float32Array>;
      });

    // Few queries have a kernel of their own, their gradients those of many.
    test.each(sizes ? [9] : [9, 4])('of %d queries', async (n) => {
      const [actual, expected] = [await compute(runtime, n, n > 4), await compute(reference, n, n > 4)];
      for (const [name, values] of Object.entries(expected)) {
        const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-3);
        const errors = values.map((x, at) => Math.abs(x - (actual[name]?.[at] as number)) / largest);
        expect(Math.max(...errors), name).toBeLessThan(1e-4);
      }
    });
  },
);
