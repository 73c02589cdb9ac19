import { show } from '../check';
import { ParameterError } from '../errors';
import { contiguous } from '../ops/copy';
import type { Runtime } from '../runtime/runtime';
import type { GpuBufferLike } from '../runtime/webgpu/adapter';
import type { Numbers } from '../tensor/host';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import {
  type AdapterOptions,
  checkAdapterOptions,
  checkForeign,
  dtypeOf,
  type Names,
  nameOf,
  wholeBuffer,
} from './foreign';

/** A `tf.Tensor` of TensorFlow.js. */
export interface TensorFlowTensor {
  readonly dtype: string;
  readonly shape: Shape;
  data(): Promise<unknown>;
  dataToGPU(): { readonly buffer?: unknown; readonly tensorRef: { dispose(): void } };
}

/** TensorFlow.js, of which `tf.tensor` is used. */
export interface TensorFlow<T> {
  tensor(values: never, shape: never, dtype: never): T;
}

const NAMES: Names = { f32: ['float32'], i32: ['int32'], u8: ['bool'] };

/**
 * A copy of a tensor of TensorFlow.js. With `gpu` it stays on the device, that of its WebGPU backend: `tf.backend().device`.
 *
 * @throws {DTypeError} a dtype that Saccade lacks; with `gpu` also bool
 * @throws {UnsupportedError} `gpu` on another backend than webgpu
 */
export async function fromTensorFlow(
  runtime: Runtime,
  x: TensorFlowTensor,
  options: AdapterOptions = {},
): Promise<Tensor> {
  checkForeign('fromTensorFlow', runtime, x, ({ dataToGPU }) => typeof dataToGPU === 'function', options);
  const dtype = dtypeOf('TensorFlow.js', x.dtype, NAMES);
  if (!options.gpu) return runtime.tensor((await x.data()) as Numbers, x.shape, dtype);
  const { buffer, tensorRef } = x.dataToGPU();
  try {
    // What TensorFlow.js hands out goes back to its pool.
    const own = runtime.scope(() => contiguous(runtime.fromGpuBuffer(buffer as GpuBufferLike, x.shape, dtype)));
    await runtime.finish();
    return own;
  } finally {
    tensorRef.dispose();
  }
}

/**
 * A tensor of TensorFlow.js, `tf`, with a copy of the elements; with `gpu` made on the device.
 *
 * @throws {DTypeError} f16, bf16, i8, which its tensors lack
 * @throws {UnsupportedError} with `gpu`: strided views, or those of a part
 */
export async function toTensorFlow<T>(tf: TensorFlow<T>, x: Tensor, options: AdapterOptions = {}): Promise<T> {
  const dtype = nameOf('TensorFlow.js', x, NAMES);
  checkAdapterOptions('toTensorFlow', options);
  if (typeof tf?.tensor !== 'function') throw new ParameterError(`tf must have the function tensor, got ${show(tf)}`);
  const values = options.gpu ? { buffer: await wholeBuffer(x) } : await x.read();
  return tf.tensor(values as never, x.shape as never, dtype as never);
}
