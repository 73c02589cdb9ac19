/** The README's programs are typed as a new project checks them: with the settings that `tsc --init` writes. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const run = (args: readonly string[], cwd: string) => promisify(execFile)(process.execPath, [tsc, ...args], { cwd });

/** What later programs go on with: the first one's runtime and tensors, and the gradient of a loss. */
const BEFORE =
  "import type { Runtime, Tensor } from 'saccade';\ndeclare const runtime: Runtime;\ndeclare const q: Tensor, k: Tensor, v: Tensor, gradOut: Tensor;\n";

test("the README's programs compile under tsc --init", async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const programs = [...readme.matchAll(/```[jt]s\n([\s\S]*?)```/g)].map(([, program]) => program as string);
  expect(programs.length).toBeGreaterThan(1);
  const project = await mkdtemp(join(tmpdir(), 'saccade-readme-'));
  try {
    await mkdir(join(project, 'node_modules'));
    await symlink(root, join(project, 'node_modules/saccade'));
    await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
    await run(['--init'], project);
    for (const [at, program] of programs.entries()) {
      const needsMore = !/const \w*\bq\b|runtime = /.test(program);
      await writeFile(join(project, `program-${at}.ts`), needsMore ? BEFORE + program : program);
    }
    const { stdout } = await run(['--noEmit', '-p', '.'], project).catch((error: { stdout: string }) => error);
    expect(stdout).toBe('');
  } finally {
    await rm(project, { recursive: true, force: true });
  }
});
