/**
 * What GPU devices report beside the calls that cause it: errors that nobody caught, and their loss. Every device made
 * on this page is watched, whoever makes it.
 */
export function watchGpu(): { readonly lost: Promise<never>; check(): void } {
  const uncaught: string[] = [];
  let lose: (error: Error) => void = () => {};
  const lost = new Promise<never>((_, reject) => {
    lose = reject;
  });
  // It may be lost while nobody asks.
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
