import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { ARITHMETIC, BITS, EXTREMES, functionOf, randomSources } from '../../test/random-functions';
import { ExpressionWords } from '../masks/expression-words';
import { from } from '../masks/from';
import { keyWords } from '../masks/key-words';
import type { Place } from '../masks/mask';
import { evaluate } from './evaluate';
import { parse } from './parse';
import { Decider } from './ranges';
import { renumbered } from './renumber';
import { Tile } from './tile';

const MASK = { caller: 'masks.from', parameters: ['b', 'h', 'q', 'k'], returns: 'boolean' } as const;
const SCORE = { caller: 'scores.from', parameters: ['score', 'b', 'h', 'q', 'k'], returns: 'number' } as const;

const captured = {
  w: 3,
  doc: Int32Array.from({ length: 300 }, (_, i) => Math.floor(i / 23)),
  bias: [0.5, -2, Number.NaN, 1e300, 7, 0, 3, Number.POSITIVE_INFINITY],
  flag: [true, false, false, true, true],
};

const sources = randomSources({
  numbers: ['b', 'h', 'q', 'k', 'q', 'k', '(q - k)', 'c.w', 'c.n', 'c.m'],
  // An element that is not there is undefined, which unlike NaN equals itself.
  arrays: ['(+c.doc[$])', '(+c.bias[$])'],
  flags: ['!!c.flag[$]'],
  unary: [
    ...['-$', '+$', '~$'].map((template) => `(${template})`),
    ...['abs', 'floor', 'ceil', 'round', 'trunc', 'sign', 'sqrt', 'exp', 'log', 'tanh', 'cos', 'sin'].map(
      (name) => `Math.${name}($)`,
    ),
  ],
  binary: [...ARITHMETIC, ...ARITHMETIC, ...BITS, ...EXTREMES, 'Math.pow($, $)', '(($) ** $)'],
  constants: fc.oneof(fc.integer({ min: -40, max: 40 }), fc.double(), fc.constantFrom(0.5, -0, 2 ** 31, 64)),
});
const place = (n: number, m: number): Place => ({ b: 3, n, m, h: 4, g: 2, batch: 2, head: 3 });
const fixedOf = ({ batch, head, n, m }: Place) => ({ b: batch, h: head, n, m });

/** Whether each query sees each key, by the words. */
function pairs(words: { starts: readonly number[]; words: readonly number[] }, rows: number, m: number): boolean[][] {
  const seen = Array.from({ length: rows }, () => new Array<boolean>(m).fill(false));
  words.starts.forEach((start, at) => {
    for (let k = start; k < (words.starts[at + 1] ?? m); k++) {
      for (let r = 0; r < rows; r++) (seen[r] as boolean[])[k] = (((words.words[at] as number) >> r) & 1) === 1;
    }
  });
  return seen;
}

describe('evaluate', () => {
  test('gives what JavaScript gives', () => {
    const index = fc.integer({ min: 0, max: 400 });
    fc.assert(
      fc.property(sources.number, index, index, fc.double(), (source, q, k, score) => {
        const fn = functionOf('s, b, h, q, k, c', `s + ${source}`);
        const expression = parse(fn, captured, SCORE);
        const { batch, head, n, m } = place(400, 400);
        const expected = fn(score, batch, head, q, k, { ...captured, n, m });
        expect(evaluate(expression, q, k, { b: batch, h: head, n, m }, score)).toBe(expected);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('words', () => {
  const check = (fn: (...args: unknown[]) => unknown, queries: readonly number[], at: Place) => {
    const words = new ExpressionWords(renumbered(parse(fn, captured, MASK))).of(queries, at);
    const { batch, head, n, m } = at;
    expect(words.words.at(-1) ?? 0).toBe(0);
    expect(pairs(words, queries.length, m)).toEqual(
      queries.map((q) => Array.from({ length: m }, (_, k) => fn(batch, head, q, k, { ...captured, n, m }))),
    );
    return words;
  };

  test('say what JavaScript says, of tiles and of scattered queries', () => {
    const m = fc.integer({ min: 1, max: 300 });
    const tile = fc
      .tuple(fc.integer({ min: 0, max: 260 }), fc.integer({ min: 1, max: 32 }))
      .map(([first, count]) => Array.from({ length: count }, (_, r) => first + r));
    const scattered = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 32 });
    fc.assert(
      fc.property(sources.boolean, m, fc.oneof(tile, scattered), (source, m, queries) => {
        check(functionOf('b, h, q, k, c', source), queries, place(301, m));
      }),
      { numRuns: 1500 },
    );
  });

  test('are the same whatever was asked before', () => {
    const tile = fc.tuple(fc.nat(2000), fc.integer({ min: 1, max: 32 }), fc.nat(3), fc.constantFrom(250, 251));
    fc.assert(
      fc.property(sources.boolean, fc.array(tile, { minLength: 4, maxLength: 4 }), (source, tiles) => {
        const fn = functionOf('b, h, q, k, c', source);
        const words = new ExpressionWords(renumbered(parse(fn, captured, MASK)));
        for (const [first, count, head, m] of tiles) {
          const queries = Array.from({ length: count }, (_, r) => first + r);
          expect(pairs(words.of(queries, { ...place(2100, m), head }), count, m)).toEqual(
            queries.map((q) => Array.from({ length: m }, (_, k) => fn(2, head, q, k, { ...captured, n: 2100, m }))),
          );
        }
      }),
      { numRuns: 200 },
    );
  });

  test('compute few pairs of documents, in whatever order their ids are', () => {
    const [n, lengths] = [2 ** 16, 2 ** 12];
    const doc = Int32Array.from({ length: n }, (_, i) => (7 * Math.floor((i + 50) / lengths)) % 17);
    const decide = vi.spyOn(Decider.prototype, 'decide');
    const compute = vi.spyOn(Tile.prototype, 'words');
    const mask = from((_b, _h, q, k, { doc }) => doc[q] === doc[k] && k <= q, { doc });
    let seen = 0;
    for (let first = 0; first < n; first += 32) {
      const queries = Array.from({ length: 32 }, (_, r) => first + r);
      seen += keyWords(mask, queries, { ...place(n, n), b: 1, batch: 0 }).count();
    }
    const runs = [lengths - 50, ...new Array<number>(15).fill(lengths), 50];
    expect(seen).toBe(runs.reduce((pairs, length) => pairs + (length * (length + 1)) / 2, 0));
    // The ends of its document and the diagonal, each in one tile of keys.
    expect(compute.mock.calls.length).toBeLessThan((3 * n) / 32);
    expect(decide.mock.calls.length).toBeLessThan((40 * n) / 32);
    vi.restoreAllMocks();
  });

  test('of elements compared with others of their array are those of their values', () => {
    const ids = [5, Number.NaN, 5, -0, 0, 7, Number.NaN, Number.POSITIVE_INFINITY, 1e300, 7];
    const fn = (_b: number, _h: number, q: number, k: number, { ids }: { ids: number[] }) =>
      ids[q] === ids[k] || ids[q]! < ids[k]! || ids[q - 1] === 7;
    const expression = parse(fn, { ids }, MASK);
    const other = renumbered(expression);
    const fixed = { b: 0, h: 0, n: 12, m: 12 };
    for (let q = 0; q < ids.length; q++) {
      for (let k = 0; k < ids.length; k++) expect(evaluate(other, q, k, fixed)).toBe(Number(fn(0, 0, q, k, { ids })));
      expect(evaluate(other, q, 11, fixed)).toBe(evaluate(expression, q, 11, fixed));
    }
  });

  test('find long stretches without touching their pairs', () => {
    const causal = new ExpressionWords(parse((_b: number, _h: number, q: number, k: number) => k <= q, {}, MASK)).of(
      Array.from({ length: 32 }, (_, r) => 1_000_000 + r),
      place(2_000_000, 2_000_000_000),
    );
    expect(causal.starts).toEqual([0, ...Array.from({ length: 32 }, (_, r) => 1_000_001 + r)]);
  });

  test('say nothing of no keys and no queries', () => {
    const expression = parse(() => true, {}, MASK);
    expect(new ExpressionWords(expression).of([1], place(4, 0)).starts).toEqual([]);
    expect(new ExpressionWords(expression).of([], place(4, 4)).starts).toEqual([]);
  });
});

describe('parse', () => {
  test('takes the forms in which people write functions', () => {
    const c = captured;
    const at = place(50, 50);
    const queries = Array.from({ length: 32 }, (_, r) => r);
    const forms: unknown[] = [
      (_b: number, _h: number, q: number, k: number) => q >= k && q - k <= 3,
      function named(_b: number, _h: number, q: number, k: number, { doc, w }: typeof c) {
        const near = Math.abs(q - k) <= w;
        return near && doc[q] === doc[k];
      },
      {
        sees(_b: number, _h: number, q: number, k: number, { flag: isGlobal }: typeof c) {
          if (isGlobal[q]) return true;
          if (isGlobal[k]) return true;
          else return k <= q;
        },
      }.sees,
      (_b: number, _h: number, q: number, k: number, c: { doc: Int32Array; n: number; m: number }) =>
        q + c.m - c.n >= k && k < c.doc.length - 280 + 2 * Math.PI,
      (_b: number, _h: number, q: number, _k: number) => (q % 2 ? true : !(q & 1 && q & 2)),
    ];
    for (const form of forms) {
      const fn = form as (...args: unknown[]) => unknown;
      const words = new ExpressionWords(renumbered(parse(fn, captured, MASK))).of(queries, at);
      const expected = queries.map((q) =>
        Array.from({ length: at.m }, (_, k) => fn(at.batch, at.head, q, k, { ...captured, n: at.n, m: at.m })),
      );
      expect(pairs(words, 32, at.m)).toEqual(expected);
    }
  });

  test('looks into what was captured', () => {
    const fn = (
      s: number,
      _b: number,
      _h: number,
      q: number,
      _k: number,
      c: { t: { data: Float32Array; shape: number[] } },
    ) => s + (c.t.data[q] as number) * (c.t.shape[0] as number);
    const expression = parse(fn, { t: { data: Float32Array.of(1, 2, 3), shape: [3] } }, SCORE);
    expect(evaluate(expression, 2, 0, fixedOf(place(3, 3)), 0.5)).toBe(9.5);
    expect(evaluate(expression, 3, 0, fixedOf(place(4, 3)), 0.5)).toBeNaN();
  });

  test('keeps what was captured when it was captured', () => {
    const values = [1, 2];
    const expression = parse(functionOf('s, b, h, q, k, c', 's + c.values[q]'), { values }, SCORE);
    values[1] = 5;
    expect(evaluate(expression, 1, 0, fixedOf(place(2, 2)), 0)).toBe(2);
  });

  const refused: readonly [parameters: string, source: string, message: string][] = [
    ['b, h, q, k', '{ for (;;) {} }', "a 'for' loop at 1:19 cannot be compiled: write a single expression"],
    ['b, h, q, k', 'q - k < w', "'w' at 1:25 is not a parameter: pass it as captured, masks.from(fn, { w })"],
    ['b, h, q, k', '{\n  let x;\n  return q > x }', 'a variable without a value at 2:7'],
    ['b, h, q, k', '{ if (q > k) return true; }', "a branch without a 'return' at 1:"],
    ['b, h, q, k', 'q - k', "must return a boolean, it returns a number: compare it, e.g. 'x !== 0'"],
    ['b, h, q, k', 'near(q, k)', "a call of 'near' at 1:17 cannot be compiled: write it out"],
    ['b, h, q, k', 'Math.hypot(q, k) > 1', 'Math.hypot at 1:17'],
    ['b, h, q, k', 'Math.abs(q, k) > 1', 'Math.abs of 2 at 1:17 cannot be compiled: pass 1'],
    ['b, h, q, k', '{ q = 1; return true; }', 'a statement without effect'],
    ['b, h, q, k', 'q > this.w', "'this' at 1:21"],
    ['b, h, q, k', "q > 'a'", 'a string at 1:21 cannot be compiled: use numbers and booleans'],
    ['b, h, q, k', 'q > 3n', 'a bigint at 1:21'],
    ['b, h, q, k', '(q, k) > 1', 'a comma at 1:18'],
    ['b, h, q, k', 'q ?? k > 1', "'??'"],
    ['b, h, q, k', 'typeof q > 1', "'typeof' at 1:17"],
    ['b, h, q, k', 'q in k', "'in' at 1:17"],
    ['b, h, q, k', '(q > k) === 1', "'===' of a boolean and a number"],
    ['b, h, q, k', 'q || k > 1', "'||' of a number and a boolean at 1:17 cannot be compiled: compare the number"],
    ['b, h, q, k', 'q ? k : q > k', 'a choice between a number and a boolean'],
    ['b, h, q, k', 'q.w > 1', 'a property of a number'],
    ['b, h, q, k, c', 'c.nothing > 1', "captured without 'nothing' at 1:20 cannot be compiled: pass it, { nothing }"],
    ['b, h, q, k, { nothing }', 'q > nothing', "captured without 'nothing' at 1:16"],
    ['b, h, q, k, c', 'c.doc > 1', "'doc', which is an array, at 1:20 cannot be compiled: index it"],
    ['b, h, q, k, c', 'c.w[q] > 1', "an element of 'w', which is no array, at 1:20"],
    ['b, h, q, k, c', 'c.rows[q] > 1', "'rows', whose element 0 is no number, at 1:20 cannot be compiled: flatten it"],
    ['b, h, q, k, c', 'c.name > 1', "'name', which is a string, at 1:20"],
    ['b, h, q, k, c', 'c.big[q] > 1', 'convert it to numbers'],
    ['b, h, q, k, c, d', 'q > k', 'this parameter at 1:17'],
    ['{ b }, h, q, k', 'q > k', 'this parameter at 1:2 cannot be compiled: give it a plain name'],
    ['b, h, q, k, { w = 1 }', 'q > w', 'give no defaults'],
  ];
  test.each(refused)('(%s) => %s: %s', (parameters, source, message) => {
    const all = { ...captured, rows: [[1], [2]], name: 'a', big: [1n] };
    const fn = functionOf(parameters, source);
    expect(() => parse(fn, all, MASK)).toThrow(message);
    expect(() => parse(fn, all, MASK)).toThrow(/^masks\.from: /);
  });

  test('refuses what has no source, or another one', () => {
    expect(() => parse(Math.max, {}, MASK)).toThrow('max is native or bound and has no source');
    expect(() => parse((() => true).bind(null), {}, MASK)).toThrow('native or bound');
    expect(() => parse(async () => true, {}, MASK)).toThrow('an async function at 1:1');
    expect(() => parse(class {}, {}, MASK)).toThrow('a class at 1:1');
    expect(() => parse(3, {}, MASK)).toThrow('masks.from takes a function, got 3');
    expect(() => parse(() => true, null as never, MASK)).toThrow('captured must be an object');
    expect(() => parse(functionOf('s', 's > 1'), {}, SCORE)).toThrow('scores.from: the function must return a number');
  });
});
