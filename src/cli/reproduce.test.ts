import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { defineExperiment } from '../experiments/experiment';
import { experiments } from '../experiments/experiments.generated';
import { main } from './main';

test('without a paper lists those that have an experiment', async () => {
  const { code, stdout } = await saccade('reproduce');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^power-attention {2}/m);
  expect(stdout).not.toMatch(/^attention/m);
});

test('a measurement that fails costs its claims, and exit code 1 once all is written', async () => {
  const claim = { claim: 'So it is.', source: 'paper', criteria: {} };
  const experiment = defineExperiment({
    ...{ title: 'faults', claims: { first: claim, second: claim } },
    measure: {
      first: async () => Promise.reject(new Error('no memory is left')),
      second: () => ({ measured: 'it holds', values: {} }),
    },
  });
  vi.spyOn(experiments, 'l2vit').mockResolvedValue({ experiment } as never);
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const complaint = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  expect(await main(['reproduce', 'l2vit', '--backend', 'reference'])).toBe(1);
  const [text, said] = [write, complaint].map(({ mock }) => String(mock.calls.at(-1)?.[0])) as [string, string];
  vi.restoreAllMocks();
  expect(text).toMatch(/not measured: no memory is left +.*not measured/);
  expect(text).toContain('it holds');
  expect(said).toBe('saccade: 1 of 2 claims failed: claim 1\n');
});

test('goes on from what a folder keeps, but never from another version, machine or setting', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  const file = join(folder, 'l2vit.json');
  // A method stands for its paper; there is one runtime without threads.
  const args = ['reproduce', 'l2vit', '--quick', '--backend', 'reference', '--resume', folder];
  try {
    expect((await saccade(...args)).code).toBe(0);
    const whole = JSON.parse(await readFile(file, 'utf8'));
    const [first] = whole.findings;
    // Figures that no measurement would give show that it was not repeated.
    const kept = { ...whole, findings: [{ ...first, measured: 'kept from before' }] };
    await writeFile(file, JSON.stringify(kept));
    const { stdout } = await saccade(...args);
    expect(stdout).toContain('kept from before');
    expect(JSON.parse(await readFile(file, 'utf8')).findings).toHaveLength(whole.findings.length);
    const judged = { ...first, judgements: first.judgements.map((each: object) => ({ ...each, expected: '7' })) };
    for (const [other, message] of [
      [{ machine: { ...whole.machine, saccade: '0.0.1' } }, "a run with saccade '0.0.1', expected '"],
      [{ machine: { ...whole.machine, cpu: 'abacus' } }, "a run with cpu 'abacus', expected '"],
      [{ runtime: ['backend: abacus'] }, "a run with backend 'backend: abacus', expected '"],
      [{ quick: false }, 'a run with quick false, expected true'],
      [{ findings: [judged] }, 'a run of another version of the experiment, which judged otherwise: Linear attention'],
      [{ version: 2 }, 'l2vit.json is no file of saccade reproduce'],
      [{ findings: [{ ...first, judgements: [null] }] }, 'l2vit.json is no file of saccade reproduce'],
    ] as const) {
      await writeFile(file, JSON.stringify({ ...whole, ...other }));
      await expectRefusal(args, message);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each([
  [['attention'], 'attention has no experiment to reproduce: choose one of '],
  [['power'], "there is no paper or method 'power': choose one of "],
  [['power-attention', '--json', '/nowhere/at/all.json'], "cannot write '/nowhere/at/all.json'"],
  [['--json', 'findings.json'], '--json needs a paper whose claims to reproduce'],
  [['--resume', 'findings'], '--resume needs a paper whose claims to reproduce'],
  [['l2vit', '--resume', ''], 'the folder to write to must not be empty'],
  [['--html', 'findings.html'], '--html needs a paper whose claims to reproduce'],
  [['power-attention', '--threads', '0'], "'0' is invalid"],
])('%j is refused in one line', (args, message) => expectRefusal(['reproduce', ...args], message));
