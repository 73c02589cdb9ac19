/** The backward pass over a tape: from the last step to the first, each variable's gradient summed before it is used. */
import { ShapeError } from '../errors';
import { concat, contiguous } from '../ops/copy';
import { zeros } from '../ops/float32';
import { add } from '../ops/map';
import { sum } from '../ops/reduce';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import { controlOf } from '../runtime/turns';
import type { DType } from '../tensor/dtype';
import { formatShape, type Shape, sameShape } from '../tensor/shape';
import type { Place, Step, Tape, Variable, View } from '../tensor/tape';
import { Tensor } from '../tensor/tensor';

/** A gradient with respect to a part of a variable, along an axis. */
interface Part {
  readonly axis: number;
  readonly start: number;
  readonly gradient: Tensor;
}

/** What has come together of a variable's gradient. */
interface Sum {
  whole?: Tensor | undefined;
  /** Of slices, which make up the whole more often than not. */
  readonly parts: Part[];
}

/** From a gradient with respect to each result to those with respect to `leaves`; undefined where they were not reached. */
export function backward(
  runtime: Runtime,
  tape: Tape,
  seeds: readonly (readonly [Variable, Tensor])[],
  leaves: readonly Variable[],
  control: Control,
): (Tensor | undefined)[] {
  const sums = new Sums();
  const steps = tape.take();
  return runtime.scope(() => {
    for (const [variable, gradient] of seeds) sums.add(variable, viewOf(gradient));
    for (let at = steps.length - 1; at >= 0; at--) {
      control.signal?.throwIfAborted();
      const step = steps[at] as Step;
      const gradients = sums.takeAll(step.results);
      if (gradients) {
        const { derivative } = step;
        if (typeof derivative === 'object') {
          const [[, variable]] = Object.entries(step.inputs) as [[string, Variable]];
          sums.addView(variable, derivative, gradients.x as Tensor);
        } else {
          const along = controlOf(control, steps.length - 1 - at, steps.length);
          const found = runtime.scope(() => gradientsOf(step, gradients, along));
          for (const name in found) sums.add(step.inputs[name] as Variable, found[name] as Tensor);
        }
        for (const name in gradients) gradients[name]?.dispose();
      }
      for (const name in step.saved) tape.letGo(step.saved[name] as Place);
    }
    control.onProgress?.(1);
    return leaves.map((leaf) => sums.take(leaf));
  });
}

/** With respect to the inputs of a step, in tensors of their own. */
function gradientsOf(
  { name, inputs, saved, derivative }: Step,
  gradients: Readonly<Record<string, Tensor | undefined>>,
  control: Control,
): Record<string, Tensor> {
  if (typeof derivative === 'object') return {};
  const tensors: Record<string, Tensor> = {};
  for (const each in saved) tensors[each] = viewOf(saved[each] as Place);
  const found = derivative(tensors, gradients, new Set(Object.keys(inputs)), control);
  const results: Record<string, Tensor> = {};
  for (const input in inputs) {
    const gradient = found[input];
    if (!gradient) continue;
    const { shape } = inputs[input] as Variable;
    if (!(gradient instanceof Tensor && sameShape(gradient.shape, shape)))
      throw new ShapeError(
        `the gradient of ${name} with respect to ${input} must be a tensor of shape ${formatShape(shape)}, got ${formatShape((gradient as Tensor).shape)}`,
      );
    // One tensor may be several gradients, or what the op was given.
    results[input] = viewOf(gradient);
  }
  return results;
}

class Sums {
  readonly #sums = new Map<Variable, Sum>();

  /** Takes over the gradient. */
  add(variable: Variable, gradient: Tensor): void {
    const sum = this.#sumOf(variable);
    sum.whole = sum.whole ? added(sum.whole, gradient) : gradient;
  }

  /** From the gradient with respect to a view of the variable. */
  addView(variable: Variable, view: View, gradient: Tensor): void {
    const { shape } = variable;
    if (view.kind === 'slice') this.#sumOf(variable).parts.push({ ...view, gradient: viewOf(gradient) });
    else if (view.kind === 'permute')
      this.add(variable, gradient.permute(view.axes.map((_, at) => view.axes.indexOf(at))));
    else if (view.kind === 'reshape') this.add(variable, gradient.reshape(shape));
    else this.add(variable, summed(gradient, shape));
  }

  /** The gradients with respect to variables, contiguous, which leave the sums; undefined if there is none. */
  takeAll(variables: Readonly<Record<string, Variable>>): Record<string, Tensor | undefined> | undefined {
    let some: Record<string, Tensor | undefined> | undefined;
    for (const name in variables) {
      const gradient = this.take(variables[name] as Variable);
      if (gradient) some = { ...some, [name]: gradient };
    }
    return some;
  }

  take(variable: Variable): Tensor | undefined {
    const sum = this.#sums.get(variable);
    if (!sum) return undefined;
    this.#sums.delete(variable);
    for (const parts of groupsOf(sum.parts)) {
      const whole = together(variable.shape, parts);
      sum.whole = sum.whole ? added(sum.whole, whole) : whole;
    }
    const { whole } = sum;
    if (!whole || whole.isContiguous) return whole;
    const copy = contiguous(whole);
    whole.dispose();
    return copy;
  }

  #sumOf(variable: Variable): Sum {
    const known = this.#sums.get(variable);
    if (known) return known;
    const sum = { parts: [] };
    this.#sums.set(variable, sum);
    return sum;
  }
}

/** Parts that do not overlap, along one axis, in its order. */
function groupsOf(parts: readonly Part[]): Part[][] {
  const groups: Part[][] = [];
  for (const part of [...parts].sort((a, b) => a.axis - b.axis || a.start - b.start)) {
    const group = groups.find((each) => {
      const last = each.at(-1) as Part;
      return last.axis === part.axis && pastOf(last) <= part.start;
    });
    if (group) group.push(part);
    else groups.push([part]);
  }
  return groups;
}

const pastOf = ({ axis, start, gradient }: Part) => start + (gradient.shape[axis] as number);

/** The gradient with respect to the whole, zero where no part is; takes over theirs. */
function together(shape: Shape, parts: readonly Part[]): Tensor {
  const [{ axis, gradient }] = parts as [Part];
  const pieces: Tensor[] = [];
  const gap = (from: number, to: number) => {
    if (from < to)
      pieces.push(
        zeros(
          gradient.runtime,
          shape.map((extent, at) => (at === axis ? to - from : extent)),
        ),
      );
  };
  let past = 0;
  for (const part of parts) {
    gap(past, part.start);
    pieces.push(part.gradient);
    past = pastOf(part);
  }
  gap(past, shape[axis] as number);
  const whole = concat(pieces as Tensor<'f32'>[], axis);
  for (const piece of pieces) piece.dispose();
  return whole;
}

/** Over the axes along which a tensor of `shape` was repeated. */
function summed(gradient: Tensor, shape: Shape): Tensor {
  const front = gradient.rank - shape.length;
  const axes = [...gradient.shape.keys()].filter(
    (axis) => axis < front || shape[axis - front] !== gradient.shape[axis],
  );
  using sums = sum(gradient, { axes });
  return sums.reshape(shape);
}

/** Takes over both. */
function added(a: Tensor, b: Tensor): Tensor {
  const [left, right] = [contiguous(a), contiguous(b)];
  const result = add(left, right);
  for (const each of [a, b, left, right]) each.dispose();
  return result;
}

/** The same elements in a tensor of its own, which no tape tracks. */
export function viewOf<D extends DType>({
  storage,
  dtype,
  shape,
  strides,
  offset,
}: Place & { readonly dtype: D }): Tensor<D> {
  return new Tensor(storage.retain(), dtype, shape, strides, offset);
}
