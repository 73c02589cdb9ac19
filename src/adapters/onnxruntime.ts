import { show } from '../check';
import { ParameterError, UnsupportedError } from '../errors';
import type { Runtime } from '../runtime/runtime';
import type { GpuBufferLike } from '../runtime/webgpu/adapter';
import type { TypedArray } from '../tensor/dtype';
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

/** An `ort.Tensor` of onnxruntime-web or -node. */
export interface OnnxruntimeTensor {
  readonly type: string;
  readonly dims: Shape;
  readonly location: string;
  readonly data: unknown;
  readonly gpuBuffer: unknown;
}

/** onnxruntime-web or -node, of which its class of tensors is used. */
export interface Onnxruntime<T> {
  readonly Tensor: {
    new (type: never, data: never, dims?: Shape): T;
    fromGpuBuffer(buffer: never, options: never): T;
  };
}

const NAMES: Names = { f32: ['float32'], f16: ['float16'], i32: ['int32'], u8: ['uint8', 'bool'], i8: ['int8'] };

/**
 * A tensor of onnxruntime's: a copy of one in host memory; of one on the GPU the same memory, which stays onnxruntime's, as
 * `runtime.fromGpuBuffer` says. Its device is `await ort.env.webgpu.device`.
 *
 * @throws {DTypeError} a type that Saccade lacks, such as int64
 * @throws {UnsupportedError} one that lies elsewhere, such as in a texture
 */
export function fromOnnxruntime(runtime: Runtime, x: OnnxruntimeTensor): Tensor {
  checkForeign('fromOnnxruntime', runtime, x, ({ type, dims }) => typeof type === 'string' && Array.isArray(dims));
  const { type, dims, location } = x;
  const dtype = dtypeOf('onnxruntime', type, NAMES);
  if (location === 'gpu-buffer') return runtime.fromGpuBuffer(x.gpuBuffer as GpuBufferLike, dims, dtype);
  if (location === 'cpu' || location === 'cpu-pinned') return runtime.tensor(x.data as Numbers, dims, dtype);
  throw new UnsupportedError(`x lies in ${show(location)}: await its getData() first`);
}

/**
 * A tensor for onnxruntime, `ort`, with a copy of the elements; on the GPU the memory of x itself, of which no part is
 * copied, and which must stay until onnxruntime has used it.
 *
 * @throws {DTypeError} bf16, which its tensors lack
 * @throws {UnsupportedError} on the GPU: strided views, or those of a part
 */
export async function toOnnxruntime<T>(ort: Onnxruntime<T>, x: Tensor, options: AdapterOptions = {}): Promise<T> {
  const type = nameOf('onnxruntime', x, NAMES);
  checkAdapterOptions('toOnnxruntime', options);
  if (typeof ort?.Tensor !== 'function') throw new ParameterError(`ort must have the class Tensor, got ${show(ort)}`);
  if (options.gpu)
    return ort.Tensor.fromGpuBuffer((await wholeBuffer(x)) as never, { dataType: type, dims: x.shape } as never);
  return new ort.Tensor(type as never, (await x.read()) as TypedArray as never, x.shape);
}
