/** Gradients of any composition of ops and views. */
import { checkArray, checkFunction, checkKnown, checkRecord, show } from '../check';
import { ParameterError, ShapeError, UnsupportedError } from '../errors';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import { cast, contiguous } from '../ops/copy';
import { zeros } from '../ops/float32';
import type { Control } from '../runtime/backend';
import { reporting } from '../runtime/guard';
import type { Runtime } from '../runtime/runtime';
import { type DType, isFloat } from '../tensor/dtype';
import { formatShape, sameShape } from '../tensor/shape';
import type { Storage } from '../tensor/storage';
import { mapLeaves } from '../tensor/structure';
import { Tape, type Variable, variableOf } from '../tensor/tape';
import { disposeKey, Tensor, tensorsByPath, tensorsIn } from '../tensor/tensor';
import { backward, viewOf } from './backward';

/** The structure of `T` with the gradient with respect to each tensor of floating-point numbers. */
export type Gradients<T> =
  T extends Tensor<infer D>
    ? [D] extends ['i32' | 'u8' | 'i8']
      ? undefined
      : Tensor<D>
    : T extends object
      ? { readonly [Name in keyof T]: Gradients<T[Name]> }
      : undefined;

/** The structure of `T`, in which gradients may be left out. */
export type SomeGradients<T> = T extends Tensor
  ? Tensor | undefined
  : T extends object
    ? { readonly [Name in keyof T]?: SomeGradients<T[Name]> }
    : undefined;

/** What `pullback` returns: the results, and the way back from their gradients to those of the inputs. */
export interface Pullback<Inputs, Results> {
  /** What the function returned, untracked. The caller disposes it, or the enclosing scope. */
  readonly results: Results;
  /**
   * The gradients with respect to the inputs, in their structure, from those with respect to the results, in theirs; those left
   * out are zero. Can be called once, since it frees what the forward pass kept.
   *
   * @throws {ShapeError | ParameterError} for gradients that do not fit the results, and when called again
   */
  pull(gradients: SomeGradients<Results>, control?: Control): Gradients<Inputs>;
  /** Frees what was kept, if no gradients are needed after all. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/**
 * Calls `fn` on `inputs`, a tree of arrays and plain objects of tensors, and keeps what its gradients need. `fn` gets the
 * same structure with tracked tensors, calls ops on them, and returns tensors, alone or in a structure. It is synchronous.
 * Numbers and other values among the inputs are passed through; so are i32 tensors, and neither has a gradient.
 *
 * Everything computed from tracked tensors is recorded, wherever it is called; tensors that `fn` closes over are constants.
 * Nobody may write to memory that is kept, so `out` is refused for tracked inputs. What `fn` makes is disposed when it
 * returns, except its results. Gradients are summed in the order of the steps, in f32: the same bits each time.
 *
 * @throws {SaccadeError} if `fn` returns a promise or no tensors, or calls an op without a derivative
 */
export function pullback<const Inputs, Results>(
  fn: (inputs: Inputs) => Results,
  inputs: Inputs,
): Pullback<Inputs, Results> {
  return recorded('pullback()', fn, inputs);
}

/**
 * The loss that `fn` computes from `parameters`, and its gradients with respect to them, in their structure: zeros where
 * the loss does not depend on a parameter. `fn` is as for `pullback` and returns a tensor of one element.
 *
 * @throws {ShapeError} if the loss has several elements
 * @throws {SaccadeError} as `pullback` does
 */
export function differentiate<const Parameters>(
  fn: (parameters: Parameters) => Tensor,
  parameters: Parameters,
  control: Control = {},
): { readonly loss: Tensor; readonly gradients: Gradients<Parameters> } {
  checkControlOnly(control);
  const { results: loss, pull, dispose } = recorded('differentiate()', fn, parameters);
  try {
    if (!(loss instanceof Tensor && loss.size === 1 && isFloat(loss.dtype)))
      throw new ShapeError(
        `the result of fn of differentiate(), the loss, must be a tensor of one floating-point number, got ${loss instanceof Tensor ? `${loss.dtype} ${formatShape(loss.shape)}` : show(loss)}`,
      );
    const one = loss.runtime.tensor([1], loss.shape);
    try {
      return { loss, gradients: pull(one as SomeGradients<Tensor>, control) };
    } finally {
      one.dispose();
    }
  } catch (error) {
    for (const tensor of tensorsIn(loss)) tensor.dispose();
    throw error;
  } finally {
    dispose();
  }
}

function recorded<Inputs, Results>(
  name: string,
  fn: (inputs: Inputs) => Results,
  inputs: Inputs,
): Pullback<Inputs, Results> {
  const what = `fn of ${name}`;
  checkFunction(what, fn);
  const runtime = checkInputs(name, inputs);
  const tape = new Tape();
  try {
    const leaves: Variable[] = [];
    const found = new Map<Tensor, Variable>();
    // The caller may change the structures before the backward pass.
    const given = mapLeaves(inputs, (leaf) => leaf);
    const results = runtime.scope(() => {
      const tracked = mapLeaves(given, (leaf) => {
        if (!(leaf instanceof Tensor)) return leaf;
        const view = viewOf(leaf);
        if (!isFloat(view.dtype)) return view;
        const variable = tape.track(view);
        view.variable = variable;
        leaves.push(variable);
        return view;
      });
      const untracked = (leaf: unknown) => {
        if (!(leaf instanceof Tensor)) return leaf;
        leaf.assertUsable(`a result of ${what}`);
        const view = viewOf(leaf);
        const variable = variableOf(leaf);
        if (variable?.tape === tape) found.set(view, variable);
        return view;
      };
      return mapLeaves(fn(tracked as Inputs), untracked, `what ${what} returns`);
    }, what) as Results;
    if (tensorsIn(results).length === 0)
      throw new ParameterError(`${what} must return tensors, alone or in arrays and objects, got ${show(results)}`);
    const returned = mapLeaves(results, (leaf) => leaf);
    return {
      results,
      pull(gradients, control = {}) {
        checkControlOnly(control);
        if (tape.ended)
          throw new ParameterError(`pull() was called before, or what it needs was disposed: call ${name} anew`);
        const seeds = seedsOf(returned, gradients, found);
        try {
          const sums = reporting(runtime, control, (own) => backward(runtime, tape, seeds, leaves, own));
          return runtime.scope(() => {
            const taken = new Set(seeds.map(([, { storage }]) => storage));
            let at = 0;
            return mapLeaves(given, (leaf) => {
              if (!(leaf instanceof Tensor && isFloat(leaf.dtype))) return undefined;
              return apart(asDType(sums[at++] ?? zeros(runtime, leaf.shape), leaf.dtype), taken);
            });
          }) as Gradients<Inputs>;
        } finally {
          tape.end();
        }
      },
      dispose: () => tape.end(),
      [disposeKey]: () => tape.end(),
    };
  } catch (error) {
    tape.end();
    throw error;
  }
}

/** A gradient in the dtype of its input. */
function asDType(gradient: Tensor, dtype: DType): Tensor {
  if (gradient.dtype === dtype) return gradient;
  using exact = gradient;
  return cast(exact, dtype as 'f16');
}

/** A gradient in memory of its own, which is added to `taken`: writing to it must not change others, nor the seeds. */
function apart(gradient: Tensor, taken: Set<Storage>): Tensor {
  const own = taken.has(gradient.storage) ? contiguous(gradient) : gradient;
  if (own !== gradient) gradient.dispose();
  taken.add(own.storage);
  return own;
}

function checkControlOnly(control: Control): void {
  checkKnown('control', control, ['signal', 'onProgress'], (name) => `control has no '${name}'`);
  checkControl(control);
}

/** The runtime of the tensors among the inputs. */
function checkInputs(name: string, inputs: unknown): Runtime {
  const tensors = tensorsByPath(inputs, 'inputs', `inputs of ${name}`);
  if (Object.keys(tensors).length === 0)
    throw new ParameterError(`inputs of ${name} must be tensors, alone or in arrays and objects, got ${show(inputs)}`);
  for (const [path, { variable }] of Object.entries(tensors))
    if (variable)
      throw new UnsupportedError(
        `${path} of ${name} is tracked by another tape: second derivatives are not supported, apply stopGradient() to it`,
      );
  return commonRuntime(tensors);
}

/** Each gradient with its variable; throws unless structure, shapes and runtime are those of the results. */
function seedsOf(
  results: unknown,
  gradients: unknown,
  variables: ReadonlyMap<Tensor, Variable>,
  path = 'gradients',
): (readonly [Variable, Tensor])[] {
  if (gradients === undefined) return [];
  if (results instanceof Tensor) {
    checkTensors({ [path]: gradients });
    const gradient = gradients as Tensor;
    if (!sameShape(gradient.shape, results.shape))
      throw new ShapeError(
        `${path} must have the shape ${formatShape(results.shape)} of the result, got ${formatShape(gradient.shape)}`,
      );
    if (gradient.runtime !== results.runtime)
      throw new ParameterError(`${path} lives on another runtime than the result`);
    gradient.assertUsable(path);
    const variable = variables.get(results);
    return variable ? [[variable, gradient]] : [];
  }
  if (results instanceof Promise)
    throw new UnsupportedError(
      `${path}: the data decides the extents of this result, a promise, and it has no gradient`,
    );
  if (tensorsIn(results).length === 0) return [];
  if (!Array.isArray(results)) checkRecord(path, gradients);
  else checkArray(path, gradients);
  for (const each of Object.keys(gradients as object))
    if (!Object.hasOwn(results as object, each)) throw new ParameterError(`${path}: there is no result '${each}'`);
  return Object.entries(gradients as object).flatMap(([each, gradient]) =>
    seedsOf((results as Readonly<Record<string, unknown>>)[each], gradient, variables, `${path}.${each}`),
  );
}
