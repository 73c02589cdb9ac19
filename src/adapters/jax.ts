import { show } from '../check';
import { ParameterError } from '../errors';
import type { Runtime } from '../runtime/runtime';
import type { GpuBufferLike } from '../runtime/webgpu/adapter';
import type { Numbers } from '../tensor/host';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { type AdapterOptions, checkForeign, dtypeOf, type Names, nameOf } from './foreign';

/** An array of jax-js, whose functions consume a reference; `ref` adds one. */
export interface JaxArray {
  readonly dtype: string;
  readonly shape: Shape;
  readonly ref: { data(): Promise<unknown>; gpuBuffer(): Promise<unknown> };
}

/** `numpy` of jax-js, of which `array` is used. */
export interface JaxNumpy<T> {
  array(values: never, options: never): T;
}

interface Halves {
  readonly Float16Array: new (buffer: ArrayBufferLike) => unknown;
}

const NAMES: Names = { f32: ['float32'], f16: ['float16'], i32: ['int32'] };

/**
 * A copy of an array of jax-js, which keeps its reference. With `gpu` it is the array's own memory on the device of jax-js,
 * `runtime.fromGpuBuffer`: nothing may be written to it, and the array must stay as long as it is used.
 *
 * @throws {DTypeError} a dtype that Saccade lacks
 * @throws {UnsupportedError} `gpu` on another backend than webgpu
 */
export async function fromJax(runtime: Runtime, x: JaxArray, options: AdapterOptions = {}): Promise<Tensor> {
  // To read `ref` would be to count one.
  checkForeign('fromJax', runtime, x, (given) => typeof given.dtype === 'string' && 'ref' in given, options);
  const dtype = dtypeOf('jax-js', x.dtype, NAMES);
  const shape = [...x.shape];
  if (options.gpu) return runtime.fromGpuBuffer((await x.ref.gpuBuffer()) as GpuBufferLike, shape, dtype);
  return runtime.tensor((await x.ref.data()) as Numbers, shape, dtype);
}

/**
 * An array of jax-js, made by its `numpy`, with a copy of the elements; it takes none that lie on a GPU.
 *
 * @throws {DTypeError} bf16, u8, i8, which its arrays lack
 */
export async function toJax<T>(numpy: JaxNumpy<T>, x: Tensor): Promise<T> {
  const dtype = nameOf('jax-js', x, NAMES);
  if (typeof numpy?.array !== 'function')
    throw new ParameterError(`numpy must have the function array, got ${show(numpy)}`);
  const data = await x.read();
  // Bits of f16 are no numbers to it.
  const values = x.dtype === 'f16' ? new (globalThis as unknown as Halves).Float16Array(data.buffer) : data;
  return numpy.array(values as never, { shape: [...x.shape], dtype } as never);
}
