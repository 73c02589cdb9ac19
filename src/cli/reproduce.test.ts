import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';

test('without a method lists those that have an experiment', async () => {
  const { code, stdout } = await saccade('reproduce');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^power-attention {2}/m);
  expect(stdout).not.toMatch(/^attention/m);
});

test.each(['power-attention', 's2-attention'])(
  '%s: every claim has a source, a measurement and a verdict',
  async (name) => {
    const folder = await mkdtemp(join(tmpdir(), 'saccade-'));
    const json = join(folder, 'findings.json');
    try {
      const { code, stdout } = await saccade('reproduce', name, '--quick', '--json', json);
      expect(code).toBe(0);
      expect(stdout).toMatch(/claim +measured +verdict/);
      expect(stdout).toContain('--quick');
      const report = JSON.parse(await readFile(json, 'utf8'));
      expect(report).toMatchObject({
        format: 'saccade reproduce',
        command: `saccade reproduce ${name} --quick`,
        method: name,
        quick: true,
        machine: { saccade: expect.any(String) },
      });
      // Those that are counted hold whatever the machine and its load.
      const counted = report.findings.slice(0, name === 'power-attention' ? 6 : 4);
      for (const { claim, source, measured } of report.findings) {
        for (const text of [claim, source, measured]) expect(text).not.toBe('');
      }
      const verdicts = counted.map(({ verdict }: { verdict: string }) => verdict);
      expect(verdicts).toEqual(
        name === 'power-attention'
          ? ['reproduced', 'partly', 'reproduced', 'reproduced', 'reproduced', 'partly']
          : ['reproduced', 'reproduced', 'reproduced', 'reproduced'],
      );
      for (const { series = [] } of report.findings) {
        for (const { x, lines } of series) {
          for (const { values } of lines) expect(values).toHaveLength(x.values.length);
        }
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test.each([
  [['attention'], 'attention has no experiment to reproduce: choose one of '],
  [['power'], 'method must be one of attention'],
  [['power-attention', '--json', '/nowhere/at/all.json'], "cannot access '/nowhere/at'"],
  [['--json', 'findings.json'], '--json needs a method whose claims to reproduce'],
  [['power-attention', '--threads', '0'], "'0' is invalid"],
])('%j is refused in one line', (args, message) => expectRefusal(['reproduce', ...args], message));
