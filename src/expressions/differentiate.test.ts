import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ARITHMETIC, EXTREMES, functionOf, randomSources } from '../../test/random-functions';
import { derivativeOf, tableDerivatives } from './differentiate';
import { evaluate } from './evaluate';
import { constantOf } from './expression';
import { type Captured, parse } from './parse';

const SCORE = { caller: 'scores.from', parameters: ['score', 'b', 'h', 'q', 'k'], returns: 'number' } as const;
const fixed = { b: 0, h: 1, n: 9, m: 7 };
const compile = (source: string, captured: Captured = {}) =>
  parse(functionOf('s, b, h, q, k, c', source), captured, SCORE);

const sources = randomSources({
  numbers: ['s', 's', 'q', 'k'],
  arrays: ['c.x[$ & 3]'],
  flags: [],
  unary: [
    '(-$)',
    ...['abs', 'floor', 'ceil', 'trunc', 'sign', 'sqrt', 'exp', 'log', 'tanh', 'cos', 'sin'].map(
      (name) => `Math.${name}($)`,
    ),
  ],
  binary: [...ARITHMETIC, ...ARITHMETIC, ...EXTREMES, '(($) ** 2)', '(2 ** ($))', '(($) ** ($))'],
  constants: fc.integer({ min: -3, max: 3 }),
});
/** Away from where functions bend. */
const value = fc.integer({ min: -200, max: 200 }).map((i) => 0.0137 * i + 0.0041);

/** The slope of f at x, or undefined where two step widths disagree: there f bends, jumps or is too steep. */
function slope(f: (x: number) => number, x: number): number | undefined {
  const of = (width: number) => (f(x + width) - f(x - width)) / (2 * width);
  const [wide, narrow] = [of(1e-5), of(2e-6)];
  const middle = Math.abs(f(x + 1e-5) + f(x - 1e-5) - 2 * f(x));
  const smooth = Math.abs(wide - narrow) <= 1e-5 * (1 + Math.abs(narrow)) && middle <= 1e-7 * (1 + Math.abs(narrow));
  return smooth && Math.abs(narrow) < 1e4 && Math.abs(f(x)) < 1e4 ? narrow : undefined;
}

describe('derivatives', () => {
  test('with respect to the score are the slope', () => {
    let compared = 0;
    fc.assert(
      fc.property(sources.number, value, value, value, (source, s, q, k) => {
        const expression = compile(source, { x: [0.5, -1.5, 2, 0.25] });
        const expected = slope((score) => evaluate(expression, q, k, fixed, score), s);
        if (expected === undefined) return;
        const actual = evaluate(derivativeOf(expression, 'score'), q, k, fixed, s);
        // The root of what is 0 throughout.
        if (!Number.isFinite(actual)) return;
        compared++;
        expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-3 * (1 + Math.abs(expected)));
      }),
      { numRuns: 1000 },
    );
    expect(compared).toBeGreaterThan(200);
  });

  test('with respect to captured elements are the slopes', () => {
    fc.assert(
      fc.property(sources.number, value, value, value, fc.nat(3), (source, s, q, k, at) => {
        const x = [0.5, -1.5, 2, 0.25];
        const valueWith = (element: number) => {
          const changed = [...x];
          changed[at] = element;
          return evaluate(compile(source, { x: changed }), q, k, fixed, s);
        };
        const expected = slope(valueWith, x[at] as number);
        if (expected === undefined) return;
        const expression = compile(source, { x });
        const actual = tableDerivatives(expression)
          .filter(({ index }) => evaluate(index, q, k, fixed, s) === at)
          .reduce((sum, { factor }) => sum + evaluate(factor, q, k, fixed, s), 0);
        if (!Number.isFinite(actual)) return;
        expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-3 * (1 + Math.abs(expected)));
      }),
      { numRuns: 500 },
    );
  });

  test('are simple where they are', () => {
    const slopeOf = (source: string) => constantOf(derivativeOf(compile(source, { x: [1, 2] }), 'score'));
    expect(slopeOf('s - 3 * Math.abs(q - k)')).toBe(1);
    expect(slopeOf('s + c.x[q]')).toBe(1);
    expect(slopeOf('q')).toBe(0);
    expect(slopeOf('q > k ? s : 2 + s')).toBe(1);
    expect(
      tableDerivatives(compile('s + c.x[q] + c.x[k]', { x: [1, 2] })).map(({ factor }) => constantOf(factor)),
    ).toEqual([1, 1]);
    expect(tableDerivatives(compile('c.x[q] > 0 ? s : -s', { x: [1, 2] }))).toEqual([]);
  });
});
