import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import type { LongContextReport } from '../bench/long-context/report';

test('bench long-context goes on from its own file, and says what time does not allow', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  const json = join(folder, 'long.json');
  const bench = async (...words: string[]) => {
    const given = ['--losses', '64', '--indexes', '256', '--only', 'exact,landmark-attention', '--threads', '1'];
    const { code, stderr } = await saccade('bench', 'long-context', ...given, ...words, '--json', json, '--resume');
    expect(code, stderr).toBe(0);
    return JSON.parse(await readFile(json, 'utf8')) as LongContextReport;
  };
  try {
    const first = await bench('--n', '16');
    expect(first.losses.map(({ loss = 0, reason = '' }) => [loss > 0, reason.slice(0, 17)])).toEqual([
      [true, ''],
      [false, 'it needs training'],
    ]);
    const [exact, graph] = first.indexes;
    expect(exact?.label).toBe('exact prompt');
    expect(graph?.searches?.[0]?.recall).toBeGreaterThan(0.9);
    expect(first.command).toContain('--losses 64 --indexes 256 --only exact,landmark-attention');
    const late = { label: 'exact', n: 64, reason: 'late', isLate: true };
    await writeFile(json, JSON.stringify({ ...first, losses: [late, first.losses[1]] }));
    const again = await bench('--n', '16');
    expect([again.losses, again.indexes]).toEqual([first.losses, first.indexes]);
    await writeFile(json, JSON.stringify({ ...first, machine: { ...first.machine, cpu: 'another' } }));
    await expectRefusal(['bench', 'long-context', '--json', json, '--resume'], 'was measured on another machine');
  } finally {
    await rm(folder, { recursive: true });
  }
});
