import { defineConfig } from 'tsdown';
import manifest from './package.json' with { type: 'json' };
import { commit } from './scripts/commit.ts';

/** The source of each of the package's subpaths. */
const library = Object.values(manifest.exports)
  .flatMap((entry) => (typeof entry === 'string' ? [] : [entry.default]))
  .map((path) => path.replace('./dist/', 'src/').replace('.mjs', '.ts'));

/**
 * One module for each of the source's, so that bundlers drop those a page does not need, and the build puts the kernels beside them.
 * The library, the benchmark's page and what they import stay free of Node's modules; only what the command line alone
 * reaches imports them.
 */
export default defineConfig({
  entry: [
    ...library,
    'src/cli/bin.ts',
    'src/cli/rank.ts',
    'src/bench/browser/page.ts',
    'src/bench/against-child.ts',
    'src/cli/serve-model.ts',
    'src/cli/sweep-child.ts',
    'src/sweep/page.ts',
    'src/bench/long-context/child.ts',
    'src/bench/longca/ours.ts',
    'src/bench/links/rank.ts',
  ],
  unbundle: true,
  copy: [
    { from: 'src/bench/links/links.c', to: 'dist', flatten: false },
    { from: 'src/default-model/*.{json,safetensors}', to: 'dist', flatten: false },
    { from: 'src/models/vision/trained/*/*.{json,safetensors}', to: 'dist', flatten: false },
    { from: 'src/pipelines/*/trained/*.{json,safetensors}', to: 'dist', flatten: false },
  ],
  // Workers of a sweep tell builds apart by it.
  define: { SACCADE_COMMIT: String(JSON.stringify(commit())) },
  platform: 'neutral',
  target: 'es2022',
  sourcemap: true,
  fixedExtension: true,
  deps: { neverBundle: /^node:/ },
  dts: { entry: library },
  // Tensors are disposable; whoever compiles for an older library of types shall not need to know.
  banner: { dts: '/// <reference lib="esnext.disposable" />' },
  logLevel: 'warn',
  checks: { pluginTimings: false },
});
