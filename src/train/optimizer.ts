/** Shared by optimizers: parameters by name, their state, and which of them decay. */
import { checkKnown, checkOptions, checkRecord, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import type { TrainableParameters } from '../nn';
import { checkTensors, commonRuntime } from '../ops/check';
import { cast, concat } from '../ops/copy';
import { zeros } from '../ops/float32';
import { map } from '../ops/map/map';
import { sum } from '../ops/reduce';
import type { Runtime } from '../runtime/runtime';
import { isFloat } from '../tensor/dtype';
import { formatShape, sameShape } from '../tensor/shape';
import { disposeKey, type Tensor, tensorsIn } from '../tensor/tensor';

export interface StepOptions {
  /** A factor on the gradients, such as one over the number of batches that they sum; default 1. */
  readonly scale?: number | undefined;
  /** The schedule's factor on the learning rate for this step; default 1. */
  readonly rate?: number | undefined;
}

/** Updates parameters in place by their gradients. */
export interface Optimizer {
  readonly name: 'adamw' | 'sgd' | 'muon';
  /** Steps taken; set it to resume. */
  steps: number;
  /**
   * What is carried from step to step, f32, by the parameter's name and what it is, such as `w.momentum`. Parameters of 16 bits
   * have a `master` in f32, from which they are rounded after each step.
   */
  readonly state: Readonly<Record<string, Tensor<'f32'>>>;
  /**
   * Updates the parameters in place by gradients of the same names and shapes.
   *
   * @throws {ParameterError | ShapeError | DTypeError} gradients that are not as the parameters are
   */
  step(gradients: TrainableParameters, options?: StepOptions): void;
  /** Frees the state; the parameters are the caller's. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** The tensors that a step updates in place: lists with one for each parameter. */
interface Group {
  readonly weights: Tensor[];
  readonly gradients: Tensor[];
  /** In the order of `carries`. */
  readonly carried: Tensor[][];
}

/** The definition of an optimiser, with checked numbers. */
export interface Rule {
  readonly name: Optimizer['name'];
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly carries: readonly string[];
  /** Step `step`, from 1, by the learning rate `size`, after weights were multiplied by `keep`, the weight decay. */
  update(group: Group, numbers: { size: number; keep: number; scale: number; step: number }): void;
}

/** An optimizer with one call for all parameters of two axes, with weight decay, and one for all others. */
export function optimizerOf(parameters: TrainableParameters, rule: Rule): Optimizer {
  const { name: optimizer, learningRate, weightDecay, carries, update } = rule;
  const runtime = checkParameters(parameters);
  const names = Object.keys(parameters);
  const of = (name: string) => parameters[name] as Tensor;
  const state: Record<string, Tensor<'f32'>> = {};
  for (const name of names) {
    for (const each of carries) state[`${name}.${each}`] = zeros(runtime, of(name).shape);
    if (of(name).dtype !== 'f32') state[`${name}.master`] = cast(of(name), 'f32');
  }
  const groups = [
    { names: names.filter((name) => of(name).rank === 2), decay: weightDecay },
    { names: names.filter((name) => of(name).rank !== 2), decay: 0 },
  ].filter(({ names }) => names.length > 0);
  const dispose = () => {
    for (const each in state) state[each]?.dispose();
  };
  return {
    name: optimizer,
    steps: 0,
    state,
    step(gradients, options = {}) {
      const { scale, rate } = checkStep(parameters, gradients, options);
      const size = rate * learningRate;
      this.steps++;
      for (const { names, decay } of groups) {
        const weights = names.map((name) => state[`${name}.master`] ?? of(name));
        const carried = carries.map((each) => names.map((name) => state[`${name}.${each}`] as Tensor));
        const ofGroup = { weights, gradients: names.map((name) => gradients[name] as Tensor), carried };
        update(ofGroup, { size, keep: 1 - size * decay, scale, step: this.steps });
      }
      for (const name of names) {
        const [master, out] = [state[`${name}.master`], of(name)];
        if (master) cast(master, out.dtype as 'f16', { out: out as Tensor<'f16'> });
      }
    },
    dispose,
    [disposeKey]: dispose,
  };
}

/** The runtime of the parameters; throws unless an optimizer can update them. */
export function checkParameters(parameters: TrainableParameters): Runtime {
  checkRecord('parameters', parameters);
  const named = Object.fromEntries(Object.entries(parameters).map(([name, each]) => [`parameters.${name}`, each]));
  checkTensors(named);
  const runtime = commonRuntime(named);
  if (!runtime) throw new ParameterError('parameters must be at least one tensor by name, got none');
  for (const [name, { dtype, isContiguous, size, shape }] of Object.entries(named)) {
    if (!isFloat(dtype)) throw new DTypeError(`${name} must be f32, f16 or bf16, got ${dtype}`);
    if (!isContiguous || size === 0)
      throw new ShapeError(`${name} ${formatShape(shape)} must be contiguous and not empty`);
  }
  return runtime;
}

/** The options of a step, checked with its gradients. */
export function checkStep(
  parameters: TrainableParameters,
  gradients: TrainableParameters,
  options: StepOptions,
): Required<StepOptions> & {
  scale: number;
  rate: number;
} {
  checkKnown('gradients', gradients, Object.keys(parameters), (name) => `there is no parameter '${name}'`);
  for (const name in parameters) {
    const [parameter, gradient] = [parameters[name] as Tensor, gradients[name] as Tensor];
    checkTensors({ [`the gradient of ${name}`]: gradient });
    if (!sameShape(gradient.shape, parameter.shape))
      throw new ShapeError(
        `the gradient of ${name} must have shape ${formatShape(parameter.shape)}, got ${formatShape(gradient.shape)}`,
      );
    if (!isFloat(gradient.dtype))
      throw new DTypeError(`the gradient of ${name} must be of floating-point numbers, got ${gradient.dtype}`);
  }
  commonRuntime({ ...parameters, ...gradients });
  checkOptions('step', options, ['scale', 'rate']);
  const { scale = 1, rate = 1 } = options;
  checkNumber('scale', scale, 0);
  checkNumber('rate', rate, 0);
  return { scale, rate };
}

/** Throws unless `value` is a finite number from `least` to below `past`. */
export function checkNumber(what: string, value: number, least: number, past = Number.POSITIVE_INFINITY): void {
  if (Number.isFinite(value) && value >= least && value < past) return;
  const range = past === Number.POSITIVE_INFINITY ? `>= ${least}` : `from ${least} to below ${past}`;
  throw new ParameterError(`${what} must be a finite number ${range}, got ${show(value)}`);
}

/**
 * The root of the sum of the squares of all elements of gradients, tensors in arrays and objects however deep -> [], f32. It is
 * not finite where an element is not, or its square is beyond f32.
 */
export function globalNorm(gradients: unknown): Tensor<'f32'> {
  const tensors = tensorsIn(gradients);
  if (tensors.length === 0)
    throw new ParameterError(`gradients must be tensors in arrays and objects, got ${show(gradients)}`);
  const runtime = commonRuntime(Object.fromEntries(tensors.map((each, at) => [`tensor ${at} of gradients`, each])));
  return runtime.scope(() => {
    const squares = map((x) => x * x, tensors, { dtype: 'f32' }) as Tensor<'f32'>[];
    const sums = squares.map((each) => sum(each).reshape([1]));
    return map((x) => Math.sqrt(x), sum(concat(sums, 0))) as Tensor<'f32'>;
  });
}
