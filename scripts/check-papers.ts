/** Refuses papers that contradict the methods, models and experiments that there are, and methods without a page that fits them. */
import { join, resolve } from 'node:path';
import { runnerImport } from 'vite';

const root = resolve(import.meta.dirname, '..');

const load = async <T>(path: string) => (await runnerImport<T>(join(root, path))).module;
const { checkPapers } = await load<typeof import('../src/papers/check.ts')>('src/papers/check.ts');
const { papers } = await load<typeof import('../src/papers/index.ts')>('src/papers/index.ts');
const { methods } = await load<typeof import('../src/methods/registry.ts')>('src/methods/registry.ts');
const { models } = await load<typeof import('../src/models/registry.ts')>('src/models/registry.ts');
const { experiments } = await load<typeof import('../src/experiments/experiments.generated.ts')>(
  'src/experiments/experiments.generated.ts',
);
checkPapers(papers, { methods, models, measured: Object.keys(experiments) });
await load('scripts/check-pages.ts');
