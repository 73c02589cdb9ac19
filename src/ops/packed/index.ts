/** Products with packed weights, and rows of them. */
import { ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Op } from '../../runtime/op';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { indicesWithin } from '../check';
import { compute, type ResultSpec } from '../compute';
import { contiguous } from '../copy';
import { choice, optional } from '../define';
import type { ResultOptions } from '../float32';
import { add } from '../map';
import type { Elementwise } from '../map/function';
import { sum } from '../reduce';
import type { PickCall, ProductsCall } from './call';
import { planPick, planProducts } from './cpu';
import { kernels } from './params.generated';
import { type PackedParts, PackedWeight } from './weight';

export { type PackedParts, type PackedType, PackedWeight } from './weight';

const ops = (name: string): Op<ProductsCall> => ({
  name,
  kernels,
  reference: async () => (await import('./reference')).products,
  cpu: planProducts,
  webgpu: async () => (await import('./webgpu')).planProducts,
});

/** What becomes of x in products with weights in blocks. */
export type Activations = 'f32' | 'q8';
export const activationsSetting = optional(choice<Activations>('f32', 'f32', 'q8'));

interface Options extends Control {
  /** For each product a bias, or undefined. */
  readonly biases?: readonly (Tensor | undefined)[] | undefined;
  readonly epilogue?: Elementwise | undefined;
  readonly activations?: Activations | undefined;
  /** Whether the terms are the rows of the weights. */
  readonly isAcross?: boolean;
  /** Where to write the only product. */
  readonly out?: Tensor<'f32'> | undefined;
}

/**
 * x [..., depth], of any strides, times each weight [columns, depth], or across [depth, columns], plus a bias ->
 * [..., columns] each. `name` is the op's, for messages.
 */
export function packedProducts(
  name: string,
  x: Tensor,
  weights: readonly PackedWeight[],
  { biases = [], epilogue, activations, isAcross = false, out: given, ...control }: Options,
): Tensor<'f32'>[] {
  const isQuantised = weights.every((weight) => weight.isQuantised);
  if (activations === 'q8' && (isAcross || !isQuantised))
    throw new ParameterError(
      `activations must be f32 where ${isAcross ? 'rows of a weight are summed' : 'weights are floats'}, got q8`,
    );
  const isRounded = isQuantised && !isAcross && activations !== 'f32';
  using copied = x.isContiguous ? undefined : contiguous(x, control);
  const a = copied ?? x;
  const depth = a.shape.at(-1) as number;
  const columnsOf = ({ shape }: PackedWeight) => shape[isAcross ? 1 : 0] as number;
  const all = weights.map((weight, at) => ({
    weight,
    columns: columnsOf(weight),
    bias: biases[at],
    name: weights.length === 1 ? '' : ` ${at}`,
  }));
  // Loops: a decoder's step calls this often.
  const inputs: Record<string, Tensor> = { a };
  const specs: Record<string, ResultSpec<'f32'>> = {};
  for (const { weight, columns, bias, name } of all) {
    addParts(inputs, weight, name);
    if (bias) inputs[`bias${name}`] = bias;
    specs[`out${name}`] = { shape: [...a.shape.slice(0, -1), columns], dtype: 'f32', given };
  }
  const call = (results: Readonly<Record<string, Tensor<'f32'>>>): ProductsCall => ({
    x: a,
    rows: a.size / depth,
    depth,
    isRounded,
    isAcross,
    epilogue,
    products: all.map(({ name, ...product }) => ({ ...product, out: results[`out${name}`] as Tensor<'f32'> })),
  });
  const derivative: Derivative = {
    saves: Object.keys(inputs).filter((each) => !/^(a$|bias)/.test(each)),
    gradients(saved, gradients, wanted, control) {
      const found: Record<string, Tensor> = {};
      for (const { weight, columns, name } of all) {
        const gradOut = gradients[`out${name}`];
        if (!gradOut) continue;
        if (wanted.has(`bias${name}`)) found[`bias${name}`] = sum(gradOut.reshape([-1, columns]), { axes: [0] });
        if (!wanted.has('a')) continue;
        const kept = new PackedWeight(weight.dtype, weight.shape as [number, number], partsIn(saved, name));
        const [gradient] = packedProducts('matmul', gradOut, [kept], {
          ...control,
          isAcross: !isAcross,
          activations: 'f32',
        });
        found.a = found.a ? add(found.a, gradient as Tensor) : (gradient as Tensor);
      }
      return found;
    },
  };
  return Object.values(compute(ops(name), inputs, specs, call, control, { derivative }));
}

const PARTS = ['values', 'scales', 'minima'] as const;

/** Adds the tensors of a weight to the inputs of a call. */
function addParts(inputs: Record<string, Tensor>, { parts }: PackedWeight, name: string): void {
  for (const part of PARTS) {
    const tensor = parts[part];
    if (tensor) inputs[`${part} of weight${name}`] = tensor;
  }
}

const partsIn = (tensors: Readonly<Record<string, Tensor>>, name: string) =>
  Object.fromEntries(PARTS.map((part) => [part, tensors[`${part} of weight${name}`]])) as unknown as PackedParts;

const picking: Op<PickCall> = {
  name: 'embedding',
  kernels,
  reference: async () => (await import('./reference')).pick,
  cpu: planPick,
  webgpu: async () => (await import('./webgpu')).planPick,
  faults: ({ table, indices }) => indicesWithin(indices, table.shape[0] as number),
};

/** Rows of a table as f32: indices [...] i32, contiguous -> [..., width]. */
export function packedRows(
  table: PackedWeight,
  indices: Tensor,
  { out: given, ...control }: ResultOptions,
): Tensor<'f32'> {
  const inputs: Record<string, Tensor> = { indices };
  addParts(inputs, table, '');
  const shape = [...indices.shape, table.shape[1] as number];
  const call = ({ out }: { readonly out: Tensor<'f32'> }): PickCall => ({ table, indices, out });
  return compute(picking, inputs, { out: { shape, dtype: 'f32', given } as const }, call, control).out;
}
