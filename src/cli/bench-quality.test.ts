import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import type { QualityReport } from '../bench/quality/report';
import { lockFolder } from './lock-folder';

const SMALL = '--tasks state-tracking-s3 --steps 2 --width 8 --layers 1 --threads 1'.split(' ');

test('trains, writes what it found and goes on from it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-quality-'));
  try {
    const [json, html, kept] = ['report.json', 'report.html', 'kept'].map((name) => join(folder, name)) as string[];
    const params = '{"stochastic-attention": {"window": 8}}';
    const words = [
      ...['bench', 'quality', '--methods', 'attention,stochastic-attention', '--params', params, ...SMALL],
      ...['--resume', kept!, '--json', json!, '--html', html!],
    ];
    const first = await saccade(...words);
    expect(first.stderr).toBe('');
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(/state-tracking-s3 +attention +\d/);
    const read = async () => JSON.parse(await readFile(json!, 'utf8')) as QualityReport;
    const report = await read();
    expect(report).toMatchObject({ format: 'saccade quality', complete: true, tasks: [{ steps: 2, length: 64 }] });
    expect(report.command).toBe(
      `saccade bench quality --methods attention,stochastic-attention --params '{"stochastic-attention":{"window":8}}' --tasks state-tracking-s3 --seeds 1 --steps 2 --width 8 --layers 1 --heads 1`,
    );
    expect(await readFile(html!, 'utf8')).toContain('"view":"quality"');
    expect((await readdir(kept!)).sort()).toEqual(
      ['attention', 'stochastic-attention'].flatMap((method) =>
        ['json', 'safetensors'].map((kind) => `state-tracking-s3-${method}-1.${kind}`),
      ),
    );
    {
      using _lock = lockFolder(kept!);
      await expectRefusal(words, 'this process does already');
    }
    expect((await saccade(...words)).code).toBe(0);
    expect((await read()).runs).toEqual(report.runs);
    const before = await Promise.all([json!, html!].map((path) => readFile(path)));
    await expectRefusal([...words, '--width', '4'], 'is of a training with width 8, expected 4');
    expect(await Promise.all([json!, html!].map((path) => readFile(path)))).toEqual(before);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each([
  [['--methods', 'dydila'], 'dydila lets tokens see later ones'],
  [['--methods', 'atention'], 'method must be one of attention, '],
  [['--tasks', 'recall'], 'task must be one of associative-recall'],
  [['--seeds', '0'], 'It must be a whole number from 1 to 1000'],
  [['--params', '[1]'], 'It must be a JSON object'],
  [['--params', '{"performer": {}}'], "params has 'performer', which is not trained"],
  [['--width', '9'], 'width must be a multiple of twice the heads, 2, got 9'],
  [['--json', ''], 'the path of the file to write must not be empty'],
])('%j is refused', (words, message) => expectRefusal(['bench', 'quality', ...words], message));
