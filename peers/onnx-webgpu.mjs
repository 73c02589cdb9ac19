/** ONNX models of one attention node on onnxruntime-web's WebGPU: tokens and results stay on the device. */
import { model } from './onnx-model.mjs';

export async function prepareOnGpu({ InferenceSession, Tensor, env }, node) {
  const session = await InferenceSession.create(model(node), {
    executionProviders: ['webgpu'],
    preferredOutputLocation: 'gpu-buffer',
  });
  const device = await env.webgpu.device;
  const feeds = Object.fromEntries(
    node.inputs.filter(Boolean).map(({ name, data, shape }) => [name, toDevice(device, Tensor, data, shape)]),
  );
  const landing = device.createBuffer({ size: 4, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  let results = {};
  return {
    async run() {
      for (const result of Object.values(results)) result.dispose();
      results = await session.run(feeds, ['out']);
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(results.out.gpuBuffer, 0, landing, 0, 4);
      device.queue.submit([encoder.finish()]);
      await landing.mapAsync(GPUMapMode.READ);
      landing.unmap();
    },
    result: () => results.out.getData(),
  };
}

/** Counts of tokens stay where the operator reads them, in host memory. */
function toDevice(device, Tensor, data, dims) {
  if (data instanceof Int32Array) return new Tensor('int32', data, dims);
  const buffer = device.createBuffer({
    size: data.byteLength,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(buffer, 0, data);
  return Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims });
}
