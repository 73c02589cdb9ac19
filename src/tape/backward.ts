/** The backward pass over a tape: from the last step to the first, each variable's gradient summed before it is used. */
import { show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { cast, concat, contiguous } from '../ops/copy';
import { zeros } from '../ops/float32';
import { add } from '../ops/map';
import { sum } from '../ops/reduce';
import type { Control } from '../runtime/backend';
import { controlOf } from '../runtime/guard';
import type { Runtime } from '../runtime/runtime';
import { isFloat } from '../tensor/dtype';
import { formatShape, type Shape, sameShape } from '../tensor/shape';
import type { Stored } from '../tensor/storage';
import { type Derivative, letGoOf, type Part, type Step, type Tape, type Variable } from '../tensor/tape';
import { Tensor, type View } from '../tensor/tensor';

/** The gradients with respect to `leaves`, from those with respect to results; undefined for leaves that were not reached. */
export function backward(
  runtime: Runtime,
  tape: Tape,
  seeds: readonly (readonly [Variable, Tensor])[],
  leaves: readonly Variable[],
  control: Control,
): (Tensor | undefined)[] {
  const steps = tape.take();
  return runtime.scope(() => {
    for (const [variable, gradient] of seeds) addTo(variable, viewOf(gradient));
    for (let at = steps.length - 1; at >= 0; at--) {
      control.signal?.throwIfAborted();
      const step = steps[at] as Step;
      const { derivative, always } = step;
      // Permuted axes are put back without a copy.
      const reached = takeAll(step.results, typeof derivative === 'object' && derivative.kind === 'permute');
      const gradients = reached ?? (always ? {} : undefined);
      if (gradients) {
        const found =
          typeof derivative === 'object'
            ? gradientOfView(step.inputs.x as Variable, derivative, gradients.x as Tensor)
            : runtime.scope(() => gradientsOf(runtime, step, derivative, gradients, partOf(control, at, steps.length)));
        const taken = Object.values(found);
        for (const name in found) addTo(step.inputs[name] as Variable, found[name] as Tensor);
        for (const name in gradients) {
          const gradient = gradients[name] as Tensor;
          if (!taken.includes(gradient)) gradient.dispose();
        }
      }
      letGoOf(step);
    }
    control.onProgress?.(1);
    return leaves.map((leaf) => take(leaf));
  });
}

/** The part of the backward pass that a step is; the last step comes first. */
function partOf(control: Control, at: number, count: number): Control {
  return control.signal || control.onProgress ? controlOf(control, count - 1 - at, count) : NO_CONTROL;
}

const NO_CONTROL: Control = {};

/** The gradients with respect to the inputs of a step, each a tensor of its own. */
function gradientsOf(
  runtime: Runtime,
  { name, inputs, wanted, saved }: Step,
  derivative: Derivative['gradients'],
  gradients: Readonly<Record<string, Tensor>>,
  control: Control,
): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const each in saved) tensors[each] = tensorOf(runtime, saved[each] as Stored);
  const found = derivative(tensors, gradients, wanted, control);
  const results: Record<string, Tensor> = {};
  const used: Tensor[] = [];
  for (const input in inputs) {
    const gradient = found[input];
    if (!gradient) continue;
    const { shape } = inputs[input] as Variable;
    if (!(gradient instanceof Tensor && sameShape(gradient.shape, shape)))
      throw new ShapeError(
        `the gradient of ${name} with respect to ${input} must be a tensor of shape ${formatShape(shape)}, got ${gradient instanceof Tensor ? formatShape(gradient.shape) : show(gradient)}`,
      );
    if (gradient.runtime !== runtime)
      throw new ParameterError(
        `the gradient of ${name} with respect to ${input} lives on another runtime than its input`,
      );
    if (!isFloat(gradient.dtype))
      throw new DTypeError(
        `the gradient of ${name} with respect to ${input} must be of floating-point numbers, got ${gradient.dtype}`,
      );
    results[input] = used.includes(gradient) ? viewOf(gradient) : gradient;
    used.push(gradient);
  }
  return results;
}

/** Gradients of slices are kept until all are there. */
function gradientOfView(variable: Variable, view: View, gradient: Tensor): Record<string, Tensor> {
  const { shape } = variable;
  switch (view.kind) {
    case 'slice':
      variable.parts ??= [];
      variable.parts.push({ axis: view.axis, start: view.start, gradient: viewOf(gradient) });
      return {};
    case 'permute':
      return { x: gradient.permute(view.axes.map((_, at) => view.axes.indexOf(at))) };
    case 'reshape':
      return { x: gradient.reshape(shape) };
    default:
      return { x: summed(gradient, shape) };
  }
}

/** Takes over the gradient. */
function addTo(variable: Variable, gradient: Tensor): void {
  variable.sum = variable.sum ? added(variable.sum, gradient) : gradient;
}

/** Takes the gradients with respect to variables that have one; undefined if none has. */
function takeAll(
  variables: Readonly<Record<string, Variable>>,
  isStrided: boolean,
): Record<string, Tensor> | undefined {
  let some: Record<string, Tensor> | undefined;
  for (const name in variables) {
    const gradient = take(variables[name] as Variable, isStrided);
    if (!gradient) continue;
    some ??= {};
    some[name] = gradient;
  }
  return some;
}

function take(variable: Variable, isStrided = false): Tensor | undefined {
  if (variable.parts) for (const parts of groupsOf(variable.parts)) addTo(variable, together(variable.shape, parts));
  const { sum } = variable;
  variable.sum = undefined;
  variable.parts = undefined;
  if (!sum || isStrided || sum.isContiguous) return sum;
  const copy = contiguous(sum);
  sum.dispose();
  return copy;
}

/** Groups of slices along one axis that do not overlap, in order. */
function groupsOf(parts: readonly Part[]): Part[][] {
  const groups: Part[][] = [];
  for (const part of [...parts].sort((a, b) => a.axis - b.axis || a.start - b.start)) {
    const group = groups.find((each) => {
      const last = each.at(-1) as Part;
      return last.axis === part.axis && endOf(last) <= part.start;
    });
    if (group) group.push(part);
    else groups.push([part]);
  }
  return groups;
}

const endOf = ({ axis, start, gradient }: Part) => start + (gradient.shape[axis] as number);

/** The gradient with respect to the whole, zero where there is no slice; takes over the slices. */
function together(shape: Shape, parts: readonly Part[]): Tensor {
  const [{ axis, gradient }] = parts as [Part];
  const pieces: Tensor[] = [];
  const gap = (from: number, to: number) => {
    const zero = shape.map((extent, at) => (at === axis ? to - from : extent));
    if (from < to) pieces.push(zeros(gradient.runtime, zero));
  };
  let end = 0;
  for (const part of parts) {
    gap(end, part.start);
    pieces.push(part.gradient);
    end = endOf(part);
  }
  gap(end, shape[axis] as number);
  const terms = pieces.map(float32) as Tensor<'f32'>[];
  const whole = concat(terms, axis);
  for (const piece of [...pieces, ...terms]) piece.dispose();
  return whole;
}

/** In f32 and contiguous, as gradients are summed. */
const float32 = (x: Tensor) => (x.dtype === 'f32' ? (x.isContiguous ? x : contiguous(x)) : cast(x, 'f32'));

/** Sums over the axes along which a tensor of `shape` was broadcast. */
function summed(gradient: Tensor, shape: Shape): Tensor {
  const front = gradient.rank - shape.length;
  const axes = [...gradient.shape.keys()].filter(
    (axis) => axis < front || shape[axis - front] !== gradient.shape[axis],
  );
  const { runtime } = gradient;
  return runtime.scope(() => sum(float32(gradient), { axes }).reshape(shape));
}

/** Takes over both. */
function added(a: Tensor, b: Tensor): Tensor {
  const terms = [float32(a), float32(b)] as const;
  const result = add(...terms);
  for (const each of [a, b, ...terms]) each.dispose();
  return result;
}

/** The same elements as an untracked tensor. */
export const viewOf = (x: Tensor): Tensor => tensorOf(x.runtime, x);

const tensorOf = (runtime: Runtime, { storage, dtype, shape, strides, offset }: Stored): Tensor =>
  new Tensor(runtime, storage.retain(), dtype, shape, strides, offset);
