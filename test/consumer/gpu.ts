/** A program with GPU objects of its own, which needs no types of WebGPU to be installed: it is only type-checked. */
import * as saccade from '../../src/index';

export async function doubled(
  device: saccade.GpuDeviceLike,
  buffer: saccade.GpuBufferLike,
  size: number,
): Promise<{ buffer: saccade.GpuBufferLike; byteOffset: number; bytes: number }> {
  const runtime = await saccade.createRuntime({ backend: 'webgpu', webgpu: { device, subgroups: false } });
  const half = runtime.fromGpuBuffer(buffer, [size / 2, 2], 'f32', 0);
  const out: saccade.Tensor<'f32'> = saccade.add(half, half);
  await runtime.finish();
  return out.gpuBuffer;
}
