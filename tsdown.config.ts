import { defineConfig } from 'tsdown';

/**
 * One build of all entries, so that they share their chunks. `index`, `bench/page` and what they import stay free of
 * Node's modules; only chunks that the command line alone reaches import them.
 */
export default defineConfig({
  entry: { index: 'src/index.ts', 'cli/bin': 'src/cli/bin.ts', 'bench/page': 'src/bench/browser/page.ts' },
  platform: 'neutral',
  target: 'es2022',
  fixedExtension: true,
  deps: { neverBundle: /^node:/ },
  dts: { entry: 'src/index.ts' },
  // Tensors are disposable; whoever compiles for an older library of types shall not need to know.
  banner: { dts: '/// <reference lib="esnext.disposable" />' },
  logLevel: 'warn',
  checks: { pluginTimings: false },
});
