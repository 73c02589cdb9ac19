import { describe, expect, test } from 'vitest';
import type { Device } from './device';
import { excessOf, faultOfSizes } from './size-schemas';
import { tableSizes } from './sizes';
import { TUNABLE, type Tunable } from './tune-works';

const LIMITS = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 32768 };
const BOUNDLESS = { maxComputeInvocationsPerWorkgroup: 2 ** 20, maxComputeWorkgroupStorageSize: 2 ** 30 };
const good = { queries: 32, keys: 32, columns: 8, rows: 4, depth: 32, values: 8 };

test.each([true, false])('the table and all candidates are right, in software: %s', (isSoftware) => {
  const table = tableSizes({ isSoftware } as Device);
  expect(faultOfSizes('table', table, BOUNDLESS)).toBeUndefined();
  for (const [name, tunable] of Object.entries(TUNABLE)) {
    const entry = table[name as keyof typeof table];
    for (const sizes of (tunable as Tunable<typeof entry>).candidates(entry, isSoftware))
      expect(faultOfSizes('candidates', { [name]: sizes }, BOUNDLESS)).toBeUndefined();
  }
});

describe('sizes from outside', () => {
  test('may name some entries, or none', () => {
    expect(faultOfSizes('sizes', {}, LIMITS)).toBeUndefined();
    expect(faultOfSizes('sizes', { attention: good }, LIMITS)).toBeUndefined();
  });

  test.each([
    [null, /^sizes: expected an object with any of the fields attention.*, got null$/],
    [[good], /^sizes: expected an object .*, got \[\{"queries":32/],
    ['attention', /^sizes: expected an object .*, got "attention"$/],
    [{ convolution: good }, /^sizes\.convolution: expected only the fields attention.*, got \{"queries"/],
    [{ attention: 7 }, /^sizes\.attention: expected the fields queries, .* and no others, got 7$/],
    [
      { attention: { ...good, wide: 1 } },
      /^sizes\.attention\.wide: expected the fields queries, .* and no others, got 1$/,
    ],
    [{ attention: { queries: 32 } }, /^sizes\.attention\.keys: expected the fields queries, .*, got undefined$/],
    [
      { attention: { ...good, queries: '32' } },
      /^sizes\.attention\.queries: expected 16 or a multiple of 32.*, got "32"$/,
    ],
    [{ attention: { ...good, queries: 48 } }, /^sizes\.attention\.queries: expected 16 or a multiple of 32.*, got 48$/],
    [
      { attention: { ...good, keys: 1e9 } },
      /^sizes\.attention\.keys: expected a multiple of 4 up to 256, got 1000000000$/,
    ],
    [{ attention: { ...good, depth: Number.NaN } }, /^sizes\.attention\.depth: expected a multiple of 4.*, got NaN$/],
    [{ attention: { ...good, rows: -4 } }, /^sizes\.attention\.rows: expected 4 or 8, got -4$/],
    [
      { attention: { ...good, columns: 16 } },
      /^sizes\.attention: expected keys that are a multiple of 4 columns, got \{/,
    ],
    [{ attention: { ...good, values: 5 } }, /^sizes\.attention: expected values that divide keys, got \{/],
    [JSON.parse('{ "__proto__": 1 }'), /^sizes\.__proto__: expected only the fields/],
  ])('%j are refused by name', (value, message) => {
    expect(faultOfSizes('sizes', value, LIMITS)).toMatch(message);
  });

  test('are held to the limits of the device', () => {
    const many = { queries: 256, keys: 64, columns: 16, rows: 4, depth: 4, values: 16 };
    expect(excessOf('attention', many, LIMITS)).toMatch(/^expected at most 256 invocations .*, got 1024$/);
    const wide = { ...many, rows: 8, columns: 8 };
    expect(faultOfSizes('sizes', { attention: wide }, LIMITS)).toMatch(
      /^sizes\.attention: expected at most 32768 bytes of workgroup memory.*, got 77824$/,
    );
  });
});
