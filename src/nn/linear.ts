import { checkArray, checkOptions, show } from '../check';
import { ParameterError } from '../errors';
import { checkControl, checkTensors } from '../ops/check';
import { defineComposite, f32, floats, type OptionsOf, orOperand, tensorChecker } from '../ops/define';
import { multiply } from '../ops/matmul';
import { type Activations, activationsSetting, PackedWeight, packedProducts } from '../ops/packed';
import { PACKED_TYPES } from '../ops/packed/params';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';

const x = floats('... n in', { strided: true });
const weightSpec = orOperand(floats('out in', { strided: true }), PackedWeight, 'out in', PACKED_TYPES);
const bias = floats('out', { strided: true, like: 'x' });

export const linearOp = defineComposite({
  name: 'linear',
  inputs: { x, weight: weightSpec },
  options: {
    /** [out], of the dtype of x, added to every row; default: none. */
    bias,
    /** As in `matmul`: whether x is rounded to 8 bits where the weight is in blocks (`q8`, the default there) or not (`f32`). */
    activations: activationsSetting,
  },
  results: { out: f32('... n out', { fresh: true }) },
  operations: '2 ... n in out',
  run: ({ x, weight, bias, activations }, control) =>
    multiply({ a: x, b: weight, transposeB: true, bias, activations }, control),
});

export interface LinearOptions extends OptionsOf<typeof linearOp>, Control {}

/**
 * x weight^T + bias: x [..., n, in], weight [out, in] -> [..., n, out], f32; element types as `matmul` takes them, weights that
 * `packWeight` made among them.
 *
 * @throws {ShapeError} a weight or bias that does not fit
 * @throws {ParameterError} `activations` of q8 where the weight is not in blocks
 */
export const linear = (x: Tensor, weight: Tensor | PackedWeight, options: LinearOptions = {}): Tensor<'f32'> =>
  linearOp({ x, weight }, options);

export interface LinearAllOptions extends Pick<LinearOptions, 'activations' | 'signal'> {
  /** For each weight a bias, or undefined. */
  readonly biases?: readonly (Tensor | undefined)[] | undefined;
}

const checkOne = tensorChecker({ x, weight: weightSpec, bias });

/**
 * `linear` of one x and several weights, such as those of queries, keys and values: one call where all of them are packed in
 * blocks, which reads and rounds x once.
 *
 * @throws {ShapeError} a weight or bias that does not fit
 * @throws {ParameterError} no weights, another number of biases
 */
export function linearAll(
  x: Tensor,
  weights: readonly (Tensor | PackedWeight)[],
  options: LinearAllOptions = {},
): Tensor<'f32'>[] {
  checkArray('weights', weights);
  if (weights.length === 0) throw new ParameterError('weights must be at least one, got none');
  checkOptions('linearAll', options, ['biases', 'activations', 'signal']);
  checkControl(options);
  const { biases = weights.map(() => undefined), signal } = options;
  checkArray('biases', biases);
  if (biases.length !== weights.length)
    throw new ParameterError(`biases must be ${weights.length}, as many as weights, got ${show(biases)}`);
  for (const [at, weight] of weights.entries()) {
    const [name, bias] = [`weights[${at}]`, biases[at]];
    if (!(weight instanceof PackedWeight)) checkTensors({ [name]: weight }, { [name]: weightSpec.or });
    if (bias !== undefined) checkTensors({ [`biases[${at}]`]: bias });
  }
  const activations = activationsSetting.check('activations', options.activations, {}, {}) as Activations | undefined;
  const packed = weights.filter(
    (each) => each instanceof PackedWeight && each.isQuantised && !each.isTransposed,
  ) as PackedWeight[];
  if (packed.length < weights.length)
    return weights.map((weight, at) => linear(x, weight, { bias: biases[at], activations, signal }));
  for (const [at, weight] of packed.entries()) {
    const bias = biases[at];
    checkOne(bias ? { x, weight, bias } : { x, weight });
  }
  return packedProducts('linear', x, packed, { biases, activations, signal });
}
