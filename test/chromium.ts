/** How the machine's own Chromium is started; where there is no GPU, its WebGPU computes in software. */
import type { LaunchOptions } from 'playwright-core';

const QUIET = ['--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** As users start it. */
export const CHROMIUM = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--no-first-run', '--enable-unsafe-webgpu', ...QUIET],
} satisfies LaunchOptions;

/** It compiles many kernels ten times as fast, and kernels find arbitrary numbers in a workgroup's memory, not zeros. */
export const CHROMIUM_FOR_KERNELS = {
  ...CHROMIUM,
  args: [...CHROMIUM.args, '--enable-dawn-features=disable_workgroup_init'],
} satisfies LaunchOptions;
