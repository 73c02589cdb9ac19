/**
 * Watches for uncaught errors and the loss of GPU devices, which are reported outside the calls that cause them. Every device
 * made on this page is watched.
 */
export function watchGpu(): { readonly lost: Promise<never>; check(): void } {
  const uncaught: string[] = [];
  let lose: (error: Error) => void = () => {};
  const lost = new Promise<never>((_, reject) => {
    lose = reject;
  });
  // It may be lost while nobody is waiting.
  lost.catch(() => {});
  if (globalThis.GPUAdapter) {
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (descriptor) {
      const device = await requestDevice.call(this, descriptor);
      device.addEventListener('uncapturederror', ({ error }) => uncaught.push(error.message));
      device.lost.then(({ reason, message }) => {
        if (reason !== 'destroyed') lose(new Error(`the GPU device was lost: ${message}`));
      });
      return device;
    };
  }
  return {
    lost,
    check() {
      const [first] = uncaught.splice(0);
      if (first !== undefined) throw new Error(`the GPU reported: ${first}`);
    },
  };
}
