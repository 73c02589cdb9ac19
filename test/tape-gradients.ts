/** Gradients of the tape against central differences of the reference backend, in float64. */
import { expect } from 'vitest';
import { createRuntime, pullback, type Runtime, type SomeGradients, Tensor } from '../src/index';
import { type HostTensor, hostTensor, toFloat64 } from '../src/tensor/host';
import { normal } from '../src/tensor/random';
import { sizeOf } from '../src/tensor/shape';
import { mapLeaves } from '../src/tensor/structure';
import { tensorsIn } from '../src/tensor/tensor';
import { scoped } from './scoped';

/** A function of tensors, and what they hold. */
export interface GradientCase {
  fn(inputs: Record<string, Tensor>): Tensor | Readonly<Record<string, Tensor | undefined>>;
  /** By name: f32 ones have gradients; arrays of extents stand for random numbers. */
  readonly inputs: Readonly<Record<string, HostTensor | readonly number[]>>;
  /** Of the largest magnitude of a gradient, or of 1; default 2e-4. */
  readonly tolerance?: number;
  /** Whether the gradient with respect to an input is meant to be another than the derivative. */
  except?(input: string): boolean;
}

/** Exact in float32, as is each moved by it. */
const STEP = 2 ** -10;

/** Gradients of a sum of the results, each times a random weight, are those that differences tell. Returns them. */
export async function expectGradients(runtime: Runtime, example: GradientCase): Promise<Record<string, Float32Array>> {
  const hosts = hostsOf(example);
  const expected = await expectedOf(example, hosts);
  const found: Record<string, Float32Array> = {};
  await scoped(runtime, async () => {
    const inputs = mapHosts(hosts, (host) => runtime.fromHost(host as HostTensor<'f32'>));
    const { results, pull } = pullback((tracked) => example.fn(tracked), inputs);
    const weights = mapLeaves(results, (leaf) => {
      if (!(leaf instanceof Tensor) || leaf.dtype === 'i32') return undefined;
      return runtime.fromHost(weightsOf(leaf));
    });
    const gradients = pull(weights as SomeGradients<typeof results>) as Record<string, Tensor | undefined>;
    for (const [name, wanted] of Object.entries(expected)) {
      const actual = await (gradients[name] as Tensor<'f32'>).read();
      found[name] = actual;
      if (example.except?.(name)) continue;
      const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      const worst = wanted.reduce((most, value, at) => Math.max(most, Math.abs(value - (actual[at] as number))), 0);
      expect(worst / largest, `the gradient with respect to ${name}`).toBeLessThan(example.tolerance ?? 2e-4);
    }
  });
  return found;
}

const known = new WeakMap<GradientCase, Promise<Record<string, Float64Array>>>();

/** For all backends once. */
function expectedOf(example: GradientCase, hosts: Readonly<Record<string, HostTensor>>) {
  const found = known.get(example) ?? differencesOf(example, hosts);
  known.set(example, found);
  return found;
}

async function differencesOf(
  { fn }: GradientCase,
  hosts: Readonly<Record<string, HostTensor>>,
): Promise<Record<string, Float64Array>> {
  using reference = await createRuntime({ backend: 'reference' });
  const lossOf = (moved: Readonly<Record<string, HostTensor>>) =>
    scoped(reference, async () => {
      const results = fn(mapHosts(moved, (host) => reference.fromHost(host as HostTensor<'f32'>)));
      await reference.finish();
      return { loss: tensorsIn(results).reduce((sum, result) => sum + weighted(result), 0) };
    });
  const gradients: Record<string, Float64Array> = {};
  for (const [name, host] of Object.entries(hosts)) {
    if (host.dtype !== 'f32') continue;
    const values = host.data as Float32Array;
    const gradient = new Float64Array(values.length);
    for (let at = 0; at < values.length; at++) {
      const lossAt = async (step: number) => {
        const data = values.slice();
        data[at] = (data[at] as number) + step;
        return (await lossOf({ ...hosts, [name]: { ...host, data } as HostTensor })).loss;
      };
      // Two steps of different lengths leave an error of the fourth order.
      const [near, far] = [
        (await lossAt(STEP)) - (await lossAt(-STEP)),
        (await lossAt(2 * STEP)) - (await lossAt(-2 * STEP)),
      ];
      gradient[at] = (8 * near - far) / (12 * STEP);
    }
    gradients[name] = gradient;
  }
  return gradients;
}

/** In float64, as the reference holds its results. */
function weighted(result: Tensor): number {
  if (result.dtype === 'i32') return 0;
  const values = toFloat64(result.runtime.backend.known(result) as HostTensor);
  const weights = weightsOf(result).data;
  return values.reduce((sum, value, at) => sum + value * (weights[at] as number), 0);
}

const weightsOf = ({ shape }: Pick<Tensor, 'shape'>) => hostTensor(normal(sizeOf(shape), sizeOf(shape)), shape, 'f32');

/** Random numbers in steps of 1 / 256, so that moving one rounds nothing. */
function hostsOf({ inputs }: GradientCase): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, given], seed) => {
      if (!Array.isArray(given)) return [name, given as HostTensor];
      const values = normal(sizeOf(given), seed + 1).map((value) => Math.round(256 * value) / 256);
      return [name, hostTensor(values, given, 'f32')];
    }),
  );
}

function mapHosts(hosts: Readonly<Record<string, HostTensor>>, map: (host: HostTensor) => Tensor) {
  return Object.fromEntries(Object.entries(hosts).map(([name, host]) => [name, map(host)]));
}
