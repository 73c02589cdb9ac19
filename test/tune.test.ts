/** What `saccade tune` finds goes into a file, and runtimes in Node come out with it; whatever else the file holds. */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createRuntime, type TuneReport } from '../src/index';
import { sizesOf, tableSizes } from '../src/ops/attention/webgpu/sizes';
import { TUNABLE } from '../src/ops/attention/webgpu/tunable';
import { chooseSizes } from '../src/ops/sizes/chosen';
import { readTuned, withTuned } from '../src/ops/sizes/tuned-file';
import { adapterOf, identifyAdapter, openDevice } from '../src/runtime/webgpu/adapter';
import { Device } from '../src/runtime/webgpu/device';
import type { DeviceTraits } from '../src/runtime/webgpu/plan';
import * as tuning from '../src/tune/index';
import { expectRefusal, saccade } from './command-line';
import { has } from './has';

const caches = vi.hoisted(() => ({ folder: '' }));
vi.mock('../src/cache-folder', () => ({ cacheFolder: () => caches.folder }));
vi.mock('../src/tune/index', { spy: true });

const sizes = { workgroups: 96 };
const report: TuneReport = {
  device: 'acme, gpu, driver 7',
  sizes,
  candidates: [
    { entry: 'workgroups', label: '64', sizes: 64, isTable: true, verdict: 'slower', ms: 4, ratio: 1 },
    { entry: 'workgroups', label: '96', sizes: 96, isTable: false, verdict: 'kept', ms: 2, ratio: 0.5 },
    { entry: 'workgroups', label: '128', sizes: 128, isTable: false, verdict: 'wrong', reason: 'off by 1' },
  ],
};

/** A device that has nothing but what sizes are chosen by. */
const device = deviceOf('driver 7');

function deviceOf(description: string): DeviceTraits {
  const limits = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 32768 };
  const identity = identifyAdapter({ vendor: 'acme', architecture: 'gpu', device: '', description });
  return { limits, identity, subgroupSize: undefined } as unknown as DeviceTraits;
}

/** Software takes long to compile kernels, longer on a busy machine. */
const COMPILING = 240_000;

const today = expect.stringMatching(/^\d{4}-\d\d-\d\d$/);
const path = () => join(caches.folder, 'webgpu.json');
const write = (content: unknown) => writeFile(path(), typeof content === 'string' ? content : JSON.stringify(content));

beforeEach(async () => {
  caches.folder = await mkdtemp(join(tmpdir(), 'saccade-tune-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(caches.folder, { recursive: true, force: true });
});

describe('the file of tuned sizes', () => {
  test('is found again by the device that it was written for, and by no other', async () => {
    expect(readTuned(device)).toBeUndefined();
    const tuned = { date: '2026-11-25', sizes };
    await write(withTuned('', report.device, tuned));
    expect(readTuned(device)).toEqual({ ...tuned, path: path() });
    expect(readTuned(deviceOf('driver 8'))).toBeUndefined();
  });

  test('keeps what it holds of other devices', () => {
    const first = withTuned('', 'first', { date: '2026-11-25', sizes: {} });
    const both = JSON.parse(withTuned(first, 'second', { date: '2026-11-26', sizes }));
    expect(both).toEqual({
      devices: { first: { date: '2026-11-25', sizes: {} }, second: { date: '2026-11-26', sizes } },
    });
    for (const damaged of ['{', '[]', '{"devices":7}', '{"other":1}'])
      expect(JSON.parse(withTuned(damaged, 'first', { date: '2026-11-25', sizes: {} }))).toEqual(JSON.parse(first));
  });

  const entry = (tuned: unknown) => ({ devices: { [report.device]: tuned } });
  const sized = (fields: object) => entry({ date: '2026-11-25', sizes: fields });
  const tiled = (fields: object) =>
    sized({
      attention: [{ tiled: { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8, ...fields } }],
    });
  test.each([
    ['no JSON', '{"devices":', 'expected JSON, got what it is not: '],
    ['a list', [], 'the file.devices: expected an object with the field devices and no others, got undefined'],
    ['other fields', { devices: {}, version: 2 }, 'the file.version: expected an object with the field devices'],
    ['no devices', { devices: 'none' }, 'the file.devices: expected an object, got "none"'],
    ['no entry', entry(7), `devices["${report.device}"]: expected the fields date, sizes and no others, got 7`],
    ['no date', entry({ sizes: {} }), '.date: expected the fields date, sizes and no others, got undefined'],
    ['a date that is none', entry({ date: 'x\n', sizes: {} }), '.date: expected a day such as 2026-11-25, got "x\\n"'],
    [
      'unknown fields',
      sized({ turbo: true }),
      '.sizes.turbo: expected only the fields attention, workgroups, got true',
    ],
    ['wrong types', sized({ workgroups: '32' }), '.sizes.workgroups: expected a whole number up to 65536, got "32"'],
    ['code', tiled({ rows: '4); } fn evil() {' }), '.0.tiled.rows: expected 4 or 8, got "4); } fn evil() {"'],
    [
      'sizes beyond the device',
      tiled({ queries: 256 }),
      '.sizes.attention.0.tiled: expected at most 256 invocations in a workgroup, as many as this device has, got 512',
    ],
  ])('with %s is refused with its name and the remedy', async (_, content, fault) => {
    await write(content);
    const refused = expect.objectContaining({
      name: 'ParseError',
      message: expect.stringMatching(/; delete the file, or run `saccade tune`, which replaces what is wrong in it$/),
    });
    expect(() => readTuned(device)).toThrow(refused);
    expect(() => readTuned(device)).toThrow(`${path()}: `);
    expect(() => readTuned(device)).toThrow(fault);
  });

  test('that cannot be read is refused', async () => {
    await mkdir(path());
    expect(() => readTuned(device)).toThrow(/webgpu\.json cannot be read: it is no regular file; delete it/);
  });

  test('that is large is not read', async () => {
    await write(`{"devices":${' '.repeat(2 ** 20)}{}}`);
    expect(() => readTuned(device)).toThrow(/cannot be read: it has 1048590 bytes, and at most 1048576 are expected/);
  });

  test.runIf(has('mkfifo'))('that is a pipe that nobody writes to is not read', async () => {
    execFileSync('mkfifo', [path()]);
    expect(() => readTuned(device)).toThrow(/cannot be read: it is no regular file/);
    const { code, stderr } = await saccade('tune');
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${path()} is no regular file: delete it`)]);
    expect(tuning.tuneWebGpu).not.toHaveBeenCalled();
  });

  test('of objects in objects without end is refused by name', async () => {
    const deep = '['.repeat(2 ** 18) + ']'.repeat(2 ** 18);
    await write(JSON.stringify(sized({ workgroups: 'deep' })).replace('"deep"', deep));
    expect(() => readTuned(device)).toThrow(
      /\.sizes\.workgroups: expected a whole number up to 65536, got an object that is nested too deep/,
    );
  });

  test('is not there where its folder is none', async () => {
    await rm(caches.folder, { recursive: true });
    await writeFile(caches.folder, '');
    expect(readTuned(device)).toBeUndefined();
  });
});

describe('saccade tune', () => {
  test('stores what it found and shows the candidates', async () => {
    vi.mocked(tuning.tuneWebGpu).mockResolvedValue(report);
    caches.folder = join(caches.folder, 'not', 'there');
    const { code, stdout } = await saccade('tune', '--quick');
    expect(code).toBe(0);
    expect(stdout).toContain('acme, gpu, driver 7');
    expect(stdout).toMatch(/workgroups +64 \(table\) +4\.00 ms +1\.00× +slower/);
    expect(stdout).toMatch(/2\.00 ms +0\.500× +kept/);
    expect(stdout).toMatch(/wrong: off by 1/);
    expect(stdout).toContain(`faster sizes than the table has for such devices; stored in ${path()}`);
    expect(readTuned(device)).toEqual({ date: today, sizes, path: path() });
    expect(vi.mocked(tuning.tuneWebGpu).mock.calls).toEqual([[expect.objectContaining({ quick: true })]]);
  });

  test('writes to another file, whole or not at all, and replaces what is damaged', async () => {
    vi.mocked(tuning.tuneWebGpu).mockResolvedValue({ ...report, sizes: {} });
    const out = join(caches.folder, 'elsewhere.json');
    await writeFile(out, '{ "devi');
    const { stdout } = await saccade('tune', '--out', out);
    expect(stdout).toContain(`none that beat the table's by more than the noise; stored in ${out}`);
    expect(JSON.parse(await readFile(out, 'utf8'))).toEqual({
      devices: { [report.device]: { date: today, sizes: {} } },
    });
    expect(await readdir(caches.folder)).toEqual(['elsewhere.json']);
  });

  test('leaves the file alone if it fails, and measures nothing for a folder that is not there', async () => {
    const measure = vi.mocked(tuning.tuneWebGpu).mockRejectedValue(new Error('the device burns'));
    await write('{}');
    expect((await saccade('tune')).code).toBe(1);
    expect(await readFile(path(), 'utf8')).toBe('{}');
    expect(await readdir(caches.folder)).toEqual(['webgpu.json']);
    measure.mockClear();
    await expectRefusal(['tune', '--out', join(caches.folder, 'no', 'where.json')], 'cannot write');
    await expectRefusal(['tune', '--fast'], "unknown option '--fast'");
    expect(measure).not.toHaveBeenCalled();
  });

  test('keeps a link', async () => {
    vi.mocked(tuning.tuneWebGpu).mockResolvedValue(report);
    const target = join(caches.folder, 'target.json');
    await writeFile(target, withTuned('', 'other', { date: '2026-11-25', sizes: {} }));
    await symlink(target, path());
    await saccade('tune');
    expect(Object.keys(JSON.parse(await readFile(target, 'utf8')).devices)).toEqual(['other', report.device]);
  });
});

describe.runIf(has('gpu'))('a runtime of its own in Node', () => {
  const open = () => createRuntime({ backend: 'webgpu' });

  test('has the sizes that saccade tune stored for its adapter, and says so', { timeout: COMPILING }, async () => {
    const { tuneWebGpu } = await vi.importActual<typeof tuning>('../src/tune/index');
    vi.mocked(tuning.tuneWebGpu).mockImplementation(tuneWebGpu);
    for (const tunable of Object.values(TUNABLE)) vi.spyOn(tunable, 'candidates').mockReturnValue([]);
    using before = await open();
    expect(before.explain()).toMatch(/^sizes: the table's$/m);
    const { code, stdout } = await saccade('tune', '--quick');
    expect(stdout).toMatch(/\(table\) +[\d.]+ (ms|s) +1\.00× +kept/);
    expect(code).toBe(0);
    using after = await open();
    expect(after.explain()).toMatch(
      /^sizes: the table's, which none beat when tuned on \d{4}-\d\d-\d\d, as .*webgpu\.json says$/m,
    );
    using given = await createRuntime({ backend: 'webgpu', webgpu: { sizes: {} } });
    expect(given.explain()).toMatch(/^sizes: given$/m);
  });

  test('cuts its kernels as the file says', async () => {
    const { device: gpu } = await openDevice({});
    await write(withTuned('', identifyAdapter(adapterOf(gpu)), { date: '2026-11-25', sizes }));
    gpu.destroy();
    const opened = await Device.open({}, chooseSizes);
    expect(sizesOf(opened)).toEqual({ ...tableSizes(opened), ...sizes });
    expect(opened.explain()).toContain(`sizes: tuned on 2026-11-25, from ${path()}`);
    opened.dispose();
  });

  test('ignores a file that is wrong about its adapter, with one warning; with other options it reads none', async () => {
    const { device } = await openDevice({});
    const wrong = { date: '2026-11-25', sizes: { workgroups: -1 } };
    await write(withTuned('', identifyAdapter(adapterOf(device)), wrong));
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    for (let time = 0; time < 2; time++) {
      using ignoring = await open();
      expect(ignoring.explain()).toMatch(
        /^sizes: the table's; ignored .*webgpu\.json: devices\[.* got -1; delete the file/m,
      );
    }
    expect(warn.mock.calls).toEqual([[expect.stringContaining(`ignored ${path()}: devices[`), 'SaccadeWarning']]);
    // Of another fault it is told once more.
    await rm(path());
    await mkdir(path());
    using beside = await open();
    expect(beside.explain()).toMatch(/^sizes: the table's; ignored .*webgpu\.json cannot be read/m);
    expect(warn).toHaveBeenCalledTimes(2);
    using given = await createRuntime({ backend: 'webgpu', webgpu: { sizes } });
    using callers = await createRuntime({ backend: 'webgpu', webgpu: { device } });
    expect(given.explain()).toMatch(/^sizes: given$/m);
    expect(callers.explain()).toMatch(/^sizes: the table's$/m);
    using plain = await createRuntime({ backend: 'webgpu', webgpu: { subgroups: false } });
    expect(plain.explain()).toMatch(/^sizes: the table's$/m);
    device.destroy();
  });
});
