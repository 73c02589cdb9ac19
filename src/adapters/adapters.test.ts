/** With the packages themselves: TensorFlow.js, jax-js, and onnxruntime's tensors, which -web and -node share. */
import '@tensorflow/tfjs-backend-cpu';
import { defaultDevice, init, numpy } from '@jax-js/jax';
import * as tf from '@tensorflow/tfjs-core';
import * as ort from 'onnxruntime-common';
import { afterAll, describe, expect, inject, test } from 'vitest';
import { strongDevice } from '../../test/gpu-device';
import { createRuntime, multiply, type Tensor } from '../index';
import { fromJax, fromOnnxruntime, fromTensorFlow, toJax, toOnnxruntime, toTensorFlow } from './index';

const runtime = await createRuntime({ threads: 1 });
await tf.setBackend('cpu');
await init('cpu');
defaultDevice('cpu');
afterAll(() => runtime.dispose());

const numbers = Float32Array.of(1, 2, 3, 4, 5, 6);
const halves = Uint16Array.of(0x3c00, 0x4000, 0xc000);

test('onnxruntime: there and back', async () => {
  const x = new ort.Tensor('float32', numbers, [2, 3]);
  using own = fromOnnxruntime(runtime, x);
  expect([own.dtype, own.shape]).toEqual(['f32', [2, 3]]);
  using doubled = multiply(own as Tensor<'f32'>, runtime.tensor([2], []));
  const back = await toOnnxruntime(ort, doubled);
  expect(back).toBeInstanceOf(ort.Tensor);
  expect([back.type, back.dims, [...(back.data as Float32Array)]]).toEqual(['float32', [2, 3], [2, 4, 6, 8, 10, 12]]);
  // In f16 data are a Uint16Array of bits or, on newer platforms, a Float16Array.
  const half = new ort.Tensor('float16', halves, [3]);
  using ownHalf = fromOnnxruntime(runtime, half);
  expect(await ownHalf.read()).toEqual(halves);
  expect((await toOnnxruntime(ort, ownHalf)).data).toEqual(half.data);
  using flags = fromOnnxruntime(runtime, new ort.Tensor('bool', [true, false], [2]));
  expect([flags.dtype, [...(await flags.read())]]).toEqual(['u8', [1, 0]]);
});

test('TensorFlow.js: there and back', async () => {
  const x = tf.transpose(tf.tensor(numbers, [3, 2]));
  using own = await fromTensorFlow(runtime, x);
  expect([own.dtype, own.shape, [...(await own.read())]]).toEqual(['f32', [2, 3], [1, 3, 5, 2, 4, 6]]);
  const back = await toTensorFlow(tf, own.permute([1, 0]));
  expect([back.dtype, back.shape, [...back.dataSync()]]).toEqual(['float32', [3, 2], [...numbers]]);
  using whole = await fromTensorFlow(runtime, tf.tensor([1, -2], [2], 'int32'));
  expect([whole.dtype, [...(await whole.read())]]).toEqual(['i32', [1, -2]]);
  using flags = await fromTensorFlow(runtime, tf.tensor([true, false], [2]));
  expect((await toTensorFlow(tf, flags)).dtype).toBe('bool');
});

test('jax-js: there and back, and the array keeps its reference', async () => {
  const x = numpy.array(numbers, { shape: [3, 2] }).transpose();
  using own = await fromJax(runtime, x);
  expect([own.dtype, own.shape, [...(await own.read())]]).toEqual(['f32', [2, 3], [1, 3, 5, 2, 4, 6]]);
  expect(x.refCount).toBe(1);
  x.dispose();
  const back = await toJax(numpy, own);
  expect([back.dtype, back.shape, [...(await back.data())]]).toEqual(['float32', [2, 3], [1, 3, 5, 2, 4, 6]]);
  using half = runtime.tensor(halves, [3], 'f16');
  const backHalf = await toJax(numpy, half);
  expect([backHalf.dtype, [...(await backHalf.ref.data())]]).toEqual(['float16', [1, 2, -2]]);
  using again = await fromJax(runtime, backHalf);
  expect(await again.read()).toEqual(halves);
  backHalf.dispose();
});

test('what the other side lacks is refused, by name', async () => {
  using bfloat = runtime.empty([2], 'bf16');
  const lacking = 'x must be f32, f16, i32, u8, i8, which onnxruntime has too, got bf16: cast it';
  await expect(toOnnxruntime(ort, bfloat)).rejects.toThrow(lacking);
  await expect(toTensorFlow(tf, bfloat)).rejects.toThrow('which TensorFlow.js has too, got bf16');
  await expect(toJax(numpy, bfloat)).rejects.toThrow('which jax-js has too, got bf16');
  const long = new ort.Tensor('int64', [1n], [1]);
  expect(() => fromOnnxruntime(runtime, long)).toThrow(
    "the dtype of onnxruntime's x must be float32, float16, int32, uint8, bool, int8, got 'int64'",
  );
  const texture = { type: 'float32', dims: [1], location: 'texture', data: undefined, gpuBuffer: undefined };
  expect(() => fromOnnxruntime(runtime, texture)).toThrow("x lies in 'texture': await its getData() first");
  await expect(toOnnxruntime({} as typeof ort, bfloat)).rejects.toThrow(lacking);
  using own = runtime.tensor([1], [1]);
  await expect(toOnnxruntime({} as typeof ort, own)).rejects.toThrow('ort must have the class Tensor');
  await expect(toOnnxruntime(ort, own, { gpu: true })).rejects.toThrow('gpuBuffer of a wasm tensor');
});

/** As TensorFlow.js and jax-js hand out memory on their WebGPU backends, which are not here. */
describe.runIf(inject('hasGpu'))('on the GPU', () => {
  const usage = 0x80 | 0x4 | 0x8;

  test('nothing goes by way of the host, and buffers stay whose they are', async () => {
    const device = await strongDevice();
    const gpu = await createRuntime({ backend: 'webgpu', webgpu: { device } });
    const buffer = device.createBuffer({ size: 24, usage });
    device.queue.writeBuffer(buffer, 0, numbers);

    const x = ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: [2, 3] });
    const own = fromOnnxruntime(gpu, x);
    expect([...(await own.read())]).toEqual([...numbers]);
    const back = await toOnnxruntime(ort, own, { gpu: true });
    expect([back.location, back.gpuBuffer, back.dims]).toEqual(['gpu-buffer', buffer, [2, 3]]);
    await expect(toOnnxruntime(ort, own.slice(0, 1, 2), { gpu: true })).rejects.toThrow(
      'x must begin where its buffer',
    );

    let disposed = 0;
    const shared = { buffer, tensorRef: { dispose: () => disposed++ } };
    const ofTensorFlow = { dtype: 'float32', shape: [6], dataToGPU: () => shared, data: () => Promise.reject() };
    const copied = await fromTensorFlow(gpu, ofTensorFlow, { gpu: true });
    expect(disposed).toBe(1);
    device.queue.writeBuffer(buffer, 0, new Float32Array(6));
    expect([...(await copied.read())]).toEqual([...numbers]);
    const handed = await toTensorFlow({ tensor: (...given: unknown[]) => given }, copied, { gpu: true });
    expect(handed).toEqual([{ buffer: copied.gpuBuffer.buffer }, [6], 'float32']);

    const array = {
      dtype: 'float32',
      shape: [3, 2],
      ref: { data: () => Promise.reject(), gpuBuffer: async () => buffer },
    };
    const ofJax = await fromJax(gpu, array, { gpu: true });
    expect([...(await ofJax.read())]).toEqual([0, 0, 0, 0, 0, 0]);
    gpu.dispose();
    device.queue.writeBuffer(buffer, 0, numbers);
    await device.queue.onSubmittedWorkDone();
    device.destroy();
  });
});
