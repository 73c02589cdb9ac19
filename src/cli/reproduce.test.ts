import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { methods } from '../methods/registry';

test('without a method lists those that have an experiment', async () => {
  const { code, stdout } = await saccade('reproduce');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^power-attention {2}/m);
  expect(stdout).not.toMatch(/^attention/m);
});

/** Verdicts of the findings that are counted, not timed: they hold whatever the machine and its load. */
const COUNTED: Readonly<Record<string, readonly string[]>> = {
  'power-attention': ['reproduced', 'partly', 'reproduced', 'reproduced', 'reproduced', 'partly'],
  'nats-linear': ['reproduced', 'reproduced'],
  's2-attention': ['reproduced', 'reproduced', 'reproduced', 'reproduced'],
  'gated-delta-rule': ['reproduced', 'reproduced', 'reproduced'],
  transnormer: ['reproduced', 'reproduced', 'not reproduced', 'reproduced', 'reproduced', 'not reproduced'],
  l2vit: ['reproduced', 'reproduced', 'reproduced'],
  dydila: ['reproduced', 'reproduced', 'partly', 'reproduced'],
};

test.each(methods.filter(({ experiment }) => experiment).map(({ name }) => name))(
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
      for (const { claim, source, measured } of report.findings) {
        for (const text of [claim, source, measured]) expect(text).not.toBe('');
      }
      const counted = COUNTED[name] ?? [];
      const verdicts = report.findings.map(({ verdict }: { verdict: string }) => verdict);
      expect(verdicts.slice(0, counted.length)).toEqual(counted);
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
  [['power-attention', '--json', '/nowhere/at/all.json'], "cannot write '/nowhere/at/all.json'"],
  [['--json', 'findings.json'], '--json needs a method whose claims to reproduce'],
  [['power-attention', '--threads', '0'], "'0' is invalid"],
])('%j is refused in one line', (args, message) => expectRefusal(['reproduce', ...args], message));
