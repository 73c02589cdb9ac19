import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { expectClose } from '../../test/expect';
import given from '../../test/fixtures/estimators.json';
import { readSafetensors, readSafetensorsMetadata, writeSafetensors } from '../io';
import { type HostTensor, hostTensor } from '../tensor/host';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
});
afterAll(() => rm(folder, { recursive: true }));

const at = (name: string) => join(folder, name);
const ONE_THREAD = ['--threads', '1', '--backend', 'wasm'];

async function written(name: string, tensors: Readonly<Record<string, HostTensor>>): Promise<string> {
  await writeFile(at(name), writeSafetensors(tensors));
  return at(name);
}

const read = async (path: string) => readSafetensors(await readFile(path));
const x = hostTensor(given.x, [24, 3]);
const y = hostTensor(given.y, [24, 2]);
const query = hostTensor(given.query, [5, 3]);
const json = (params: object) => ['--params', JSON.stringify(params)];

test('fits, tells errors by ridge and size and the spectrum, and predicts as scikit-learn does', async () => {
  const [input, asked] = [await written('xy', { x, y }), await written('query', { x: query })];
  const fit = ['fit', '--in', input, '--out', at('model'), ...ONE_THREAD];
  const first = await saccade(...fit, ...json({ bandwidth: 1.5, ridge: 0.1 }), '--json', at('report'), '--test', input);
  expect(first.stderr).toBe('');
  expect(first.stdout).toMatch(/^kernel-ridge, 24 points, ridge 0\.100\nTest: mean squared error /);
  expect(first.stdout).toMatch(/ridge +error +degrees of freedom/);
  const report = JSON.parse(await readFile(at('report'), 'utf8'));
  expect(report.report.eigenvalues).toHaveLength(24);
  expect(report.report.sizes.map(({ points }: { points: number }) => points)).toEqual([3, 6, 12, 24]);
  expect(report.report.ridges[3].error).toBeCloseTo(given.crossed.single[1]!, 8);
  const { stdout } = await saccade('predict', '--model', at('model'), '--in', asked, '--out', at('out'), ...ONE_THREAD);
  expect(stdout).toContain('out [5, 2] f32');
  expectClose((await read(at('out'))).out!.data as Float32Array, given.ridge.gaussian, 2e-6);

  // A list of ridges gives the one with the least error on points left out.
  const best = given.crossed.ridges[given.crossed.single.indexOf(Math.min(...given.crossed.single))]!;
  const several = await saccade(...fit, ...json({ bandwidth: 1.5, ridge: given.crossed.ridges }), '--report', '0');
  expect(several.stdout.split('\n')[0]).toBe(`kernel-ridge, 24 points, ridge ${best.toPrecision(3)}`);
});

test('Gaussian processes and random features go through files too, classes give labels', async () => {
  const asked = await written('query', { x: query });
  const target = hostTensor(
    given.y.filter((_, i) => i % 2 === 0),
    [24],
  );
  const input = await written('process', { x, y: target });
  const run = async (...args: string[]) => {
    const { code, stderr } = await saccade(...args, ...ONE_THREAD);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  };
  const settings = json({ bandwidth: 1.5, amplitude: 2, noise: 0.05 });
  await run('fit', '--method', 'gaussian-process', '--in', input, '--out', at('model'), '--report', '0', ...settings);
  await run('predict', '--model', at('model'), '--in', asked, '--out', at('out'));
  const { out, variance } = await read(at('out'));
  expectClose(out!.data as Float32Array, given.processes.gaussian.mean, 1e-6);
  expectClose(variance!.data as Float32Array, given.processes.gaussian.variance, 1e-6);

  const labels = hostTensor(
    Int32Array.from({ length: 24 }, (_, i) => Number(given.x[3 * i]! > 0)),
    [24],
  );
  const classes = await written('classes', { x, y: labels });
  for (const method of ['random-features', 'kernel-ridge']) {
    await run('fit', '--method', method, '--in', classes, '--out', at('model'), ...json({ ridge: 0.01 }));
    const { stdout } = await saccade(
      'predict',
      '--model',
      at('model'),
      '--in',
      classes,
      '--out',
      at('out'),
      '--json',
      at('told'),
      ...ONE_THREAD,
    );
    expect(JSON.parse(await readFile(at('told'), 'utf8'))).toMatchObject({ written: at('out'), right: 1 });
    expect(stdout).toMatch(/labels \[24\] i32\nmean squared error .*, 100% right\n$/);
    expect((await read(at('out'))).labels!.data).toEqual(labels.data);
  }
});

test('bad input and tampered models are refused in a line', async () => {
  const out = at('never');
  const input = await written('xy', { x, y });
  const fitting = (file: string, ...more: string[]) => ['fit', '--in', file, '--out', out, ...ONE_THREAD, ...more];
  const hole = hostTensor([...given.x.slice(0, 4), Number.NaN, ...given.x.slice(5)], [24, 3]);
  await expectRefusal(fitting(await written('hole', { x: hole, y })), 'got NaN in row 1, column 1');
  const few = hostTensor(given.y.slice(0, 40), [20, 2]);
  await expectRefusal(
    fitting(await written('few', { x, y: few })),
    'must have shape [24, c] or [24], as x has 24 points, got [20, 2]',
  );
  const negative = hostTensor(new Int32Array(24).fill(-1), [24]);
  await expectRefusal(
    fitting(await written('negative', { x, y: negative })),
    'must have classes from 0 to 9999, got -1',
  );
  await expectRefusal(fitting(await written('alone', { x })), "has no tensor 'y': saccade fit takes x, y");
  await expectRefusal(fitting(input, ...json({ bandwidth: 0 })), 'param bandwidth of kernel-ridge');
  await expectRefusal(fitting(input, ...json({ ridge: 1e-12 })), 'ridge must be 0 or at least');
  await expectRefusal(
    fitting(input, ...json({ solver: 'nystrom', centres: 25 })),
    'centres must be an integer from 1 to 24',
  );
  await expectRefusal(
    fitting(input, ...json({ kernel: 'linear', bandwidth: 2 })),
    "the linear kernel takes no 'bandwidth'",
  );

  await saccade('fit', '--in', input, '--out', at('model'), '--report', '0', ...ONE_THREAD);
  const bytes = await readFile(at('model'));
  const [tensors, metadata] = [readSafetensors(bytes), readSafetensorsMetadata(bytes)];
  const tampered = async (changes: Record<string, string>, more: Record<string, HostTensor> = {}) => {
    await writeFile(
      at('tampered'),
      writeSafetensors({ ...tensors, ...more }, { metadata: { ...metadata, ...changes } }),
    );
    return ['predict', '--model', at('tampered'), '--in', input, '--out', out, ...ONE_THREAD];
  };
  await expectRefusal(['predict', '--model', input, '--in', input, '--out', out], 'expected a file of saccade fit');
  await expectRefusal(await tampered({ settings: '{' }), 'its settings are no JSON');
  await expectRefusal(await tampered({ settings: '{"method": "lu"}' }), 'its method must be one of kernel-ridge');
  await expectRefusal(await tampered({ settings: '{"method": "kernel-ridge", "degree": 1e9}' }), 'param degree');
  await expectRefusal(await tampered({ settings: 'null' }), 'its method must be one of');
  await expectRefusal(await tampered({ classes: '1000000' }), "a column for each of the '1000000' classes, got 2");
  const wide = hostTensor([1, 2, 3, 4], [2, 2]);
  await expectRefusal(await tampered({}, { weights: wide }), 'weights');
  await expectRefusal(
    await tampered({}, { weights: hostTensor([Number.NaN], [1, 1]) }),
    'weights has numbers that are not finite',
  );
  await expectRefusal(await tampered({}, { extra: wide }), 'has the tensors support, weights, got');
  const other = await written('other', { x: hostTensor([1, 2], [1, 2]) });
  await expectRefusal(
    ['predict', '--model', at('model'), '--in', other, '--out', out],
    'x must have shape [m, 3], got [1, 2]',
  );
  await expect(readFile(out)).rejects.toThrow('ENOENT');
});
