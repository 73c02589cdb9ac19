/** The checks that ops share: each says what was expected and what came. */
import { checkOptions, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { groupBy } from '../group-by';
import type { Control } from '../runtime/backend';
import type { Expectation } from '../runtime/op';
import type { Runtime } from '../runtime/runtime';
import { bytesPerElement, type DType } from '../tensor/dtype';
import { formatShape, type Shape, sameShape } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';
import type { Operand, OperandForm } from './operand';

export { checkOptions };

/** Throws the signal's reason if the call was cancelled before it began. */
export function checkControl({ signal, onProgress }: Control): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new ParameterError(`signal must be an AbortSignal, got ${show(signal)}`);
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw new ParameterError(`onProgress must be a function, got ${show(onProgress)}`);
  signal?.throwIfAborted();
}

/** The runtime that all of the named tensors live on. */
export function commonRuntime(tensors: Readonly<Record<string, Pick<Operand, 'runtime' | 'assertUsable'>>>): Runtime {
  let runtime: Runtime | undefined;
  let first = '';
  // Small ops are about as fast as their checks: no list of entries is made.
  for (const name in tensors) {
    const tensor = tensors[name] as Operand;
    tensor.assertUsable(name);
    if (!runtime) {
      runtime = tensor.runtime;
      first = name;
    } else if (tensor.runtime !== runtime)
      throw new ParameterError(`${name} lives on another runtime than ${first}: make both with the same runtime`);
  }
  return runtime as Runtime;
}

/** What only the device can see of indices that pick among `count` rows. */
export function indicesWithin(indices: Tensor, count: number): Expectation[] {
  const error = (value: number, place: number) =>
    new ShapeError(`indices must be from 0 to ${count - 1}, got ${value} at element ${place} of indices`);
  return [{ tensor: indices, least: 0, most: count - 1, error }];
}

/** Throws unless `out`, in which the caller wants a result, can hold it without touching an input. */
export function checkOut(
  name: string,
  out: Tensor,
  shape: Shape,
  dtype: DType,
  inputs: Readonly<Record<string, Tensor>>,
): void {
  checkTensors({ [name]: out });
  commonRuntime({ ...inputs, [name]: out });
  if (!sameShape(out.shape, shape))
    throw new ShapeError(`${name} must have shape ${formatShape(shape)}, got ${formatShape(out.shape)}`);
  if (out.dtype !== dtype) throw new DTypeError(`${name} must be ${dtype}, got ${out.dtype}`);
  if (!out.isContiguous) throw new ShapeError(`${name} must be contiguous, got strides ${formatShape(out.strides)}`);
  for (const [input, tensor] of Object.entries(inputs)) {
    if (sharesMemory(tensor, out))
      throw new ParameterError(`${name} shares memory with ${input}: pass a tensor of its own`);
  }
}

/** Whether they are views of one tensor, or lie in the same place of a GPU buffer of the caller's. */
export function sharesMemory(a: Tensor, b: Tensor): boolean {
  return a.storage === b.storage || overlaps(a, b);
}

/** Throws if two results that the caller wants in tensors of its own, which are contiguous, lie in the same place. */
export function checkOutsApart(results: readonly (readonly [name: string, tensor: Tensor])[]): void {
  // An optimizer's step writes to hundreds of tensors: only those of one memory are compared.
  for (const near of groupBy(results, ([, tensor]) => memoryOf(tensor)).values())
    for (const [at, [name, tensor]] of near.entries()) {
      const other = near.slice(0, at).find(([, earlier]) => overlaps(earlier, tensor));
      if (other) throw new ParameterError(`${name} shares memory with ${other[0]}: pass a tensor of its own`);
    }
}

/** What tensors must have in common to meet: their storage, or the GPU buffer of the caller's that it is in. */
export const memoryOf = ({ runtime, storage }: Tensor): unknown =>
  runtime.backend.gpuBuffer?.(storage.buffer) ?? storage;

/** Whether what lies from the first byte of one to its last meets that of the other. */
export function overlaps(a: Tensor, b: Tensor): boolean {
  if (memoryOf(a) !== memoryOf(b)) return false;
  const [first, second] = [bytesOf(a), bytesOf(b)];
  return first.begin < second.end && second.begin < first.end;
}

/** From the first byte of a tensor to behind the last. */
function bytesOf({ shape, strides, offset, dtype }: Tensor): { readonly begin: number; readonly end: number } {
  const bytes = bytesPerElement(dtype);
  const last = shape.reduce((sum, extent, axis) => sum + (extent - 1) * (strides[axis] as number), offset);
  return { begin: offset * bytes, end: (last + 1) * bytes };
}

/** Throws unless every value is a tensor or, by its name, an operand of another kind. */
export function checkTensors(
  tensors: Readonly<Record<string, unknown>>,
  forms: Readonly<Record<string, OperandForm>> = {},
): void {
  for (const name in tensors) {
    const tensor = tensors[name];
    const { kind, only = false } = forms[name] ?? {};
    if ((tensor instanceof Tensor && !only) || (kind && tensor instanceof kind)) continue;
    if (only) throw new ParameterError(`${name} must be a ${kind?.name}, got ${show(tensor)}`);
    const expected = `a Tensor${kind ? ` or a ${kind.name}` : ''}`;
    throw new ParameterError(`${name} must be ${expected}, got ${show(tensor)}: make one with runtime.tensor()`);
  }
}

/** The tensors that are given, without those that were left out. */
export function presentOf(tensors: Readonly<{ [name: string]: Tensor | undefined }>): Record<string, Tensor> {
  const entries = Object.entries(tensors).filter((entry): entry is [string, Tensor] => entry[1] !== undefined);
  return Object.fromEntries(entries);
}
