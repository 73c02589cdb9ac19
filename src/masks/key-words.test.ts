import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pushRun } from './intervals';
import { wordsOf } from './key-words';

const LONGEST = 2000;

/** Runs of up to `past` keys. */
const row = (past: number) =>
  fc.uniqueArray(fc.integer({ min: 0, max: past }), { maxLength: 20 }).map((ends) => {
    const sorted = [...ends].sort((a, b) => a - b);
    const runs: number[] = [];
    for (let at = 0; at + 1 < sorted.length; at += 2) pushRun(runs, sorted[at]!, sorted[at + 1]!);
    return runs;
  });

/** With many ends for their keys, and with few. */
const rows = fc.constantFrom(30, 200, LONGEST).chain((past) => fc.array(row(past), { maxLength: 32 }));

test('words say of each key which queries see it', () => {
  fc.assert(
    fc.property(rows, (runsOf) => {
      const { starts, words } = wordsOf(runsOf);
      const expected = new Int32Array(LONGEST + 1);
      runsOf.forEach((runs, r) => {
        for (let at = 0; at < runs.length; at += 2) {
          for (let key = runs[at]!; key < runs[at + 1]!; key++) expected[key]! |= 1 << r;
        }
      });
      const actual = new Int32Array(LONGEST + 1);
      starts.forEach((start, at) => {
        actual.fill(words[at]!, start);
      });
      expect(actual).toEqual(expected);
      expect(starts.every((start, at) => start > (starts[at - 1] ?? -1) && words[at] !== (words[at - 1] ?? 0))).toBe(
        true,
      );
    }),
  );
});
