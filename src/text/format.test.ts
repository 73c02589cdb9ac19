import { expect, test } from 'vitest';
import { formatBytes, formatFlops, formatLimit, formatPercent, formatRatio, formatTime, significant } from './format';

test.each([
  [0, '0'],
  [0.012345, '0.0123'],
  [1.234, '1.23'],
  [12.34, '12.3'],
  [1234, '1234'],
  [-0.5, '-0.500'],
  [1e-9, '1.0e-9'],
  [1.24e25, '1.2e+25'],
])('%d with three significant digits', (value, text) => {
  expect(significant(value)).toBe(text);
});

test('units follow the size', () => {
  expect([0.34, 12.34, 1500].map(formatTime)).toEqual(['340 µs', '12.3 ms', '1.50 s']);
  expect([512, 8 * 2 ** 20, 1.5 * 2 ** 30].map(formatBytes)).toEqual(['512 B', '8.00 MiB', '1.50 GiB']);
  expect([90, 34.36e9, 2e18].map(formatFlops)).toEqual(['90 FLOP', '34.4 GFLOP', '2000 PFLOP']);
  expect([0, 1e-9, 0.1234, 1].map(formatPercent)).toEqual(['0%', '<0.001%', '12.3%', '100%']);
  expect([0.1, 0.07, 0.025].map(formatLimit)).toEqual(['10%', '7%', '2.5%']);
  expect(formatRatio(3.209)).toBe('3.21×');
});
