/**
 * Collects the papers of src/papers, a file each, and the experiments of src/experiments, a folder each; refuses what
 * contradicts the methods and models that there are, and methods without a page that fits them.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { runnerImport } from 'vite';

const root = resolve(import.meta.dirname, '..');

const ids = globSync('src/papers/*.ts', { cwd: root })
  .filter((path) => /^export const paper\b/m.test(readFileSync(join(root, path), 'utf8')))
  .map((path) => basename(path, '.ts'))
  .sort();
const imports = ids.map((id, at) => `import { paper as paper${at} } from './${id}';`);
const entries = ids.map((id, at) => `  '${id}': paper${at},`);
writeFileSync(
  join(root, 'src/papers/papers.generated.ts'),
  `${imports.join('\n')}\n\nexport const files = {\n${entries.join('\n')}\n};\n`,
);

const measured = globSync('src/experiments/*/index.ts', { cwd: root })
  .map((path) => basename(dirname(path)))
  .sort();
const loaders = measured.map((id) => `  '${id}': () => import('./${id}'),`);
writeFileSync(
  join(root, 'src/experiments/experiments.generated.ts'),
  `export const experiments = {\n${loaders.join('\n')}\n};\n`,
);

const load = async <T>(path: string) => (await runnerImport<T>(join(root, path))).module;
const { checkPapers } = await load<typeof import('../src/papers/check.ts')>('src/papers/check.ts');
const { papers } = await load<typeof import('../src/papers/index.ts')>('src/papers/index.ts');
const { methods } = await load<typeof import('../src/methods/registry.ts')>('src/methods/registry.ts');
const { models } = await load<typeof import('../src/models/registry.ts')>('src/models/registry.ts');
checkPapers(papers, { methods, models, measured });
await load('scripts/check-pages.ts');
