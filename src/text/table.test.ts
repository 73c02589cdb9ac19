import { expect, test } from 'vitest';
import { formatTable } from './table';

const COLUMNS = [{ header: 'name' }, { header: 'time', align: 'right' }] as const;

test('columns take the width of their widest cell', () => {
  expect(
    formatTable(COLUMNS, [
      ['full', '120 ms'],
      ['window 64', '9 ms'],
    ]),
  ).toBe(['name         time', '─────────  ──────', 'full       120 ms', 'window 64    9 ms'].join('\n'));
});

test('colours take no width', () => {
  const red = (text: string) => `\u001b[31m${text}\u001b[39m`;
  expect(formatTable(COLUMNS, [[red('full'), red('1 ms')]]).split('\n')[2]).toBe(`${red('full')}  ${red('1 ms')}`);
});

test('a cell of several lines makes its row that high', () => {
  expect(
    formatTable(COLUMNS, [
      ['a\nb', '1'],
      ['c', '2\n3'],
    ])
      .split('\n')
      .slice(2),
  ).toEqual(['a        1', 'b', 'c        2', '         3']);
});

test('without rows the header stands alone', () => {
  expect(formatTable(COLUMNS, []).split('\n')).toEqual(['name  time', '────  ────']);
});
