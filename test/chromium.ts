/** How the machine's own Chromium is started; where there is no GPU, its WebGPU computes in software. */
import type { LaunchOptions } from 'playwright-core';

const QUIET = ['--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const CHROMIUM: LaunchOptions = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--no-first-run', '--enable-unsafe-webgpu', ...QUIET],
};
