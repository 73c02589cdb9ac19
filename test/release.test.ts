/** What keeps a release back, in a repository made for it. */
import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

let repository: string;
const write = (name: string, text: string) => writeFile(join(repository, name), text);
const run = (command: string, ...args: string[]) => spawnSync(command, args, { cwd: repository, encoding: 'utf8' });
const release = () => run(process.execPath, 'scripts/release.ts').stderr.trim() || 'none';

function commit(...more: string[][]): void {
  const as = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
  for (const args of [['add', '-A'], [...as, 'commit', '-m', 'step'], ...more])
    expect(run('git', ...args)).toMatchObject({ status: 0 });
}

beforeAll(async () => {
  repository = await mkdtemp(join(tmpdir(), 'saccade-release-'));
  await mkdir(join(repository, '.ci'));
  await cp(resolve(import.meta.dirname, '../scripts/release.ts'), join(repository, 'scripts/release.ts'));
  await write('package.json', JSON.stringify({ version: '1.2.3', type: 'module' }));
  await write('CHANGELOG.md', '# Changelog\n\n## [1.2.30]\n');
  await write('.ci/run', '#!/bin/sh\nexit 1\n');
  await chmod(join(repository, '.ci/run'), 0o755);
  run('git', 'init');
});
afterAll(() => rm(repository, { recursive: true, force: true }));

test('a release needs a clean tree, its version in the changelog and as a tag, and tests that pass', async () => {
  expect(release()).toMatch(/^not to be published: the tree is not clean:\n/);
  commit();
  expect(release()).toBe('not to be published: CHANGELOG.md has no "## [1.2.3]"');
  await write('CHANGELOG.md', '# Changelog\n\n## [1.2.3] - today\n');
  commit(['tag', 'v1.2.30']);
  expect(release()).toBe('not to be published: the commit has no tag v1.2.3');
  run('git', 'tag', 'v1.2.3');
  expect(release()).toBe('not to be published: .ci/run fails');
  await write('.ci/run', '#!/bin/sh\nexit 0\n');
  commit(['tag', '--force', 'v1.2.3']);
  expect(release()).toBe('none');
});
