import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { decodePicture } from '../pictures';

let folder: string;
const at = (...names: string[]) => join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  const data = Uint8Array.from({ length: 3 * 72 * 40 }, (_, i) => (i * 7) % 256);
  await writeFile(at('picture.png'), encode({ width: 72, height: 40, channels: 3, data }));
});
afterAll(() => rm(folder, { recursive: true }));

const look = (...more: string[]) => saccade('look', '--image', at('picture.png'), ...more);
const pictureAt = async (...names: string[]) => {
  const { width, height, rgb } = await decodePicture('sight', await readFile(at(...names)));
  return { extents: [width, height], levels: new Set(rgb).size };
};

test('look shows the classes of places, and how far the middle sees', async () => {
  const { code, stdout } = await look('--model', 'bevanet', '--variant', 'mini', '--out', at('street'));
  expect(code).toBe(0);
  expect(stdout).toMatch(/share of places\s+class/);
  expect(stdout).toContain('weights are random');
  expect((await readdir(at('street'))).sort()).toEqual([
    'receptive-field.png',
    'report.html',
    'seen.png',
    'segments.png',
  ]);
  // 72 x 40 pixels six times as large.
  for (const name of ['segments.png', 'receptive-field.png']) {
    const { extents, levels } = await pictureAt('street', name);
    expect(extents).toEqual([432, 240]);
    expect(levels).toBeGreaterThan(9);
  }
  const report = await readFile(at('street', 'report.html'), 'utf8');
  expect(report.match(/"png":"iVBORw0KGgo/g)).toHaveLength(3);
});

test('look shows the tokens that a transformer keeps and where it looks, and the regions that regions choose', async () => {
  const prune = JSON.stringify({ variant: 'mini', prune: { layers: [1, 2], thresholds: [0.02, 0.0205] }, classes: 3 });
  const { stdout } = await look('--model', 'deit', '--params', prune, '--out', at('deit'));
  expect(stdout).toMatch(/%\s+class [012]\n/);
  const kept = [...stdout.matchAll(/(\d+) of 49 patches/g)].map(([, count]) => Number(count));
  expect(kept).toHaveLength(2);
  expect(kept[0]).toBeLessThan(49);
  expect(kept[1]).toBeLessThanOrEqual(kept[0] as number);
  expect(await pictureAt('deit', 'class-attention.png')).toMatchObject({ extents: [448, 448] });
  const regions = await look('--model', 'biformer', '--variant', 'mini', '--out', at('regions'));
  expect(regions.stdout).toContain('Regions that regions see: 1 of 49');
  expect(await pictureAt('regions', 'regions-1.png')).toMatchObject({ extents: [4 * 448 + 24, 448] });
});

test('look takes the small network that comes along, and says what it is', async () => {
  const { stdout } = await look('--model', 'van', '--json', at('van.json'));
  const report = JSON.parse(await readFile(at('van.json'), 'utf8'));
  expect(report).toMatchObject({ model: 'van', classes: { length: 5 }, written: [] });
  for (const { name } of report.classes) expect(stdout).toContain(name);
  expect(JSON.parse((await look('--model', 'van', '--json')).stdout)).toEqual(report);
  expect(stdout).toMatch(/%\s+(T-shirt|trousers|pullover|dress|coat|sandal|shirt|sneaker|bag|ankle boot)\n/);
  expect(stdout).toContain('28 x 28 pixels');
  expect(stdout).not.toContain('weights are random');
});

test('look refuses what it cannot show, and writes nothing', async () => {
  await writeFile(at('text.png'), 'no picture');
  await expectRefusal(['look', '--model', 'van', '--image', at('text.png')], `${at('text.png')} is neither a PNG`);
  await expectRefusal(
    ['look', '--model', 'vgg', '--image', at('picture.png')],
    "option '--model <name>' argument 'vgg' is invalid",
  );
  const given = ['look', '--model', 'van', '--image', at('picture.png')];
  await expectRefusal([...given, '--variant', 'b9'], 'param variant of van: expected');
  await expectRefusal([...given, '--params', '[]'], '--params must be an object, got []');
  await writeFile(at('weights'), new Uint8Array(9));
  await expectRefusal([...given, '--weights', at('weights')], at('weights'));
});
