/** Functions of tensors that a tape records as one step. */
import { checkBoolean, checkFunction, checkNoPromise, checkOptions, show } from '../check';
import { ParameterError, ShapeError, UnsupportedError } from '../errors';
import { checkTensors, commonRuntime } from '../ops/check';
import type { Control } from '../runtime/backend';
import { formatShape, sameShape } from '../tensor/shape';
import { mapLeaves } from '../tensor/structure';
import { record, tapeOf } from '../tensor/tape';
import { Tensor, tensorsByPath, tensorsIn } from '../tensor/tensor';
import { viewOf } from './backward';
import { pullback, type SomeGradients } from './pullback';

/** x as a constant: the same elements, untracked. */
export function stopGradient<D extends Tensor>(x: D): D {
  checkTensors({ x });
  x.assertUsable('x of stopGradient()');
  return viewOf(x) as D;
}

/**
 * fn(x), with the gradient of the identity: for steps and roundings, whose own gradient is useless. The result has the shape
 * of x.
 *
 * @throws {ShapeError} if the result has another shape
 */
export function straightThrough(fn: (x: Tensor) => Tensor, x: Tensor): Tensor {
  checkFunction('fn of straightThrough()', fn);
  checkTensors({ x });
  const call = (plain: Tensor) => {
    const result = fn(plain);
    checkNoPromise('fn of straightThrough()', result);
    checkTensors({ 'the result of straightThrough()': result });
    if (!sameShape(result.shape, x.shape))
      throw new ShapeError(
        `the result of straightThrough() must have the shape ${formatShape(x.shape)} of x, got ${formatShape(result.shape)}`,
      );
    return result;
  };
  return asStep('straightThrough()', call, [x], false, ({ gradients }) => ({ '[0]': gradients }));
}

/**
 * fn(...inputs), of which the tape keeps only the inputs: the backward pass calls fn again for everything in between. So a
 * deep network needs the memory of one block, at the cost of a second forward pass. Inputs are tensors, alone or in arrays and
 * objects; fn must compute the same each time.
 *
 * @throws {UnsupportedError} if fn closes over a tracked tensor
 */
export function recompute<Inputs extends readonly unknown[], Results>(
  fn: (...inputs: Inputs) => Results,
  ...inputs: Inputs
): Results {
  checkFunction('fn of recompute()', fn);
  return asStep('recompute()', fn, inputs, false, ({ inputs: saved, gradients, wanted, control }) => {
    // Inputs without a wanted gradient are constants.
    const variables: Record<string, Tensor> = {};
    mapLeaves(saved, (leaf, path) => {
      if (wanted.has(path)) variables[path] = leaf as Tensor;
    });
    const call = (tracked: Readonly<Record<string, Tensor>>) => fn(...withLeaves(saved, tracked));
    return pullback(call, variables).pull(gradients as SomeGradients<Results>, control);
  });
}

/** What a custom derivative is computed from. */
export interface DerivativeContext<Inputs, Results> {
  readonly inputs: Inputs;
  readonly results: Results;
  /** With respect to the results, in their structure; undefined where the loss does not depend on one. */
  readonly gradients: SomeGradients<Results>;
}

/**
 * fn with a custom derivative: from the inputs, the results and the gradients with respect to these, it returns a gradient
 * with respect to each input; undefined stands for zeros. `always` calls it even if the loss depends on no result, for what
 * other processes wait for.
 *
 * @throws {ShapeError | ParameterError} in the backward pass, for gradients that do not fit the inputs
 */
export function withDerivative<Inputs extends readonly Tensor[], Results>(
  fn: (...inputs: Inputs) => Results,
  derivative: (context: DerivativeContext<Inputs, Results>) => readonly (Tensor | undefined)[],
  options: { readonly always?: boolean | undefined } = {},
): (...inputs: Inputs) => Results {
  checkFunction('fn of withDerivative()', fn);
  checkFunction('derivative of withDerivative()', derivative);
  checkOptions('withDerivative', options, ['always']);
  const { always = false } = options;
  checkBoolean('always', always);
  const gradientsOf = (context: StepContext<Inputs, Results>) => {
    const found = derivative(context);
    checkNoPromise('derivative of withDerivative()', found);
    if (!Array.isArray(found) || found.length !== context.inputs.length)
      throw new ParameterError(
        `derivative of withDerivative() must return an array of ${context.inputs.length} gradients, got ${show(found)}`,
      );
    // The caller may keep what it returns.
    return Object.fromEntries(found.map((gradient, at) => [`[${at}]`, constant(gradient)]));
  };
  return (...inputs) => asStep('withDerivative()', fn, inputs, true, gradientsOf, always);
}

interface StepContext<Inputs, Results> extends DerivativeContext<Inputs, Results> {
  /** Paths of the inputs with respect to which gradients are wanted. */
  readonly wanted: ReadonlySet<string>;
  readonly control: Control;
}

/**
 * Calls fn on untracked tensors and records it as one step, which saves the inputs and, `keepsResults`, the results; `always`: its
 * derivative is called even if the loss depends on no result.
 */
function asStep<Inputs extends readonly unknown[], Results>(
  name: string,
  fn: (...inputs: Inputs) => Results,
  inputs: Inputs,
  keepsResults: boolean,
  derivative: (context: StepContext<Inputs, Results>) => unknown,
  always = false,
): Results {
  const given = tensorsByPath(inputs);
  const tape = tapeOf(name, given);
  const checked = (results: Results) => {
    checkNoPromise(`fn of ${name}`, results);
    for (const { variable } of tensorsIn(results, `what fn of ${name} returns`))
      if (variable)
        throw new UnsupportedError(`fn of ${name} uses a tracked tensor that is not among its inputs: pass it as one`);
    return results;
  };
  if (!tape) return checked(fn(...inputs));
  // Results are tensors of their own, since the caller may keep what fn returns.
  const call = () => mapLeaves(checked(fn(...mapLeaves(inputs, constant))), constant);
  const results = commonRuntime(given).scope(call, `fn of ${name}`);
  const made = tensorsByPath(results, RESULT);
  // The caller may change the structures before the backward pass.
  const [ofInputs, ofResults] = [mapLeaves(inputs, (leaf) => leaf), mapLeaves(results, (leaf) => leaf)];
  record(name, tape, given, made, {
    always,
    saves: [...Object.keys(given), ...(keepsResults ? Object.keys(made) : [])],
    gradients: (saved, gradients, wanted, control) =>
      derivative({
        inputs: withLeaves(ofInputs, saved),
        results: withLeaves(ofResults, saved, RESULT),
        gradients: mapLeaves(ofResults, (_, path) => gradients[RESULT + path]) as SomeGradients<Results>,
        wanted,
        control,
      }) as Record<string, Tensor | undefined>,
  });
  return results;
}

/** Prefix of the paths of results. */
const RESULT = 'result';

const constant = (leaf: unknown) => (leaf instanceof Tensor ? stopGradient(leaf) : leaf);

function withLeaves<T>(value: T, leaves: Readonly<Record<string, Tensor>>, prefix = ''): T {
  return mapLeaves(value, (leaf, path) => leaves[prefix + path] ?? leaf);
}
