import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectClose } from '../../test/expect';
import { ARITHMETIC, EXTREMES, functionOf, randomSources } from '../../test/random-functions';
import { kernels, ModifyParams } from '../ops/attention/params.generated';
import { operationsKernels } from '../ops/map/params.generated';
import type { Kernel } from '../runtime/native/calls';
import { BUILDS, type Build } from '../runtime/wasm/files';
import { openHeap } from '../runtime/wasm/memory';
import { Modules } from '../runtime/wasm/modules';
import { numberOf, PARAMS } from '../runtime/wasm/schedule';
import { evaluate } from './evaluate';
import type { Expression } from './expression';
import { OPERATIONS } from './operations';
import { type Captured, parse } from './parse';
import { compileProgram, type Program } from './program';
import { anyScore, integers, isInt32, rangesOf } from './ranges';
import { stepsOf } from './steps';

const LANES = 24;
const extent = { b: 2, n: 60, m: 50, h: 4, g: 2 };
const SCORE = { caller: 'scores.from', parameters: ['score', 'b', 'h', 'q', 'k'], returns: 'number' } as const;
const compile = (source: string, captured: Captured = {}) =>
  parse(functionOf('s, b, h, q, k, c', source), captured, SCORE);

interface Tile {
  readonly scores: Float32Array;
  readonly queries: readonly number[];
  readonly keys: readonly number[];
  readonly b: number;
  readonly h: number;
}

/** Runs programs in a module of its own; what lies around the result must stay as it is. */
async function machine(build: Build) {
  const heap = openHeap();
  const room = await new Modules(heap, build, 0, operationsKernels).interpreting(kernels);
  const modifyScores = room.kernels[numberOf(room, 'modifyScores')] as Kernel;
  const { memory } = heap;
  const free = heap.take(2 ** 20).address;
  return ({ code, tables }: Program, { scores, queries, keys, b, h }: Tile, inPlace = false): Float32Array => {
    let next = free;
    const put = (values: Int32Array | Float32Array) => {
      const address = next;
      next += (values.byteLength + 127) & ~63;
      new Uint8Array(memory.buffer).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), address);
      return address;
    };
    const places = tables.flatMap((table) => [put(table), table.length]);
    const result = put(scores);
    const address = inPlace ? result : put(new Float32Array(scores.length + 8).fill(12345));
    const params = ModifyParams({
      ...{ program: put(code), tables: put(Int32Array.from(places)), scores: result, out: address },
      ...{ queries: put(Int32Array.from(queries)), keys: put(Int32Array.from(keys)) },
      ...{ count: keys.length, batch: b, head: h },
    });
    new Float64Array(memory.buffer, PARAMS).set(params);
    modifyScores(PARAMS, 0, next);
    const out = new Float32Array(memory.buffer, address, scores.length + (inPlace ? 0 : 8)).slice();
    if (!inPlace) expect([...out.slice(scores.length)]).toEqual(new Array(8).fill(12345));
    return out.slice(0, scores.length);
  };
}

const machines = { relaxed: await machine('relaxed'), baseline: await machine('baseline') };

/** `f` of every element of a tile. */
function each({ scores, queries, keys }: Tile, f: (score: number, q: number, k: number) => number): Float64Array {
  return Float64Array.from(scores, (score, at) =>
    f(score, queries[at % LANES] as number, keys[Math.floor(at / LANES)] as number),
  );
}

function tileOf(keys: readonly number[], score: (at: number) => number): Tile {
  return {
    scores: Float32Array.from({ length: LANES * keys.length }, (_, at) => score(at)),
    queries: Array.from({ length: LANES }, (_, r) => (r * 7 + 3) % extent.n),
    keys,
    b: 1,
    h: 3,
  };
}

const keysOf = (count: number) => Array.from({ length: count }, (_, j) => (j * 11 + 5) % extent.m);

/** As `evaluate`, but that what is not integers is rounded to float32 after each operation. */
function evaluateFloat32(expression: Expression, q: number, k: number, score: number, { b, h }: Tile): number {
  const { n, m } = extent;
  const inputs = { score, b, h, q, k, n, m };
  const box = { score: anyScore, b: integers(0, 1), h: integers(0, 3), q: integers(0, n - 1), k: integers(0, m - 1) };
  const ranges = rangesOf(expression, { ...box, n: integers(n, n), m: integers(m, m) });
  const values: number[] = [];
  for (const [at, { node, args }] of stepsOf(expression).entries()) {
    const [x = 0, y = 0, z = 0] = args.map((arg) => values[arg] as number);
    let value: number;
    if ('value' in node) value = node.value;
    else if ('name' in node) value = inputs[node.name as keyof typeof inputs];
    else if ('table' in node) value = node.table.values[x] ?? Number.NaN;
    else {
      const out = new Float64Array(1);
      OPERATIONS[node.operation].loop(out, Float64Array.of(x), Float64Array.of(y), Float64Array.of(z), 1);
      value = out[0] as number;
    }
    // Integers know no -0.
    values.push(isInt32(ranges[at]!) ? value + 0 : Math.fround(value));
  }
  return values.at(-1) as number;
}

const captured = {
  doc: Int32Array.from({ length: 60 }, (_, i) => (i * i) % 17),
  bias: Float32Array.from({ length: 16 }, (_, i) => Math.sin(i)),
  flag: [true, false, false, true],
};
const small = 'Math.max(-500, Math.min(500, $))';
const sources = randomSources({
  numbers: ['s', 'b', 'h', 'q', 'k', 'q', 'k', '(q - k)', 'c.n', 'c.m'],
  arrays: [
    'c.doc[q]',
    'c.doc[k]',
    `c.doc[${small} & 63]`,
    `c.bias[${small} >> 2]`,
    'c.bias[(b * 4 + h) * 2 + (k & 1)]',
  ],
  flags: [`!!c.flag[${small} & 7]`],
  unary: [
    ...['abs', 'floor', 'ceil', 'round', 'trunc', 'sign', 'sqrt'].map((name) => `Math.${name}($)`),
    ...['(-$)', '(($) ** 2)', `(~${small})`, `(${small} | 0)`, `(${small} >>> 3)`, `(${small} << 4)`],
    ...['($ / 3)', 'Math.floor($ / 3)', 'Math.ceil($ / (1 + Math.abs(q - k)))', `((${small} / 7) | 0)`],
    '($ % 5)',
  ],
  binary: [
    ...ARITHMETIC.filter((template) => !template.includes('/')),
    ...EXTREMES,
    ...['&', '|', '^'].map((operator) => `(${small} ${operator} ${small})`),
    `(${small} >> ($ > 3 ? 1 : 2))`,
  ],
  constants: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constantFrom(0.5, 1.25, -3.75)),
});

describe.each(BUILDS)('programs on the %s build', (build) => {
  const run = machines[build];

  test('give what JavaScript gives, rounded to float32', () => {
    let compared = 0;
    fc.assert(
      fc.property(sources.number, fc.integer({ min: 1, max: 30 }), fc.boolean(), (source, count, inPlace) => {
        const expression = compile(source, captured);
        const { n, m } = extent;
        const whole = rangesOf(expression, {
          ...{ score: anyScore, b: integers(0, 1), h: integers(0, 3), q: integers(0, n - 1), k: integers(0, m - 1) },
          ...{ n: integers(n, n), m: integers(m, m) },
        }).filter((range) => range.whole);
        // Larger integers are rounded where they meet floats.
        if (whole.some(({ low, high }) => Number.isFinite(high - low) && Math.max(-low, high) > 2 ** 23)) return;
        const tile = tileOf(keysOf(count), (at) => ((at * 37) % 64) / 4 - 8);
        const actual = run(compileProgram('test', expression, extent), tile, inPlace);
        const expected = each(tile, (s, q, k) => evaluateFloat32(expression, q, k, s, tile));
        expectClose(actual, Float32Array.from(expected), 0);
        compared++;
      }),
      { numRuns: 500 },
    );
    expect(compared).toBeGreaterThan(200);
  });

  const values = [
    0, -0, 1e-45, 1e-38, 1e-30, 1e-8, 1e-4, 0.1, 0.24, 0.5, 0.62, 0.63, 1, 1.5, 3, 9, 20, 50, 80, 88.7, 89,
  ];
  const extremes = [103, 104, 1000, 1e6, 1e9, 1e20, 3e38, Number.POSITIVE_INFINITY, Number.NaN];
  const spread = Array.from({ length: 480 }, (_, i) => Math.exp(i / 12 - 30));
  const all = [...values, ...extremes, ...spread].flatMap((value) => [value, -value]);
  const everywhere = tileOf(
    Array.from({ length: Math.ceil(all.length / LANES) }, (_, j) => j % extent.m),
    (at) => all[at % all.length] as number,
  );
  const functions: readonly [source: string, relative: number][] = [
    ['Math.exp(s)', 2e-7],
    ['Math.log(s)', 2e-7],
    ['Math.tanh(s)', 2e-7],
    ['30 * Math.tanh(s / 30)', 4e-7],
    ['Math.sqrt(s)', 1e-7],
    ['s ** 2', 1e-7],
    ['s ** 3', 2e-7],
    ['s ** 2.5', 2e-7],
    ['s ** -3', 2e-7],
    ['1.25 ** s', 2e-7],
    ['s % 0.75', 0],
    ['1 / s', 1e-7],
    ['Math.sign(s)', 0],
    ['Math.round(s)', 0],
    ['s > 1 ? s : -Infinity', 0],
    ['q === k ? NaN : s', 0],
  ];
  test.each(functions)('%s within %d', (source, relative) => {
    const expression = compile(source);
    const actual = run(compileProgram('test', expression, extent), everywhere);
    const exact = each(everywhere, (s, q, k) => evaluate(expression, q, k, { b: 1, h: 3, n: 60, m: 50 }, s));
    const expected = Float32Array.from(exact);
    // Denormals have fewer digits.
    expectClose(
      actual,
      expected,
      exact.map((value) => Math.abs(value) * relative + 5e-44),
    );
  });

  test.each(['Math.sin(s)', 'Math.cos(s)'])('%s within float32 of 1', (source) => {
    const expression = compile(source);
    const tile = { ...everywhere, scores: everywhere.scores.map((value) => (Math.abs(value) < 1e9 ? value : 0)) };
    const actual = run(compileProgram('test', expression, extent), tile);
    const exact = each(tile, (s, q, k) => evaluate(expression, q, k, { b: 1, h: 3, n: 60, m: 50 }, s));
    expectClose(actual, exact, 1.5e-7);
    const infinite = {
      ...tile,
      scores: tile.scores.map((_, at) => [Number.POSITIVE_INFINITY, Number.NaN, 1e30][at % 3]!),
    };
    const beyond = run(compileProgram('test', expression, extent), infinite);
    beyond.forEach((value, at) => {
      if (at % 3 < 2) expect(value).toBeNaN();
      else expect(Math.abs(value)).toBeLessThanOrEqual(1);
    });
  });

  test('is exact in all of 32 bits', () => {
    const tile = tileOf(keysOf(13), () => 0);
    const wide = { ...extent, n: 2 ** 31 - 1, m: 2 ** 31 - 1 };
    const large = {
      ...tile,
      queries: tile.queries.map((q) => 2 ** 31 - 2 - q * q * 1000),
      keys: tile.keys.map((k) => 2 ** 30 + k * 77777),
    };
    const sources = [
      '(q - k) % 65536',
      '(q ^ k) & 65535',
      'Math.floor(q / (1 + (k % 1000))) % 4096',
      '(q / 3 | 0) % 4096',
      '-(Math.ceil(-q / 7) % 4096)',
      '(q % 1000) - (k % 1000)',
      '(q << 5) % 4096',
      '(-q >>> 7) % 4096',
      '(-q >> 7) % 4096',
      'Math.sign(q - k) * (q === k ? 1 : 2)',
      '(k - q >>> 0) & 4095',
      '~(k - q >>> 0) & 4095',
      '(k - q >>> k) >> 20',
      '(k - q >>> 0) >>> 20',
    ];
    for (const source of sources) {
      const expression = compile(source);
      const actual = run(compileProgram('test', expression, wide), large);
      const fixed = { b: 1, h: 3, n: wide.n, m: wide.m };
      expectClose(actual, Float32Array.from(each(large, (s, q, k) => evaluate(expression, q, k, fixed, s))), 0);
    }
  });

  test('integers that are negative, fractional or huge give what JavaScript gives, or are refused', () => {
    const operands = ['q - 30', '(q - 30) / 4', '(q - 30) * 7e7', '(30 - q) * 2654435761', 'c.big[q]', 'c.small[q]'];
    const others = [...operands, '-k', '33', '-1', '1.75', '2 ** 31', '-(2 ** 31)', 'q - 30 >>> 0', 'k - 25 >>> 1'];
    const binary = ['&', '|', '^', '<<', '>>', '>>>', '%', '==='].flatMap((operator) =>
      others.flatMap((x) => others.map((y) => `+((${x}) ${operator} (${y}))`)),
    );
    const unary = others.flatMap((x) => [`~(${x})`, `Math.floor((${x}) / 3) % 7`, `((${x}) / 3 | 0) % 7`]);
    const big = Float64Array.from({ length: 60 }, (_, i) => 4294967295 - i * 99999999);
    const small = Float64Array.from({ length: 60 }, (_, i) => 16777210 - 3 * i);
    const tile = tileOf(keysOf(4), () => 0);
    const count = { exact: 0, refused: 0 };
    for (const source of [...binary, ...unary]) {
      const expression = compile(source.replace(/^\+\((.* === .*)\)$/, '($1 ? 1 : 0)'), { big, small });
      let program: Program;
      try {
        program = compileProgram('test', expression, extent);
      } catch (error) {
        expect((error as Error).message, source).toMatch(/may leave 32 bits|may be an integer that float32 rounds/);
        count.refused++;
        continue;
      }
      const wanted = each(tile, (s, q, k) => evaluate(expression, q, k, { b: 1, h: 3, n: 60, m: 50 }, s));
      expect(
        [...run(program, tile)].map((x) => x + 0),
        source,
      ).toEqual([...Float32Array.from(wanted)].map((x) => x + 0));
      count.exact++;
    }
    expect(count.exact).toBeGreaterThan(500);
    expect(count.refused).toBeGreaterThan(200);
  });

  const indices: Record<string, (q: number, k: number) => number> = {
    'q * c.m + k': (q, k) => q * 20_000 + k,
    k: (_q, k) => k,
    q: (q) => q,
    'h * 2 + b': () => 7,
  };
  test.each(Object.entries(indices))('gives the index %s as an integer', (source, index) => {
    const tile = tileOf(keysOf(13), () => 0);
    const wide = { ...extent, n: 20_000, m: 20_000 };
    const places = run(compileProgram('test', compile(source), wide, 'integer'), tile);
    expect([...new Int32Array(places.buffer)]).toEqual([...each(tile, (_s, q, k) => index(q, k))]);
  });

  test('reads NaN outside a table, and nothing else', () => {
    const tile = tileOf([0, 1, 2, 3, 49], () => 1);
    const expression = compile('s + c.x[k - 2]', { x: [5, 6] });
    const actual = run(compileProgram('test', expression, extent), tile);
    expectClose(
      actual,
      each(tile, (s, _q, k) => s + ([5, 6][k - 2] ?? Number.NaN)),
      0,
    );
  });
});

describe('compileProgram', () => {
  test('compiles once for each extent', () => {
    const expression = compile('s * q + c.x[k]', { x: [0.5, 1] });
    const program = compileProgram('mine', expression, extent);
    expect(compileProgram('mine', expression, extent)).toBe(program);
    const other = compileProgram('mine', expression, { ...extent, m: 7 });
    expect(other).not.toBe(program);
    expect(other.tables[0]).toBe(program.tables[0]);
    expect(() => compileProgram('mine', compile('q / 2'), extent, 'integer')).toThrow('the result may be no integer');
  });

  const refused: readonly [source: string, message: string][] = [
    ['s | 0', 'the operand of a bit operation may leave 32 bits: bound it with Math.min and Math.max'],
    ['s + c.x[s]', "the index of 'x' may be no integer: round it, e.g. with 'Math.floor'"],
    ['s + c.x[q / 2]', "the index of 'x' may be no integer"],
    ['s + c.x[q * 1e9]', "the index of 'x' may leave 32 bits"],
    ['s + (q - k >>> 0)', "the result of '>>>' may leave 32 bits: shift by at least 1"],
    ['s + (q * 2654435761) % 16', "an operand of '%' may be an integer that float32 rounds: keep it within 2 ** 24"],
    ['q * 1e9 === k * 3e9 ? s : 0', "an operand of '===' may be an integer that float32 rounds"],
    ['s + Math.floor(q * 1e9 / 700)', "an operand of '/' may be an integer that float32 rounds"],
  ];
  test.each(refused)('refuses %s', (source, message) => {
    const expression = compile(source, { x: [1, 2] });
    expect(() => compileProgram('mine', expression, extent)).toThrow(`score "mine": ${message}`);
  });

  test('refuses what needs more registers than there are', () => {
    const terms = Array.from({ length: 30 }, (_, i) => `Math.sqrt(s * ${i + 2})`);
    // All square roots are alive until the second sum.
    const source = `{ const a = ${terms.map((term) => `${term}`).join(' + ')}; return ${terms.map((term) => `(${term} + a)`).join(' * ')}; }`;
    expect(() => compileProgram('mine', compile(source), extent)).toThrow(
      'score "mine" needs too many values at once for the kernels: write it in fewer terms',
    );
    const long = terms.join(' + ');
    expect(compileProgram('mine', compile(long), extent).tables).toEqual([]);
  });
});
