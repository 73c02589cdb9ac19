import { describe, expect, test } from 'vitest';
import type { DeviceTraits } from '../../runtime/webgpu/plan';
import { type Sizes, tableSizes } from '../attention/webgpu/sizes';
import { TUNABLE } from '../attention/webgpu/tunable';
import { faultOfSizes } from './schemas';
import type { Tunable } from './tunable';

/** A device that has nothing but what sizes are chosen by. */
function device(invocations: number, bytes: number, about: Partial<DeviceTraits> = {}): DeviceTraits {
  const limits = { maxComputeInvocationsPerWorkgroup: invocations, maxComputeWorkgroupStorageSize: bytes };
  return { limits, isSoftware: false, subgroupSize: undefined, vendor: '', ...about } as unknown as DeviceTraits;
}

const DEVICE = device(256, 32768, { subgroupSize: 8 });

test.each([
  { isSoftware: true },
  { isSoftware: true, subgroupSize: 4 },
  { isSoftware: true, subgroupSize: 8 },
  { isSoftware: true, subgroupSize: 32 },
  { vendor: 'intel' },
  { vendor: 'nvidia' },
])('the table and all candidates are right: %j', (about) => {
  const boundless = device(2 ** 20, 2 ** 30, about);
  const table = tableSizes(boundless);
  expect(faultOfSizes('table', table, boundless)).toBeUndefined();
  for (const [name, tunable] of Object.entries(TUNABLE)) {
    const tried = (tunable as Tunable<unknown>).candidates(table[name as keyof Sizes], boundless);
    expect(tried.length).toBeGreaterThan(1);
    for (const sizes of tried) expect(faultOfSizes('candidates', { [name]: sizes }, boundless)).toBeUndefined();
  }
});

test.each([
  { bytes: 16_384, about: { vendor: 'intel' } },
  { bytes: 32_768, about: { vendor: 'amd' } },
  { bytes: 49_152, about: { vendor: 'nvidia' } },
])('the table suits devices of its classes with $bytes bytes of workgroup memory: $about', ({ bytes, about }) => {
  const each = device(256, bytes, about);
  expect(faultOfSizes('table', tableSizes(each), each)).toBeUndefined();
});

describe('sizes from outside', () => {
  const good = { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 };
  const rows = { lanes: 8, rows: 4, keys: 4, shares: false };
  const tiled = (fields: object) => ({ attention: [{ tiled: { ...good, ...fields } }] });
  const byRows = (fields: object) => ({ attention: [{ rows: { ...rows, ...fields } }] });

  test('may name some entries, or none', () => {
    expect(faultOfSizes('sizes', {}, DEVICE)).toBeUndefined();
    expect(faultOfSizes('sizes', { workgroups: 64 }, DEVICE)).toBeUndefined();
    expect(faultOfSizes('sizes', tiled({}), DEVICE)).toBeUndefined();
    expect(faultOfSizes('sizes', { attention: [{ rows, below: 9 }, { tiled: good }] }, DEVICE)).toBeUndefined();
  });

  test.each([
    [null, /^sizes: expected an object with any of the fields attention, workgroups, got null$/],
    [[good], /^sizes: expected an object .*, got \[\{"queries":32/],
    ['attention', /^sizes: expected an object .*, got "attention"$/],
    [{ convolution: good }, /^sizes\.convolution: expected only the fields attention, workgroups, got \{"queries"/],
    [{ workgroups: 1.5 }, /^sizes\.workgroups: expected a whole number up to 65536, got 1\.5$/],
    [{ workgroups: 0 }, /^sizes\.workgroups: expected a whole number up to 65536, got 0$/],
    [{ attention: good }, /^sizes\.attention: expected a list of kernels, got \{"queries"/],
    [
      { attention: [] },
      /^sizes\.attention: expected a list of kernels of which all but the last have `below`, got \[\]$/,
    ],
    [{ attention: [{ rows, below: 9 }] }, /^sizes\.attention: expected a list of kernels of which all but the last/],
    [{ attention: [{ rows }, { rows }] }, /^sizes\.attention: expected a list of kernels of which all but the last/],
    [{ attention: [7] }, /^sizes\.attention\.0: expected the fields tiled, rows, below and no others, got 7$/],
    [{ attention: [{}] }, /^sizes\.attention\.0: expected either tiled or rows, got \{\}$/],
    [{ attention: [{ tiled: good, rows }] }, /^sizes\.attention\.0: expected either tiled or rows, got \{"tiled"/],
    [
      { attention: [{ tiled: good, rows: undefined }] },
      /^sizes\.attention\.0\.rows: expected the fields .*, got undefined$/,
    ],
    [{ attention: [{ rows, below: -1 }] }, /^sizes\.attention\.0\.below: expected a whole number, got -1$/],
    [tiled({ wide: 1 }), /^sizes\.attention\.0\.tiled\.wide: expected the fields queries, .* and no others, got 1$/],
    [{ attention: [{ tiled: { queries: 32 } }] }, /^sizes\.attention\.0\.tiled\.keys: expected the .*, got undefined$/],
    [tiled({ queries: '32' }), /^sizes\.attention\.0\.tiled\.queries: expected 16 or a multiple of 32.*, got "32"$/],
    [tiled({ queries: 48 }), /\.queries: expected 16 or a multiple of 32.*, got 48$/],
    [tiled({ keys: 1e9 }), /\.keys: expected a multiple of 4 up to 256, got 1000000000$/],
    [tiled({ depth: Number.NaN }), /\.depth: expected a multiple of 4.*, got NaN$/],
    [tiled({ rows: -4 }), /\.rows: expected 4 or 8, got -4$/],
    [tiled({ columns: 16 }), /\.tiled: expected keys that are a multiple of 4 columns, got \{/],
    [tiled({ values: 5 }), /\.tiled: expected values that divide keys, got \{/],
    [byRows({ shares: 'no' }), /^sizes\.attention\.0\.rows\.shares: expected true or false, got "no"$/],
    [byRows({ rows: 5 }), /\.rows: expected at most 32 queries, which are lanes times rows, got \{/],
    [byRows({ lanes: 6, shares: true }), /\.rows: expected lanes that are a multiple of 4, as they share, got \{/],
    [JSON.parse('{ "__proto__": 1 }'), /^sizes\.__proto__: expected only the fields/],
  ])('%j are refused by name', (value, message) => {
    expect(faultOfSizes('sizes', value, DEVICE)).toMatch(message);
  });

  test('are held to what the device has', () => {
    expect(faultOfSizes('sizes', tiled({ queries: 256 }), DEVICE)).toMatch(
      /^sizes\.attention\.0\.tiled: expected at most 256 invocations .*, got 512$/,
    );
    // For heads that are too large fewer values are staged at once.
    expect(faultOfSizes('sizes', tiled({ values: 32 }), DEVICE)).toBeUndefined();
    expect(faultOfSizes('sizes', tiled({ depth: 256 }), DEVICE)).toMatch(
      /^sizes\.attention\.0\.tiled: expected at most 32768 bytes of workgroup memory.*, got 67584$/,
    );
    const shared = byRows({ shares: true });
    expect(faultOfSizes('sizes', shared, DEVICE)).toBeUndefined();
    expect(faultOfSizes('sizes', shared, device(256, 32768, { subgroupSize: 4 }))).toMatch(
      /^sizes\.attention\.0\.rows: expected the 4 lanes of this device's subgroups, got 8$/,
    );
    expect(faultOfSizes('sizes', shared, device(256, 32768))).toMatch(/no subgroups of one size, got 8$/);
  });
});
