/** What every method that computes attention must hold: forward and gradients as its reference says, on every backend. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRuntime, pullback } from '../src/index';
import { largestOf } from '../src/measure/gate';
import { type Method, type Specs, withGradients } from '../src/methods/define';
import type { ParamsSchema } from '../src/methods/params';
import { type HostTensor, hostTensor, toFloat64 } from '../src/tensor/host';
import { normal } from '../src/tensor/random';
import { sizeOf } from '../src/tensor/shape';
import type { Tensor } from '../src/tensor/tensor';
import { describeOnBackends, isOnGpu } from './backends';
import { scoped } from './scoped';

/** One problem: the shapes of q, k and v, the params as a user gives them, and the other inputs. */
export interface MethodCase {
  readonly q: readonly number[];
  readonly k: readonly number[];
  readonly v: readonly number[];
  readonly params: Record<string, unknown>;
  readonly others?: Readonly<Record<string, HostTensor>>;
}

/** The weights of some queries by `MethodSpec.weights`, on the reference backend. */
export async function weightsOf<Schema extends ParamsSchema, Shapes extends Specs, Optional extends Specs>(
  { weights, parse }: Pick<Method<Schema, Shapes, Optional>, 'weights' | 'parse'>,
  inputs: Readonly<Record<string, HostTensor | undefined>>,
  params: object,
  queries: readonly number[],
): Promise<{ readonly data: Float64Array; readonly shape: readonly number[] }> {
  using runtime = await createRuntime({ backend: 'reference' });
  const tensors = Object.entries(inputs).flatMap(([name, host]) =>
    host ? [[name, runtime.tensor(Float32Array.from(toFloat64(host)), host.shape)]] : [],
  );
  const found = weights?.(Object.fromEntries(tensors), parse(params as never), queries) as Tensor;
  return { data: toFloat64(await found.toHost()), shape: found.shape };
}

/** Shapes of sequences, of lengths that divide nothing, with grouped heads. */
export const sequences = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    n: fc.integer({ min: 1, max: 70 }),
    g: fc.integer({ min: 1, max: 2 }),
    repeat: fc.integer({ min: 1, max: 3 }),
    d: fc.integer({ min: 1, max: 20 }),
    e: fc.integer({ min: 1, max: 20 }),
  })
  .map(({ repeat, ...extents }) => ({ ...extents, h: extents.g * repeat }));

/** Below it float32 has fewer digits. */
const SMALLEST = 2 ** -126;

/** Largest error over the largest magnitude, or over `least` where all are smaller; infinities must agree. */
export function relativeError(actual: HostTensor, expected: HostTensor, least = 0): number {
  const [got, want] = [toFloat64(actual), toFloat64(expected)];
  expect(actual.shape).toEqual(expected.shape);
  let [error, largest] = [0, Math.max(least, SMALLEST)];
  for (let at = 0; at < want.length; at++) {
    const [is, wanted] = [got[at] as number, want[at] as number];
    if (Number.isFinite(wanted)) largest = Math.max(largest, Math.abs(wanted));
    if (!Object.is(is, wanted)) error = Math.max(error, Math.abs(is - wanted));
  }
  return error / largest;
}

/** What is small among gradients, some of which may cancel, as those by the scores of a single key: a tenth of the largest. */
export function smallGradient(gradients: readonly HostTensor[]): number {
  return Math.max(...gradients.map((gradient) => largestOf(toFloat64(gradient)))) / 10;
}

/** What a method returns, and the gradients with respect to those of its inputs that have one, if any, from that by `out`. */
export function differentiated<Schema extends ParamsSchema, Shapes extends Specs>(
  method: Method<Schema, Shapes>,
  inputs: Readonly<Record<string, Tensor>>,
  params: Parameters<typeof method.forward>[1],
  gradOut: Tensor,
): Record<'results' | 'gradients', Record<string, Tensor>> {
  if (method.gradient === false)
    return { results: method.forward(inputs as never, params) as Record<string, Tensor>, gradients: {} };
  const { results, pull } = pullback(
    (tracked) => method.forward({ ...inputs, ...tracked } as never, params),
    withGradients(method, inputs),
  );
  return { results, gradients: pull({ out: gradOut }) } as Record<'results' | 'gradients', Record<string, Tensor>>;
}

export function describeMethod(method: Method, cases: fc.Arbitrary<MethodCase>, numRuns = 20): void {
  /** By case, since all backends get the same ones. */
  const references = new Map<string, ReturnType<Method['reference']>>();
  describeOnBackends(`${method.name} as a method`, (runtime) => {
    test('forward and gradients agree with the reference', async () => {
      await fc.assert(
        fc.asyncProperty(cases, async (given) => {
          const { q, k, v, params, others = {} } = given;
          const random = (shape: readonly number[], seed: number) =>
            hostTensor(normal(sizeOf(shape), seed), shape, 'f32');
          const host = { q: random(q, 1), k: random(k, 2), v: random(v, 3), ...others };
          const gradOut = random([...q.slice(0, -1), v.at(-1) as number], 4);
          const settings = method.parse(params);
          const key = fc.stringify(given);
          const expected = references.get(key) ?? method.reference(host, settings, gradOut);
          references.set(key, expected);
          await scoped(runtime(), async () => {
            const tensors = Object.fromEntries(
              Object.entries(host).map(([name, tensor]) => [name, runtime().fromHost(tensor as HostTensor<'f32'>)]),
            );
            const byOut = runtime().fromHost(gradOut as HostTensor<'f32'>);
            const { results, gradients: found } = differentiated(method, tensors, settings, byOut);
            const named = Object.entries(found).map(([name, tensor]) => [`grad_${name}`, tensor] as const);
            const actual: Record<string, Tensor> = { ...results, ...Object.fromEntries(named) };
            expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
            const gradients = Object.keys(expected).filter((name) => name.startsWith('grad_'));
            const smallest = smallGradient(gradients.map((name) => expected[name] as HostTensor));
            for (const [name, tensor] of Object.entries(actual)) {
              // lse is a logarithm: an error of it is a share of what it is of.
              const [least, tolerance] = gradients.includes(name) ? [smallest, 5e-5] : [name === 'lse' ? 1 : 0, 1e-5];
              const error = relativeError(await tensor.toHost(), expected[name] as HostTensor, least);
              expect(error, name).toBeLessThan(tolerance);
            }
          });
        }),
        // On a GPU in software one: what it calls is tried there by the tests of ops.
        { numRuns: isOnGpu ? 1 : numRuns },
      );
    });
  });
}
