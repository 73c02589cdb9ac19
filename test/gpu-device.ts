/** Devices such as a caller brings along. */
import { openDevice } from '../src/runtime/webgpu/adapter';

/** A device with the default limits and no features, on the implementation that the library uses. */
export async function callersDevice(): Promise<GPUDevice> {
  if (!globalThis.navigator?.gpu) {
    // The implementation of Node's package has to stay alive, for which the library takes care of its own only.
    const name = 'webgpu';
    const { create } = (await import(/* @vite-ignore */ name)) as typeof import('webgpu');
    kept ??= create([]) as GPU;
  }
  const adapter = await (globalThis.navigator?.gpu ?? kept).requestAdapter();
  return (await adapter?.requestDevice()) as GPUDevice;
}

let kept: GPU | undefined;

/** A device of the library's own kind, to be handed in, so that a test can do things to it. */
export async function strongDevice(): Promise<GPUDevice> {
  return (await openDevice({})).device;
}

/** A device that does not say that it is software, so that it gets the kernels of hardware. */
export function asOnHardware(device: GPUDevice): GPUDevice {
  const unnamed = { description: 'as on hardware', architecture: '', isFallbackAdapter: false };
  return disguised(device, { adapterInfo: disguised(device.adapterInfo, unnamed) });
}

/** A device with other limits than its own. */
export function limited(device: GPUDevice, limits: Partial<GPUSupportedLimits>): GPUDevice {
  return disguised(device, { limits: disguised(device.limits, limits) });
}

/** An object in the place of `target`, some of whose properties are others. */
export function disguised<T extends object>(target: T, properties: Partial<Record<keyof T, unknown>>): T {
  return new Proxy(target, {
    get(_, name) {
      if (name in properties) return properties[name as keyof T];
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
