/** Collects the papers of src/papers, a file each, and the experiments of src/experiments, a folder each. */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

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
