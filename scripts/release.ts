/**
 * Checks before the package is published: `npm publish` runs this first, also in dry runs. What is published is
 * what `.ci/run` has built and tested here, its list of files included. By itself this publishes nothing.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const cwd = resolve(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(`${cwd}/package.json`, 'utf8')) as { version: string };
const git = (...args: string[]) => execFileSync('git', args, { cwd, encoding: 'utf8' }).trim();

const changed = git('status', '--porcelain');
if (changed) refuse(`the tree is not clean:\n${changed}`);
const heading = `## [${version}]`;
if (!readFileSync(`${cwd}/CHANGELOG.md`, 'utf8').includes(`\n${heading}`)) refuse(`CHANGELOG.md has no "${heading}"`);
if (!git('tag', '--points-at', 'HEAD').split('\n').includes(`v${version}`)) refuse(`the commit has no tag v${version}`);
try {
  execFileSync(`${cwd}/.ci/run`, { cwd, stdio: 'inherit' });
} catch {
  refuse('.ci/run fails');
}

function refuse(reason: string): never {
  console.error(`not to be published: ${reason}`);
  process.exit(1);
}
