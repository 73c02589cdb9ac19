/**
 * Networks on pictures with random weights. One result judges all: that of Saccade's kernels without fused multiply-add, since
 * float64 would take minutes; tests hold each network to its formulas in float64, and PyTorch's networks are written apart.
 */

import { largestOf } from '../measure/gate';
import type { CreatedModel, Model } from '../models/define';
import { createRuntime } from '../ops/create-runtime';
import { matmul } from '../ops/matmul';
import type { Runtime } from '../runtime/runtime';
import { type HostTensor, hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { known } from './expected';
import { joined } from './operation';
import type { Operation } from './problem';

export interface NetworkWork {
  readonly name: string;
  readonly model: Model;
  readonly params: object;
  /** Rows and columns of the picture. */
  readonly size: readonly [rows: number, columns: number];
  /** In millions. */
  readonly multiplications: number;
  /** Logits of a picture. */
  readonly results: number;
}

type Network = CreatedModel<Readonly<Record<string, Tensor>>, { readonly logits: Tensor<'f32'> }>;

/** The share of the largest logit that networks may be off by, which round in some order of their own. */
const ROUNDING = 2e-4;

/** One picture through a network whose parameters are folded. */
export function networkOperation({ name, model, params, size, multiplications, results }: NetworkWork): Operation {
  const shape = [1, 3, ...size];
  const picture = () => Float32Array.from(normal(sizeOf(shape), 1));
  const network = model.create(params as never) as unknown as Network;
  const { parameters } = network;
  const open = (runtime: Runtime) => {
    const x = runtime.tensor(picture(), shape);
    const folded = network.fold(network.load(runtime, weightsOf(parameters)));
    return { x, folded };
  };
  return {
    name,
    flops: () => 2e6 * multiplications,
    tokens: () => 1,
    size: () => results,
    bytes: () =>
      4 * (sizeOf(shape) + results + Object.values(parameters).reduce((sum, each) => sum + sizeOf(each.shape), 0)),
    async expected() {
      using runtime = await createRuntime({ backend: 'wasm', simd: 'baseline' });
      const { x, folded } = open(runtime);
      const logits = await joined([await logitsOf(network, x, folded)]);
      return [{ ...known(logits, 'largest logit'), rounding: ROUNDING * largestOf(logits) }];
    },
    given: () => ({
      tensors: { x: hostTensor(picture(), shape), ...weightsOf(parameters) },
      settings: { network: model.name, size, shapes: shapesOf(parameters) },
    }),
    open(runtime) {
      const { x, folded } = open(runtime);
      let last: Tensor<'f32'> | undefined;
      const dispose = () => last?.dispose();
      return {
        async call() {
          dispose();
          last = await logitsOf(network, x, folded);
        },
        result: () => joined([last as Tensor]),
        tensors: [x, ...new Set(Object.values(folded)), { dispose }],
      };
    },
  };
}

/** By the way that inference of one picture takes, on which pruned tokens are dropped. */
async function logitsOf(
  network: Network,
  x: Tensor,
  parameters: Parameters<Network['fold']>[0],
): Promise<Tensor<'f32'>> {
  const { logits, ...others } = await network.infer({ x }, parameters);
  for (const other of Object.values<Tensor>(others)) other.dispose();
  return logits;
}

type Described = Network['parameters'];
const shapesOf = (parameters: Described) =>
  Object.fromEntries(Object.entries(parameters).map(([name, { shape }]) => [name, shape]));

/** Random weights under which pictures neither grow nor vanish on their way: scales of residuals are small, norms close to 1. */
function weightsOf(parameters: Described): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, { shape }], at) => {
      const [around, std] = distributionOf(name, shape);
      return [
        name,
        hostTensor(
          Float32Array.from(normal(sizeOf(shape), at + 2), (x) => around + std * x),
          shape,
        ),
      ];
    }),
  );
}

function distributionOf(name: string, shape: Shape): readonly [around: number, std: number] {
  if (/layer_scale|^gamma|\.gamma$/.test(name)) return [0.2, 0.02];
  if (name.endsWith('running_var')) return [1, 0.05];
  if (shape.length > 1) return [0, 1 / Math.sqrt(sizeOf(shape.slice(1)))];
  return name.endsWith('.weight') ? [1, 0.1] : [0, 0.1];
}

/** A side of matrices whose products are about as fast as any. */
const SIDE = 768;

/** Products of square matrices, as many as have these multiplications, in millions; a last one has fewer rows. */
export function productsBeside(name: string, multiplications: number): Operation {
  const all = (1e6 * multiplications) / SIDE ** 2;
  const counts = [...Array.from({ length: Math.floor(all / SIDE) }, () => SIDE), Math.round(all % SIDE)];
  const factors = (runtime: Runtime) =>
    [1, 2].map((seed) => runtime.random([SIDE, SIDE], { seed })) as [Tensor, Tensor];
  return {
    name,
    flops: () => 2e6 * multiplications,
    size: () => SIDE,
    bytes: () => 4 * 3 * SIDE ** 2,
    async expected() {
      using runtime = await createRuntime({ backend: 'reference' });
      const [a, b] = factors(runtime);
      return [known(await matmul(a.slice(0, 0, 1), b).read(), 'largest result')];
    },
    open(runtime) {
      const [a, b] = factors(runtime);
      let first: Tensor | undefined;
      const dispose = () => first?.dispose();
      return {
        call() {
          dispose();
          const products = counts.map((rows) => matmul(a.slice(0, 0, rows), b));
          first = products[0];
          for (const product of products.slice(1)) product.dispose();
        },
        result: async () => (await joined([first as Tensor])).slice(0, SIDE),
        tensors: [a, b, { dispose }],
      };
    },
  };
}
