/** What the ops with one f32 result share. */
import { DTypeError, ShapeError } from '../errors';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { DType } from '../tensor/dtype';
import { formatShape, type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkControl, checkOptions, checkTensors, commonRuntime } from './check';

export interface ResultOptions<D extends DType = 'f32'> extends Control {
  /** Where to write: a contiguous tensor of the result's shape that no input shares memory with. */
  readonly out?: Tensor<D> | undefined;
}

const OPTION_NAMES = ['out', 'signal', 'onProgress'];

/** Throws unless the tensors share a runtime, are f32 and not empty, and the options (`more` are the op's own) known. */
export function checkFloat32(
  op: string,
  tensors: Readonly<Record<string, Tensor>>,
  options: Control,
  more: readonly string[] = [],
): void {
  checkTensors(tensors);
  commonRuntime(tensors);
  checkOptions(op, options, more.length > 0 ? [...more, ...OPTION_NAMES] : OPTION_NAMES);
  checkControl(options);
  for (const name in tensors) {
    const { dtype, shape, size } = tensors[name] as Tensor;
    if (dtype !== 'f32') throw new DTypeError(`${name} must be f32, got ${dtype}`);
    if (size === 0) throw new ShapeError(`${name} ${formatShape(shape)} is empty`);
  }
}

/** A new tensor of zeros. */
export function zeros(runtime: Runtime, shape: Shape): Tensor<'f32'> {
  return runtime.tensor(new Float32Array(sizeOf(shape)), shape);
}

/** Throws unless the tensors lie in memory in row-major order. */
export function checkContiguous(tensors: Readonly<Record<string, Tensor>>): void {
  for (const name in tensors) {
    const { isContiguous, shape, strides } = tensors[name] as Tensor;
    if (!isContiguous)
      throw new ShapeError(`${name} ${formatShape(shape)} must be contiguous, got strides ${formatShape(strides)}`);
  }
}
