/**
 * Runs experiments again, all or those named, and brings pages and figures up to date: node scripts/reproduce.ts [PAPER...]
 * Run it on a quiet machine, after npm run build.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const folder = `${root}/docs/reproduce`;
const saccade = `${root}/dist/cli/bin.mjs`;

mkdirSync(folder, { recursive: true });
const named = process.argv.slice(2);
for (const paper of named.length > 0 ? named : listed()) {
  const json = `${folder}/${paper}.json`;
  execFileSync(process.execPath, [saccade, 'reproduce', paper, '--json', json], { cwd: root, stdio: 'inherit' });
}
const vitest = `${root}/node_modules/vitest/vitest.mjs`;
const only = named.length > 0 ? ['-t', named.join('|')] : [];
const update = ['run', 'test/reproduced.test.ts', '--project', 'system', '-u', ...only];
execFileSync(process.execPath, [vitest, ...update], { cwd: root, stdio: 'inherit' });

/** The papers that have an experiment: the first words of the list's rows, under its header and rule. */
function listed(): string[] {
  const list = execFileSync(process.execPath, [saccade, 'reproduce'], { encoding: 'utf8' });
  return list
    .trim()
    .split('\n')
    .slice(2)
    .flatMap((line) => /^\S+/.exec(line) ?? []);
}
