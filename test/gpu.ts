/** Asks once a run whether Node has a GPU, if only one in software: without it WebGPU is not tested, which CI does not accept. */
import type { TestProject } from 'vitest/node';
import { openDevice } from '../src/runtime/webgpu/adapter';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of random cases. */
    seed: number;
    /** Whether there is a GPU, if only one in software. */
    hasGpu: boolean;
    /** Whether the project tests on a GPU what another one tests on the CPU. */
    onGpu: boolean;
    /** Of subgroups, where the adapter lets kernels choose. */
    subgroupSizes: number[];
  }
}

export default async function setup({ provide }: TestProject): Promise<void> {
  try {
    const { device } = await openDevice({});
    const { subgroupMinSize: least = 0, subgroupMaxSize: most = 0 } = device.adapterInfo;
    device.destroy();
    provide('hasGpu', true);
    provide(
      'subgroupSizes',
      [4, 8, 16, 32, 64, 128].filter((size) => least < most && size >= least && size <= most),
    );
  } catch (error) {
    const message = `WebGPU IS NOT TESTED: ${(error as Error).message}`;
    if (process.env.CI) throw new Error(message);
    console.error(`\n\x1b[41m ${message} \x1b[0m\n`);
  }
}
