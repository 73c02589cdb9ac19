import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';

const GNA = ['simulate', 'gna'];
const HUNYUAN = [...GNA, '--grid', '30x48x80', '--window', '18x24x24'];
const TILES = ['--q-tile', '4x8x8', '--kv-tile', '2x8x8'];

async function json(...args: string[]) {
  const { stdout, code } = await saccade(...args, '--json');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

describe('gna', () => {
  test('prints one JSON object, with the published row beside it', async () => {
    const report = await json(...HUNYUAN, '--stride', '16x8x8', ...TILES, '--attention-share', '0.607');
    expect(report).toMatchObject({
      grid: [30, 48, 80],
      stride: [16, 8, 8],
      dilation: [1, 1, 1],
      causal: [false, false, false],
      tilesPerAxis: [9, 3, 3],
      visited: 81,
      total: 900,
      perfectlyBlockSparse: true,
      published: { model: 'HunyuanVideo', allSteps: { simulated: 2.23, measured: 2.23 } },
    });
    expect(report.speedup).toBeCloseTo(100 / 9, 12);
    expect(report.flopSpeedup).toBeCloseTo(100 / 9, 12);
    expect(report.endToEnd).toBeCloseTo(2.234, 1);
    expect(report.published.computed.allSteps).toBe(report.endToEnd);
  });

  test('without a share of the run, attention is all of it', async () => {
    const report = await json(...HUNYUAN, ...TILES);
    expect(report).toMatchObject({ attentionShare: 1, stride: [1, 1, 1], visited: 275 });
    expect(report.endToEnd).toBeCloseTo(report.speedup, 12);
  });

  test('one number is for all axes, and for the flattened grid in tiles', async () => {
    const report = await json(...GNA, '--grid', '16x16', '--window', '4', '--causal', 'true', '--dilation', '2x1');
    expect(report).toMatchObject({ window: [4, 4], causal: [true, true], dilation: [2, 1] });
    const flat = await json(...GNA, '--grid', '16x16', '--window', '4', '--q-tile', '16', '--kv-tile', '16');
    expect(flat).toMatchObject({ tilesPerAxis: [4], visited: 4, total: 16 });
  });

  test("without tiles it takes the kernel's own", async () => {
    expect(await json(...HUNYUAN)).toMatchObject({ queryTile: [2, 3, 4], keyTile: [1, 2, 3] });
  });

  test('of the tiles of a kernel it takes those that compute the least', async () => {
    const { menu, ...best } = await json(...HUNYUAN, '--tiles', 'blackwell');
    expect(menu).toHaveLength(7);
    expect(best.computedPairs).toBe(
      Math.min(...menu.map(({ computedPairs }: { computedPairs: number }) => computedPairs)),
    );
  });

  test('proposes strides, best first', async () => {
    const { suggestions } = await json(...HUNYUAN, ...TILES, '--suggest');
    expect(suggestions[0]).toMatchObject({ stride: [16, 8, 8], visited: 81, perfectlyBlockSparse: true });
    const { stdout } = await saccade(...HUNYUAN, ...TILES, '--suggest', '--attention-share', '0.607');
    expect(stdout).toMatch(/16x8x8 .* 9x3x3 .* 81 of 900 .* 11\.1× .* 2\.23× .* yes/);
  });

  test('shows a table', async () => {
    const { stdout } = await saccade(...HUNYUAN, ...TILES, '--attention-share', '0.607');
    expect(stdout).toMatch(/^ +0 +30 +18 +1 +1 +no +11 of 15/m);
    expect(stdout).toMatch(/^worst query tile +275 of 900 +3\.27× +1\.73×$/m);
    expect(stdout).toMatch(/^mean over query tiles +172 of 900 +5\.24×/m);
    expect(stdout).toMatch(/^multiplications +11\.1× +2\.23×$/m);
    expect(stdout).toContain('Not perfectly block-sparse');
    expect(stdout).toMatch(/^HunyuanVideo +18x24x24 +1x1x1 .* 1\.73× +1\.73× +1\.73×/m);
  });

  test('shows every published row, and which is not reproduced', async () => {
    const { stdout } = await saccade(...GNA, '--published');
    expect(stdout.match(/^(HunyuanVideo|FLUX|Cosmos).* \d+ of (900|512|440)/gm)).toHaveLength(23);
    expect(stdout).toMatch(/30x40x40 +30x40x40 .* 1\.55× +1\.44× !/);
    expect(stdout).toContain('! not reproduced');
    expect(stdout).toContain('(found by search)');
    expect(await json(...GNA, '--published')).toHaveLength(23);
  });

  test.each([
    [[], '--grid is needed'],
    [['--grid', '8x8'], '--window is needed'],
    [['--grid', '4x8x', '--window', '2'], "'--grid <extents>' argument '4x8x' is invalid. It must be whole numbers"],
    [['--grid', '4x-8', '--window', '2'], "'4x-8' is invalid"],
    [['--grid', '4x1.5', '--window', '2'], "'4x1.5' is invalid"],
    [['--grid', '8x8', '--window', '4x0'], "'4x0' is invalid"],
    [['--grid', '8x8', '--window', '4x9'], 'window on axis 1 must be an integer from 2 to 8, the length of the grid'],
    [['--grid', '8x8', '--window', '4x4x4'], 'window must be one value or one for each of the 2 axes, got 3'],
    [
      ['--grid', '8x8', '--window', '4', '--stride', '5'],
      'stride on axis 0 must be an integer from 1 to 4, the window',
    ],
    [['--grid', '8x8', '--window', '4', '--dilation', '3'], 'dilation on axis 0 must be an integer from 1 to 2, since'],
    [['--grid', '8x8', '--window', '4', '--causal', 'yes'], "'--causal <flags>' argument 'yes' is invalid"],
    [['--grid', '8x8', '--window', '4', '--attention-share', '1.5'], 'It must be a number from 0 to 1.'],
    [['--grid', '8x8', '--window', '4', '--q-tile', '4x4'], '--kv-tile is needed beside --q-tile'],
    [
      ['--grid', '8x8', '--window', '4', '--q-tile', '4x4x4', '--kv-tile', '4x4'],
      '--q-tile must have 2 extents, as many as the grid has axes, or 1 to tile it flattened, got 4x4x4',
    ],
    [['--grid', '8x8', '--window', '4', '--tiles', 'volta'], 'Allowed choices are saccade, blackwell, hopper, flex.'],
    [['--grid', '8x8x8x8', '--window', '4'], 'grid must have 1 to 3 axes, got 4'],
    [['--published', '--grid', '8x8'], "'--published' cannot be used with option '--grid <extents>'"],
  ])('%j is refused in one line', (args, message) => expectRefusal([...GNA, ...args], message));
});

describe('reach', () => {
  test("takes the paper's setting", async () => {
    expect(await json('simulate', 'reach', '--mask', 'power')).toEqual({
      mask: 'power',
      size: 128,
      window: 5,
      sink: 1,
      reach: [10, 35, 75, 110, 126, 128],
    });
  });

  test('shows how far each layer reaches', async () => {
    const power = await saccade('simulate', 'reach', '--mask', 'power', '--sink', '0', '--size', '64');
    expect(power.stdout).toMatch(/^ +5 +64 +100% +█{40}$/m);
    expect(power.stdout).toContain('reaches everything in 5 layers');
    const dilated = await saccade('simulate', 'reach', '--mask', 'dilated');
    expect(dilated.stdout).toContain('More layers add nothing: 64 keys never reached.');
    const sliding = await saccade('simulate', 'reach', '--mask', 'sliding', '--layers', '2');
    expect(sliding.stdout).toContain('Not everything is reached in 2 layers.');
  });

  test('goes through the mask of any method, its heads together', async () => {
    const power = ['--mask', 'power-attention', '--params', '{"block": 1}', '--size', '128'];
    expect(await json('simulate', 'reach', ...power)).toMatchObject({ size: 128, reach: [10, 35, 75, 110, 126, 128] });
    const grid = ['--mask', 'neighborhood-attention', '--params', '{"window": 3}', '--grid', '4x5'];
    expect(await json('simulate', 'reach', ...grid)).toMatchObject({ size: 20, reach: [9, 16, 20] });
    const shards = ['--mask', 's2-attention', '--params', '{"block": 1, "localBlocks": 1, "verticalStride": 4}'];
    const reached = async (heads: string) =>
      (await json('simulate', 'reach', ...shards, '--size', '16', '--heads', heads)).reach[0];
    expect([await reached('1'), await reached('4')]).toEqual([5, 16]);
  });

  test('shows what a formula expects of random windows', async () => {
    const { reach, expected } = await json('simulate', 'reach', '--mask', 'stochastic', '--seed', '3');
    expect(reach[0]).toBe(32);
    expect(expected[1]).toBeCloseTo(653, 0);
  });

  test.each([
    [[], "required option '--mask <name>' not specified"],
    [['--mask', 'powr'], 'Allowed choices are power, sliding'],
    [['--mask', 'longnet', '--window', '4'], 'mask longnet takes no --window, only --size'],
    [['--mask', 'power', '--size', '0'], "'0' is invalid"],
    [['--mask', 'power', '--key-heads', '2'], '--key-heads is for methods, mask power is none'],
    [['--mask', 'attention', '--window', '4'], 'attention takes no --window: pass --params'],
    [['--mask', 'attention', '--params', '{"causal": 1}'], 'param causal of attention: expected true or false, got 1'],
    [['--mask', 'stochastic-attention', '--params', '{"window": 4, "gated": true}'], 'stochastic-attention is no mask'],
    [['--mask', 'neighborhood-attention', '--params', '{"window": 3}', '--grid', '999x999'], 'at most 8192 tokens'],
  ])('%j is refused in one line', (args, message) => expectRefusal(['simulate', 'reach', ...args], message));
});

test('an unknown simulation is refused, none is helped', async () => {
  await expectRefusal(['simulate', 'gnna'], "unknown command 'gnna'");
  expect(await saccade('simulate')).toMatchObject({ code: 2, stderr: expect.stringContaining('gna') });
});

describe('memory', () => {
  test('tells from which length on a step no longer fits, beside what it takes here', async () => {
    const words = [
      'simulate',
      'memory',
      '--phase',
      'train',
      '--lengths',
      '1024',
      '--measured',
      '64',
      '--memory',
      '64MiB',
    ];
    const { rows, longest } = await json(...words);
    expect(rows.map(({ n }: { n: number }) => n)).toEqual([64, 1024]);
    expect(longest).toBeGreaterThan(64);
    expect(longest).toBeLessThan(1024);
    expect(rows[0].measured.parameters).toBe(rows[0].predicted.parameters);
  });

  test.each([
    [['--memory', 'much'], 'expected a size such as 512MiB or 16GiB'],
    [['--lengths', '0'], 'lengths'],
    [['--config', 'none.json'], '--config cannot be read'],
    [['--method', 'bilevel-routing-attention'], 'bilevel-routing-attention'],
  ])('refuses %j', async (words, message) => {
    await expectRefusal(['simulate', 'memory', ...words], message);
  });
});

describe('context-parallel', () => {
  test('prints a row of mechanisms for each count of devices, and a map of the cheapest', async () => {
    const report = await json('simulate', 'context-parallel', '--devices', '8,64');
    expect(report.rows.map(({ devices }: { devices: number }) => devices)).toEqual([8, 64]);
    expect(report.rows[0]).toMatchObject({ tokens: 65_536, contiguous: expect.closeTo(1.875, 3) });
    const { stdout } = await saccade('simulate', 'context-parallel', '--devices', '96', '--documents', 'short');
    expect(stdout).toMatch(/ulysses +96 x 1 .* - +96 devices do not divide 64 heads/);
    expect(stdout).toContain('Padding adds up to');
    expect(stdout).toMatch(/The cheapest.*U ulysses, R ring/);
    await expectRefusal(['simulate', 'context-parallel', '--key-heads', '7'], 'keyHeads must divide heads 64, got 7');
    await expectRefusal(['simulate', 'context-parallel', '--rate', '0'], 'It must be a number above 0.');
  });

  test('takes measured links, and writes a page with the cheapest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'saccade-'));
    try {
      const [links, html] = [join(folder, 'links.json'), join(folder, 'cheapest.html')];
      const mpi = { seconds: 2e-5, bytesPerSecond: 3e9, microseconds: [20] };
      writeFileSync(links, JSON.stringify({ links: { mpi } }));
      const few = ['simulate', 'context-parallel', '--devices', '2', '--rate', '0.1'];
      const { rows, cheapest, setting } = await json(...few, '--links', links, '--html', html);
      expect(setting[1]).toContain('Measured links within a node: 3.00 GB/s each way and 20.0 µs a message');
      // 16,384 tokens of causal attention, forward and backward.
      const operations = 3.5 * 2 * (16_384 * 16_385) * 64 * 128;
      expect(rows[0].mechanisms[0].seconds).toBeCloseTo(operations / 2 / 1e11, 1);
      expect(cheapest.at(-1)).toMatchObject({ devices: 4096, tokens: 97_656 * 1024, mechanism: expect.any(String) });
      expect(readFileSync(html, 'utf8')).toContain('"view":"context-parallel"');
      writeFileSync(links, '{"links": {"threads": {"seconds": 0}}}');
      await expectRefusal([...few, '--links', links], 'bytesPerSecond of links.threads must be a number above 0');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
