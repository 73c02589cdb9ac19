import { defineConfig, type Rolldown } from 'tsdown';

/** Namespaces of the public API, which are entries of their own too. */
const NAMESPACES = ['adapters', 'feature-maps', 'masks', 'nn', 'scores'];
const library = ['src/index.ts', ...NAMESPACES.map((name) => `src/${name}/index.ts`)];

/**
 * A namespace that is imported from its own module loses in a bundler what a page does not use of it, such as the parser
 * behind `masks.from`; as an object within `index` it would keep all.
 */
const separateNamespaces: Rolldown.Plugin = {
  name: 'separate-namespaces',
  resolveId: {
    order: 'pre',
    handler: (id, importer) =>
      importer?.endsWith('/src/index.ts') && NAMESPACES.includes(id.slice(2))
        ? { id: `${id}/index.mjs`, external: 'relative' }
        : undefined,
  },
};

/**
 * One module for each of the source's, so that bundlers drop those a page does not need, with the kernels beside them.
 * `index`, the benchmark's page and what they import stay free of Node's modules; only what the command line alone
 * reaches imports them.
 */
export default defineConfig({
  entry: [...library, 'src/cli/bin.ts', 'src/bench/browser/page.ts'],
  unbundle: true,
  copy: [{ from: 'src/**/*.wasm', to: 'dist', flatten: false }],
  plugins: [separateNamespaces],
  platform: 'neutral',
  target: 'es2022',
  fixedExtension: true,
  deps: { neverBundle: /^node:/ },
  dts: { entry: library },
  // Tensors are disposable; whoever compiles for an older library of types shall not need to know.
  banner: { dts: '/// <reference lib="esnext.disposable" />' },
  logLevel: 'warn',
  checks: { pluginTimings: false },
});
