/** What the adapters share: names of dtypes, and tensors that lie in a GPU's memory. */
import { checkOptions, show } from '../check';
import { DTypeError, ParameterError, UnsupportedError } from '../errors';
import { checkTensors } from '../ops/check';
import { Runtime } from '../runtime/runtime';
import type { GpuBufferLike } from '../runtime/webgpu/adapter';
import type { DType } from '../tensor/dtype';
import type { Tensor } from '../tensor/tensor';

export interface AdapterOptions {
  /** Whether the numbers stay on the GPU, whose device both sides must share. Default false: through host memory. */
  readonly gpu?: boolean | undefined;
}

/** Another library's names of dtypes. */
export type Names = Partial<Readonly<Record<DType, readonly string[]>>>;

/** Throws unless a foreign tensor, which `isOne` tells, can be taken over by the runtime. */
export function checkForeign<T>(
  adapter: string,
  runtime: Runtime,
  x: T,
  isOne: (x: Partial<T>) => boolean,
  options: AdapterOptions = {},
): void {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  runtime.assertUsable(adapter);
  if (x === null || typeof x !== 'object' || !isOne(x))
    throw new ParameterError(`x of ${adapter} must be a tensor of that library, got ${show(x)}`);
  checkAdapterOptions(adapter, options);
  if (options.gpu && !runtime.backend.adopt)
    throw new UnsupportedError(`gpu needs backend 'webgpu', this runtime's is '${runtime.backend.name}'`);
}

export function checkAdapterOptions(adapter: string, options: AdapterOptions): void {
  checkOptions(adapter, options, ['gpu']);
  const { gpu } = options;
  if (gpu !== undefined && typeof gpu !== 'boolean')
    throw new ParameterError(`gpu must be true or false, got ${show(gpu)}`);
}

/** The library's name for the dtype of x. */
export function nameOf(library: string, x: Tensor, names: Names): string {
  checkTensors({ x });
  x.assertUsable('x');
  const [name] = names[x.dtype] ?? [];
  if (name !== undefined) return name;
  throw new DTypeError(`x must be ${Object.keys(names).join(', ')}, which ${library} has too, got ${x.dtype}: cast it`);
}

/** The dtype that the library calls `name`. */
export function dtypeOf(library: string, name: unknown, names: Names): DType {
  const found = Object.entries(names).find(([, all]) => all.includes(name as string));
  if (found) return found[0] as DType;
  const known = Object.values(names).flat().join(', ');
  throw new DTypeError(`the dtype of ${library}'s x must be ${known}, got ${show(name)}`);
}

/** The GPU buffer that x begins in, once earlier calls are submitted. */
export async function wholeBuffer(x: Tensor): Promise<GpuBufferLike> {
  await x.runtime.finish();
  const { buffer, byteOffset } = x.gpuBuffer;
  if (byteOffset === 0) return buffer;
  throw new UnsupportedError(
    `x must begin where its buffer does, got a view from byte ${byteOffset}: copy it by contiguous()`,
  );
}
