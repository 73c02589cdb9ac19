import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { encode } from 'fast-png';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { ComparisonReport, MeasuredRow } from '../compare/comparison';
import { BackendError } from '../errors';
import { writeSafetensors } from '../io';
import { findMethod } from '../methods/registry';
import { normal } from '../tensor/random';
import { compareCommand, summary } from './compare';
import { main } from './main';
import { wrap } from './wrap';

let folder: string;
let qkv: string;
let printed: string;
let report: ComparisonReport;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-compare-'));
  qkv = join(folder, 'qkv.safetensors');
  await writeFile(qkv, writeSafetensors(Object.fromEntries(['q', 'k', 'v'].map((name, seed) => [name, random(seed)]))));
  const [json, html] = [join(folder, 'report.json'), join(folder, 'report.html')];
  printed = await run('--in', qkv, '--json', json, '--html', html, '--max-error', '0.9');
  report = JSON.parse(await readFile(json, 'utf8'));
});
afterAll(() => rm(folder, { recursive: true }));

const random = (seed: number) => ({ dtype: 'f32', shape: [1, 40, 2, 8], data: normal(640, seed) }) as const;

/** What the command prints. */
async function run(...args: string[]): Promise<string> {
  const written: string[] = [];
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  try {
    const command = compareCommand()
      .exitOverride()
      .configureOutput({ outputError: () => {} });
    await command.parseAsync(['--backend', 'reference', ...args], { from: 'user' });
  } finally {
    write.mockRestore();
  }
  return stripVTControlCharacters(written.join(''));
}

test('measures the tensors of a file, prints a table that fits and writes what it found', async () => {
  const [json, html] = [join(folder, 'report.json'), join(folder, 'report.html')];
  const lines = printed.split('\n');
  // Commands are to be copied.
  const wide = lines.filter((line) => line.length > 100 && !line.includes(folder) && !line.startsWith('  npx'));
  expect(wide).toEqual([]);
  expect(lines.slice(-3)).toEqual([`Written: ${html}`, `Written: ${json}`, '']);
  expect(lines.join(' ')).toContain(
    'take gates that only a model has: gated-delta-rule (g, beta), nats-linear (g, beta,',
  );
  expect(lines.join(' ')).toMatch(/\d+ more variants were left out: --methods all measures everything/);
  const all = await run('--in', qkv, '--methods', 'all');
  expect(all).not.toContain('left out');
  expect(all).toContain('gated-delta-rule (g, beta)');
  expect(all.split('\n').length).toBeGreaterThan(lines.length);

  expect(report).toMatchObject({
    format: 'saccade compare',
    version: 1,
    input: `${qkv}: q [1, 40, 2, 8], k [1, 40, 2, 8], v [1, 40, 2, 8].`,
    extents: { b: 1, n: 40, m: 40, h: 2, g: 2, d: 8, e: 8 },
    recommendation: { maxError: 0.9 },
  });
  for (const { label } of report.rows) {
    const [start] = wrap(label, 28).split('\n');
    expect(
      lines.filter((line) => line.startsWith(start!)),
      label,
    ).not.toEqual([]);
  }

  const page = await readFile(html, 'utf8');
  const start = page.indexOf('id="report">') + 'id="report">'.length;
  const { data } = JSON.parse(page.slice(start, page.indexOf('</script>', start)));
  expect(data.report).toEqual(report);
  expect(Object.keys(data.pictures)).toEqual(report.rows.filter(({ mass }) => mass).map(({ label }) => label));
});

test('stars what is recommended, and nothing else', async () => {
  const { label } = report.rows.find(({ baseline, error, causal }) => !baseline && error && !causal)!;
  const recommendation = { rule: '', uses: [], maxError: 0.9, full: label, text: `Use ${label}.` };
  const lines = stripVTControlCharacters(summary({ ...report, recommendation }, [])).split('\n');
  expect(lines.filter((line) => line.includes(' ★ ')).map((line) => line.split('  ')[0])).toEqual([`${label} ★`]);
  expect(lines).toContain(`Use ${label}.`);
});

test('says of methods that need training why they have no error, and how their attention spreads', async () => {
  const print = (rows: ComparisonReport['rows']) => stripVTControlCharacters(summary({ ...report, rows }, []));
  expect(print(report.rows.slice(0, 2))).not.toMatch(/entropy|training/);

  const { error: _, mass: __, ...cost } = report.rows[1] as MeasuredRow;
  const entropies = [{ mean: 4.5, heads: [4, 5] }, undefined];
  const untrained = entropies.map((entropy, at) => ({ ...cost, label: `linear ${at}`, ...(entropy && { entropy }) }));
  const lines = print([...report.rows, ...untrained]).split('\n');
  expect(lines.find((line) => line.startsWith('linear 0'))).toMatch(/× +– +4\.50/);
  expect(lines.find((line) => line.startsWith('linear 1'))).toMatch(/× +– +–/);
  const text = lines.join(' ');
  expect(text).toContain('need training to match softmax attention');
  expect(text).toContain('5.32: alike on all 40');
});

test('says what a method warns of', async () => {
  const warned = { ...(report.rows[1] as MeasuredRow), label: 'linear', warning: 'outputs shrink' };
  const rows = report.rows.map((row, at) => (at === 1 ? warned : row));
  const print = (rows: ComparisonReport['rows']) => stripVTControlCharacters(summary({ ...report, rows }, []));
  expect(print(rows).split('\n')).toContain('linear: outputs shrink.');
});

test('says what failed in its row, and ends with exit code 1 after all was written', async () => {
  const [json, html] = [join(folder, 'failed.json'), join(folder, 'failed.html')];
  const forward = vi.spyOn(findMethod('s2-attention'), 'forward').mockImplementation(() => {
    throw new BackendError(`out of ${'memory '.repeat(20)}`);
  });
  const shown = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const complaint = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const words = ['--in', qkv, '--methods', 'attention,s2-attention', '--backend', 'reference'];
  expect(await main(['compare', ...words, '--json', json, '--html', html])).toBe(1);
  const printed = stripVTControlCharacters(String(shown.mock.calls.at(-1)?.[0]));
  const said = String(complaint.mock.calls.at(-1)?.[0]);
  for (const spy of [forward, shown, complaint]) spy.mockRestore();

  const report = JSON.parse(await readFile(json, 'utf8')) as ComparisonReport;
  const failed = report.rows.filter((row) => row.failed !== undefined);
  expect(new Set(failed.map(({ method }) => method))).toEqual(new Set(['s2-attention']));
  expect(said).toMatch(new RegExp(`^saccade: ${failed.length} of ${report.rows.length} variants failed: s2 `));
  expect(printed.split('\n').find((line) => line.startsWith('s2 '))).toMatch(/^s2 .* failed: out of memory memory/);
  expect(printed).toContain('For full attention, ');
  expect(await readFile(html, 'utf8')).toContain('failed');
});

test('compares on the patches of a picture, with methods for grids and without causal ones', async () => {
  const [png, json, html] = ['picture.png', 'picture.json', 'picture.html'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const pixels = Uint8Array.from(normal(40 * 30 * 3, 1), (value) => 128 + 40 * value);
  await writeFile(png, encode({ width: 40, height: 30, channels: 3, data: pixels }));
  const methods = ['--methods', 'attention,neighborhood-attention,stochastic-attention'];
  const printed = await run('--image', png, '--grid', '6x8', ...methods, '--json', json, '--html', html);
  expect(printed).toMatch(/^The middle of .*picture\.png as 6 × 8 tokens, patches of 3 × 3 pixels\./);

  const report = JSON.parse(await readFile(json, 'utf8')) as ComparisonReport;
  expect(report).toMatchObject({ extents: { b: 1, n: 48, m: 48, h: 4, g: 4, d: 30, e: 27 }, grid: [6, 8] });
  expect(report.rows[0]?.label).toBe('exact full');
  expect(report.rows.some(({ label }) => /^NA window \dx\d$/.test(label))).toBe(true);
  expect(report.rows.some(({ causal }) => causal)).toBe(false);
  expect(report.recommendation.text).not.toContain('causal');

  const page = await readFile(html, 'utf8');
  const start = page.indexOf('id="report">') + 'id="report">'.length;
  const { data } = JSON.parse(page.slice(start, page.indexOf('</script>', start)));
  expect(data.photograph).toMatchObject({ width: 24, height: 18 });
  expect(Object.keys(data.pictures)).toEqual(report.rows.filter(({ mass }) => mass).map(({ label }) => label));
});

test('a network on a picture is as the config.json beside its weights says', async () => {
  const png = join(folder, 'small.png');
  await writeFile(
    png,
    encode({ width: 8, height: 8, channels: 1, data: Uint8Array.from({ length: 64 }, (_, i) => 3 * i) }),
  );
  const weights = join(import.meta.dirname, '../models/vision/trained/deit');
  const printed = await run('--image', png, '--model', 'deit', '--weights', weights, '--methods', 'attention');
  expect(printed.replace(/\s+/g, ' ')).toContain('7 × 7 tokens, 5 heads of 8 dimensions.');
});

test.each([
  [['--in', 'qkv.safetensors', '--text', 'a.txt'], /'--in <file>' cannot be used with option '--text <file>'/],
  [['--in', 'nowhere.safetensors'], /ENOENT.*nowhere\.safetensors/],
  [['--text', 'nowhere.txt'], /ENOENT.*nowhere\.txt/],
  [['--image', 'nowhere.png'], /ENOENT.*nowhere\.png/],
  [['--image', 'a.png', '--text', 'a.txt'], /'--image \[file\]' cannot be used with option '--text <file>'/],
  [['--in', 'qkv.safetensors', '--image'], /'--in <file>' cannot be used with option '--image \[file\]'/],
  [['--image', '--grid', '8'], /a picture needs a grid of rows and columns, such as 64x64, got 8/],
  [
    ['--image', '--grid', '8x8', '--methods', 'attention,power-attention'],
    /power-attention cannot be compared here: on a grid/,
  ],
  [['--image', '--grid', '0x8'], /whole numbers from 1 to 1024/],
  [['--grid', '8x8'], /--grid is for the patches of a picture: expected --image too/],
  [['--length', '0'], /whole number from 1/],
  [['--layer', '2'], /--layer must be an integer from 0 to 1, got 2/],
  [['--max-error', '10%'], /number above 0, at most 1/],
  [['--methods', 'attention,magic'], /method must be one of attention.*, got 'magic'/],
  [['--json', 'nowhere/report.json'], /ENOENT.*nowhere/],
])('refuses %j', async (args, message) => {
  await expect(async () => run(...args)).rejects.toThrow(message);
});

test('refuses a folder, a file that is not text, and a text without words', async () => {
  await expect(async () => run('--text', folder)).rejects.toThrow(`cannot read '${folder}': it is a folder`);
  await expect(async () => run('--image', qkv)).rejects.toThrow(`${qkv} is neither a PNG, a JPEG nor a WebP file`);
  const [binary, empty] = [join(folder, 'binary.txt'), join(folder, 'empty.txt')];
  await writeFile(binary, Uint8Array.of(0xff, 0xfe, 0x00));
  await writeFile(empty, '\n');
  await expect(async () => run('--text', binary)).rejects.toThrow(`${binary} is not text in UTF-8`);
  await expect(async () => run('--text', empty)).rejects.toThrow(`${empty} holds no text`);
});

test('a method for grids needs inputs that have one', async () => {
  await expect(async () => run('--in', qkv, '--methods', 'neighborhood-attention')).rejects.toThrow(
    'neighborhood-attention cannot be compared here: it takes q with spatial axes, got [1, 40, 2, 8]',
  );
});

test('refuses a file whose tensors do not fit together', async () => {
  const path = join(folder, 'wrong.safetensors');
  const v = { dtype: 'f32', shape: [1, 39, 2, 8], data: normal(624, 3) } as const;
  await writeFile(path, writeSafetensors({ q: random(1), k: random(2), v }));
  await expect(async () => run('--in', path)).rejects.toThrow('v must have shape [b, m, g, e] with m = 40');
});
