import { afterEach, expect, test, vi } from 'vitest';
import { watchGpu } from './gpu-failures';

afterEach(() => vi.unstubAllGlobals());

/** A device made on a page whose GPU is watched, and the means to harm it. */
async function watchedDevice() {
  let lose: (info: { reason: string; message: string }) => void = () => {};
  const device = Object.assign(new EventTarget(), {
    lost: new Promise((resolve) => {
      lose = resolve;
    }),
  });
  class Adapter {
    async requestDevice(descriptor: unknown) {
      return Object.assign(device, { descriptor });
    }
  }
  vi.stubGlobal('GPUAdapter', Adapter);
  const gpu = watchGpu();
  expect(await new Adapter().requestDevice({ label: 'mine' })).toMatchObject({ descriptor: { label: 'mine' } });
  const report = (message: string) =>
    device.dispatchEvent(Object.assign(new Event('uncapturederror'), { error: { message } }));
  return { gpu, lose, report };
}

test('an error that nobody catches is told at the next check, and once', async () => {
  const { gpu, report } = await watchedDevice();
  gpu.check();
  report('binding too large');
  report('and what follows from it');
  expect(() => gpu.check()).toThrow('the GPU reported: binding too large');
  gpu.check();
});

test('a lost device is told to all who wait', async () => {
  const { gpu, lose } = await watchedDevice();
  lose({ reason: 'unknown', message: 'the process ended' });
  await expect(gpu.lost).rejects.toThrow('the GPU device was lost: the process ended');
});

test('a device that its owner destroys is not lost', async () => {
  const { gpu, lose } = await watchedDevice();
  lose({ reason: 'destroyed', message: '' });
  const kept = new Promise((resolve) => setTimeout(resolve, 10, 'kept'));
  expect(await Promise.race([gpu.lost, kept])).toBe('kept');
});

test('without WebGPU there is nothing to watch', () => {
  expect(() => watchGpu().check()).not.toThrow();
});
