import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeMethod, sequences } from '../../../../test/describe-method';
import { area } from '../../../masks/area';
import { drawLengths, LENGTH_TABLES, tableFor } from '../../../masks/longca-lengths';
import { problemOfLetters } from '../../define';
import { longca } from '.';
import { MASK_NAMES } from './settings';

const cases = sequences.chain(({ b, n, g, h, d, e }) =>
  fc
    .record({
      mask: fc.constantFrom(...MASK_NAMES),
      window: fc.integer({ min: 0, max: 20 }),
      prefix: fc.integer({ min: 0, max: 30 }),
      block: fc.integer({ min: 1, max: 20 }),
      ratio: fc.constantFrom(0.1, 0.5, 1),
      acrossQueries: fc.boolean(),
      seed: fc.integer({ min: 0, max: 9 }),
    })
    .map((params) => ({ q: [b, n, h, d], k: [b, n, g, d], v: [b, n, g, e], params })),
);

describeMethod(longca, cases, 40);

const problem = (n: number, heads = {}) => problemOfLetters({ n, m: n, ...heads });
const maskOf = (params: object, n: number, heads = {}) => longca.mask(longca.parse(params), problem(n, heads));

describe('the fourteen masks', () => {
  test('have the costs of their areas', () => {
    for (const mask of MASK_NAMES) {
      const params = longca.parse({ mask, block: 9, window: 5 });
      const letters = { b: 2, n: 70, m: 70, h: 4, g: 2, d: 3, e: 3 };
      const { flops } = longca.cost(letters, params);
      expect(flops, mask).toBe(4 * 3 * area(longca.mask(params, problemOfLetters(letters)), problemOfLetters(letters)));
    }
  });

  test('keep the share of the blocks that is asked for', () => {
    for (const mask of ['uniform-block-sparse', 'variable-block-sparse'])
      for (const ratio of [0.1, 0.2, 0.5, 0.8, 1]) {
        const share = area(maskOf({ mask, ratio, block: 8 }, 160, { h: 4, g: 2 }), problem(160, { h: 4, g: 2 }));
        // Lengths of unequal blocks do not know which are kept.
        const allowed = mask === 'uniform-block-sparse' || ratio === 1 ? 1e-12 : 0.05;
        expect(Math.abs(share / (4 * 160 * 160) - ratio)).toBeLessThan(allowed);
      }
  });

  test('draw lengths as the tables say, the same for the same seed', () => {
    expect([1024, 12 * 1024, 48 * 1024, 128 * 1024].map(tableFor)).toEqual([
      'pile',
      'pile',
      'prolong64k',
      'prolong512k',
    ]);
    for (const table of LENGTH_TABLES) {
      const lengths = drawLengths(2 ** 24, 3, table);
      expect(lengths.reduce((a, b) => a + b)).toBe(2 ** 24);
      expect(lengths).toEqual(drawLengths(2 ** 24, 3, table));
    }
    // Up to 256 tokens are 0.4978 of pile's documents of 0.9996, and 0.0766 of short's.
    const share = (table: 'pile' | 'short') => {
      const lengths = drawLengths(2 ** 24, 3, table);
      return lengths.filter((length) => length <= 256).length / lengths.length;
    };
    expect(share('pile')).toBeCloseTo(0.498, 1);
    expect(share('short')).toBeCloseTo(0.0766, 1);
  });

  test('refuse what does not fit', () => {
    const refused = (params: object, message: string, n = 32, m = n) =>
      expect(() => longca.mask(longca.parse(params as never), problemOfLetters({ n, m }))).toThrow(message);
    refused({ mask: 'ring' }, 'mask');
    refused({ mask: 'full-document', documents: [3, 4] }, 'documents must hold the 32 tokens together, got 7 in 2');
    refused({ mask: 'uniform-block-sparse', ratio: 0 }, 'ratio');
    refused({ mask: 'causal' }, 'as many queries as keys, got 4 and 5', 4, 5);
  });
});
