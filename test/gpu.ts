/** Asks once a run whether Node has a GPU, if only one in software: without it WebGPU is not tested, which CI does not accept. */
import type { TestProject } from 'vitest/node';
import { openDevice } from '../src/runtime/webgpu/adapter';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of random cases. */
    seed: number;
    /** Whether tests of the webgpu backend run. */
    hasGpu: boolean;
  }
}

export default async function setup({ provide }: TestProject): Promise<void> {
  try {
    const { device } = await openDevice({});
    device.destroy();
    provide('hasGpu', true);
  } catch (error) {
    const message = `WebGPU IS NOT TESTED: ${(error as Error).message}`;
    if (process.env.CI) throw new Error(message);
    console.error(`\n\x1b[41m ${message} \x1b[0m\n`);
  }
}
