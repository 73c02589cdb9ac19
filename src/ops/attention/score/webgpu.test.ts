import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { expectClose } from '../../../../test/expect';
import { inOrder } from '../../../../test/in-order';
import { ARITHMETIC, EXTREMES, functionOf, randomSources } from '../../../../test/random-functions';
import { evaluate } from '../../../expressions/evaluate';
import type { Expression } from '../../../expressions/expression';
import { OPERATIONS } from '../../../expressions/operations';
import { type Captured, parse } from '../../../expressions/parse';
import { anyScore, integers, isInt32, rangesOf } from '../../../expressions/ranges';
import { stepsOf } from '../../../expressions/steps';
import { Device } from '../../../runtime/webgpu/device';
import { type Kernel, type Region, variants } from '../../../runtime/webgpu/kernel';
import { functions } from '../../../runtime/webgpu/kernels/functions';
import { Memory } from '../../../runtime/webgpu/memory';
import { Queue } from '../../../runtime/webgpu/queue';
import { alibi, compose, named, type Score, softcap } from '../../../scores/score';
import { type ScoreShader, scoreCode, scoreOperands } from './webgpu';

const extent = { b: 2, n: 60, m: 50, h: 4, g: 2 };
const place = { b: 1, h: 3 };
const SCORE = { caller: 'scores.from', parameters: ['score', 'b', 'h', 'q', 'k'], returns: 'number' } as const;
const compile = (source: string, captured: Captured = {}): Score =>
  named('test', parse(functionOf('s, b, h, q, k, c', source), captured, SCORE));

/** For each element the new score, the slope and, if tables are read, the first place's index and factor. */
const kernelOf = variants((score: ScoreShader): Kernel => {
  const ofTable = (name: string) => `${name}0(load_scores(i), 1, 3, q, k)`;
  return {
    name: 'modify',
    invocations: 64,
    operands: {
      scores: { access: 'read' },
      ...{ queries: { access: 'read' }, keys: { access: 'read' }, out: { access: 'write' }, ...score.operands },
    },
    numbers: { size: 'u32', ...score.numbers },
    body: `
${functions('is_nan', ...score.functions)}
${score.text}
fn run(task: u32, lane: u32) {
  let i = task * 64 + lane;
  if (i >= numbers.size) { return; }
  let q = u32(load_queries(i));
  let k = u32(load_keys(i));
  store_out(i, modified(load_scores(i), 1, 3, q, k));
  store_out(i + numbers.size, modified_slope(load_scores(i), 1, 3, q, k));
  store_out(i + 2 * numbers.size, ${score.places > 0 ? `f32(${ofTable('table_index')})` : '0.0'});
  store_out(i + 3 * numbers.size, ${score.places > 0 ? ofTable('table_factor') : '0.0'});
}`,
  };
});

interface Elements {
  readonly scores: Float32Array;
  readonly queries: Int32Array;
  readonly keys: Int32Array;
}

function elements(scores: ArrayLike<number>): Elements {
  return {
    scores: Float32Array.from(scores),
    queries: Int32Array.from(scores, (_, i) => (i * 7 + 3) % extent.n),
    keys: Int32Array.from(scores, (_, i) => (i * 11 + 5) % extent.m),
  };
}

const each = ({ scores, queries, keys }: Elements, f: (score: number, q: number, k: number) => number) =>
  Float64Array.from(scores, (score, i) => f(score, queries[i] as number, keys[i] as number));

/** As `evaluate`, but that what is not integers is rounded to float32 after each operation. */
function evaluateFloat32(expression: Expression, q: number, k: number, score: number): number {
  const { n, m } = extent;
  const inputs = { score, ...place, q, k, n, m };
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

describe.runIf(inject('hasGpu'))('score modifiers on WebGPU', () => {
  let device: Device;
  let memory: Memory;
  let queue: Queue;
  beforeAll(async () => {
    device = await Device.open({});
    memory = new Memory(device);
    queue = new Queue(device, memory);
  });
  afterAll(() => device.dispose());

  async function run(score: Score | undefined, { scores, queries, keys }: Elements, within = extent) {
    const size = scores.length;
    const code = scoreCode(score, within, 'tables');
    const buffer = memory.allocate(16 * size);
    const out: Region = { storage: { buffer }, dtype: 'f32', shape: [4 * size], strides: [1], offset: 0 };
    await inOrder()(
      queue.run((workspace) => {
        const given = { scores: workspace.upload(scores), queries: workspace.upload(queries) };
        return {
          dispatches: [
            {
              kernel: kernelOf(code.shader),
              operands: { ...given, keys: workspace.upload(keys), out, ...scoreOperands(code, workspace) },
              numbers: { size, ...code.numbers },
              tasks: Math.ceil(size / 64),
              operations: 100 * size,
            },
          ],
        };
      }, {}),
    );
    const bytes = await queue.read(buffer, 0, 16 * size);
    memory.release(buffer);
    const results = new Float32Array(bytes.buffer, bytes.byteOffset, 4 * size);
    const part = (at: number) => results.subarray(at * size, (at + 1) * size);
    return { values: part(0), slopes: part(1), indices: part(2), factors: part(3) };
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
      ...['c.doc[q]', 'c.doc[k]', `c.doc[${small} & 63]`, `c.bias[${small} >> 2]`],
      'c.bias[(b * 4 + h) * 2 + (k & 1)]',
    ],
    flags: [`!!c.flag[${small} & 7]`],
    unary: [
      ...['abs', 'floor', 'ceil', 'round', 'trunc', 'sign'].map((name) => `Math.${name}($)`),
      ...['(-$)', '(($) ** 2)', `(~${small})`, `(${small} | 0)`, `(${small} >>> 3)`, `(${small} << 4)`],
      ...['Math.floor($ / 3)', 'Math.ceil($ / (1 + Math.abs(q - k)))', `((${small} / 7) | 0)`, '($ % 5)'],
    ],
    binary: [
      ...ARITHMETIC.filter((template) => !template.includes('/')),
      ...EXTREMES,
      ...['&', '|', '^'].map((operator) => `(${small} ${operator} ${small})`),
      `(${small} >> ($ > 3 ? 1 : 2))`,
    ],
    constants: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constantFrom(0.5, 1.25, -3.75)),
  });

  test('give what JavaScript gives, rounded to float32', async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(sources.number, async (source) => {
        const score = compile(source, captured);
        const { n, m } = extent;
        const whole = rangesOf(score.expression, {
          ...{ score: anyScore, b: integers(0, 1), h: integers(0, 3), q: integers(0, n - 1), k: integers(0, m - 1) },
          ...{ n: integers(n, n), m: integers(m, m) },
        }).filter((range) => range.whole);
        // Larger integers are rounded where they meet floats.
        if (whole.some(({ low, high }) => Number.isFinite(high - low) && Math.max(-low, high) > 2 ** 23)) return;
        const given = elements(Array.from({ length: 150 }, (_, i) => ((i * 37) % 64) / 4 - 8));
        const { values } = await run(score, given);
        const expected = each(given, (s, q, k) => evaluateFloat32(score.expression, q, k, s));
        // A device may fuse a product and a sum, and divide to within 2.5 units.
        expectClose(
          values,
          Float32Array.from(expected),
          expected.map((value) => 1e-6 * Math.abs(value)),
        );
        compared++;
      }),
      { numRuns: 12 },
    );
    expect(compared).toBeGreaterThan(5);
  }, 60_000);

  const some = [
    ...[0, -0, 1e-30, 1e-8, 1e-4, 0.1, 0.24, 0.49999997, 0.5, 0.62, 0.63, 1, 1.5, 2.5, 3, 9, 20, 50, 80, 88.7, 89],
    ...[103, 104, 1000, 1e6, 8388609, 1e9, 1e20, 3e38, Number.POSITIVE_INFINITY, Number.NaN],
    ...Array.from({ length: 480 }, (_, i) => Math.exp(i / 12 - 30)),
  ];
  const hard = elements(some.flatMap((value) => [value, -value]));
  const operations: readonly [source: string, relative: number][] = [
    ['Math.exp(s)', 2e-7],
    ['Math.log(s)', 2e-7],
    ['Math.tanh(s)', 4e-7],
    ['30 * Math.tanh(s / 30)', 6e-7],
    ['Math.sqrt(s)', 2e-7],
    ['s ** 2', 1e-7],
    ['s ** 3', 2e-7],
    ['s ** 2.5', 3e-7],
    ['s ** -3', 3e-7],
    ['s ** 0', 0],
    ['s ** 300', 3e-7],
    ['1.25 ** s', 3e-7],
    ['(-2) ** s', 3e-7],
    ['(1 - 1 / 2048) ** s', 3e-7],
    ['s ** s', 3e-7],
    ['1 ** s', 0],
    ['s ** Infinity', 0],
    ['(-1) ** s', 0],
    ['s % 0.75', 0],
    ['s % -3', 0],
    ['s % 9.5367431640625e-7', 0],
    ['s % s', 0],
    ['s % Infinity', 0],
    ['5 % s', 0],
    ['1 / s', 3e-7],
    ['s / 3', 3e-7],
    ['Math.sign(s)', 0],
    ['Math.round(s)', 0],
    ['Math.floor(s)', 0],
    ['Math.ceil(s)', 0],
    ['Math.trunc(s)', 0],
    ['Math.abs(s)', 0],
    ['-s', 0],
    ['Math.min(s, 0)', 0],
    ['Math.max(s, -0)', 0],
    ['Math.min(-s, NaN)', 0],
    ['Math.max(s, q)', 0],
    ['s < 1 ? s : 2', 0],
    ['s <= 1 ? s : 2', 0],
    ['!(s < 1) ? s : 2', 0],
    ['s === s ? s : 7', 0],
    ['s !== s ? 7 : 5', 0],
    ['s > 1 && s < 3 || s === -0 ? s : -Infinity', 0],
    ['q === k ? NaN : s', 0],
    ['Math.max(-1e6, Math.min(1e6, s)) | 0', 0],
  ];
  test.each(operations)('%s within %d, on zeros, infinities and all sizes', async (source, relative) => {
    const score = compile(source);
    const { values } = await run(score, hard);
    const exact = each(hard, (s, q, k) => evaluate(score.expression, q, k, { ...place, n: 60, m: 50 }, s));
    const expected = Float32Array.from(exact);
    // Denormals may be flushed.
    const allowed = exact.map((value) => Math.abs(value) * relative + 1.2e-38);
    if (relative > 0) expectClose(values, expected, allowed);
    else expectClose(values, expected, 0);
  });

  test('zeros keep their signs', async () => {
    const given = elements([0, -0, -0.25, 0.25]);
    const signed: Record<string, number[]> = {
      'Math.min(s, 0)': [0, -0, -0.25, 0],
      'Math.max(s, -0)': [0, -0, -0, 0.25],
      'Math.round(s)': [0, -0, -0, 0],
      'Math.ceil(s)': [0, -0, -0, 1],
      's % 0.25': [0, -0, -0, 0],
      '1 / s': [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -4, 4],
      's ** 3': [0, -0, -0.015625, 0.015625],
      's ** -3': [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -64, 64],
      'Math.sign(s)': [0, -0, -1, 1],
      '-s': [-0, 0, 0.25, -0.25],
    };
    for (const [source, expected] of Object.entries(signed)) {
      expect([...(await run(compile(source), given)).values], source).toEqual(expected);
    }
  });

  test.each(['Math.sin(s)', 'Math.cos(s)'])('%s within float32 of 1', async (source) => {
    const score = compile(source);
    const { values } = await run(score, hard);
    expectClose(
      values,
      each(hard, (s, q, k) => evaluate(score.expression, q, k, { ...place, n: 60, m: 50 }, s)),
      1.5e-7,
    );
  });

  test('is exact in all of 32 bits', async () => {
    const wide = { ...extent, n: 2 ** 31 - 1, m: 2 ** 31 - 1 };
    const large = elements(new Float32Array(200));
    large.queries.forEach((q, i) => {
      large.queries[i] = 2 ** 31 - 2 - q * q * 1000;
    });
    large.keys.forEach((k, i) => {
      large.keys[i] = 2 ** 30 + k * 77777;
    });
    const exact = [
      ...['(q - k) % 65536', '(q ^ k) & 65535', 'Math.floor(q / (1 + (k % 1000))) % 4096', '(q / 3 | 0) % 4096'],
      ...['-(Math.ceil(-q / 7) % 4096)', '(q % 1000) - (k % 1000)', '(q << 5) % 4096', '(-q >>> 7) % 4096'],
      ...['(-q >> 7) % 4096', 'Math.sign(q - k) * (q === k ? 1 : 2)', '(~q | 65) % 4096'],
      ...['(k - q >>> 0) & 4095', '(k - q >>> k) >> 20'],
    ];
    for (const source of exact) {
      const score = compile(source);
      const { values } = await run(score, large, wide);
      const fixed = { ...place, n: wide.n, m: wide.m };
      expectClose(values, Float32Array.from(each(large, (s, q, k) => evaluate(score.expression, q, k, fixed, s))), 0);
    }
  });

  test('reads NaN outside a table, and nothing else', async () => {
    const given = elements(new Float32Array(100).fill(1));
    const score = compile('s + c.other[q] + c.x[k - 2]', { x: [5, 6], other: captured.doc });
    const { values } = await run(score, given);
    expectClose(
      values,
      each(given, (s, q, k) => s + (captured.doc[q] as number) + ([5, 6][k - 2] ?? Number.NaN)),
      0,
    );
  });

  test('slopes, and derivatives by captured tables', async () => {
    const given = elements(Array.from({ length: 100 }, (_, i) => i / 10 - 5));
    const score = compile('2 * Math.tanh((s + c.x[q - k + 49]) / 2)', {
      x: Float32Array.from({ length: 109 }, (_, i) => Math.cos(i)),
    });
    const { slopes, indices, factors } = await run(score, given);
    const fixed = { ...place, n: 60, m: 50 };
    const of = (expression: Expression) => each(given, (s, q, k) => evaluate(expression, q, k, fixed, s));
    expectClose(slopes, of(score.derivative), 1e-6);
    expectClose(indices, of(score.tables[0]!.index), 0);
    expectClose(factors, of(score.tables[0]!.factor), 1e-6);
  });

  test('without one the score is what it was', async () => {
    const { values, slopes } = await run(undefined, hard);
    expectClose(values, hard.scores, 0);
    expect(slopes.every((slope) => slope === 1)).toBe(true);
  });

  test('many numbers and many tables', async () => {
    const terms = Array.from({ length: 60 }, (_, i) => `(s < ${i}.5 ? ${i}.25 : c.t${i % 30}[k % 3])`).join(' + ');
    const tables = Array.from({ length: 30 }, (_, i) => [`t${i}`, [i, i + 0.5, i + 0.25]] as const);
    const score = compile(`${terms} + (q === 3 ? Infinity : 0)`, Object.fromEntries(tables));
    const given = elements(Array.from({ length: 100 }, (_, i) => i - 20));
    const { values } = await run(score, given);
    expectClose(
      values,
      each(given, (s, q, k) => evaluateFloat32(score.expression, q, k, s)),
      1e-3,
    );
  });

  test('tables are copied once, and counted with the peak but not as live', async () => {
    const score = compile('s + c.x[k]', { x: new Float32Array(1e6) });
    const given = elements([1, 2, 3]);
    const { live } = memory.report();
    await run(score, given);
    const { reserved } = memory.report();
    for (let call = 0; call < 3; call++) await run(score, given);
    expect(memory.report()).toMatchObject({ live, reserved });
    memory.resetPeak();
    expect(memory.report().peak).toBeGreaterThanOrEqual(live + 4e6);
  });
});

describe('the code of a modifier', () => {
  test('does not depend on captured numbers or extents', () => {
    const shader = (score: Score, other = {}) => scoreCode(score, { ...extent, ...other }, 'tables').shader;
    expect(shader(softcap(30))).toEqual(shader(softcap(50)));
    expect(shader(compose(softcap(30), alibi([1, 2, 3, 4])))).toEqual(
      shader(compose(softcap(7), alibi([9, 8, 7, 6])), { n: 1, m: 8191 }),
    );
    expect(shader(softcap(30))).not.toEqual(shader(alibi([1, 2, 3, 4])));
  });

  test('is made once for a problem', () => {
    const score = softcap(3);
    expect(scoreCode(score, { ...extent }, 'scores')).toBe(scoreCode(score, extent, 'scores'));
    expect(scoreCode(score, extent, 'gradients')).not.toBe(scoreCode(score, extent, 'scores'));
  });

  test('is WGSL', () => {
    expect(
      scoreCode(compose(alibi([0.5, 0.25, 1, 2]), softcap(3)), extent, 'scores').shader.text,
    ).toMatchInlineSnapshot(`
      "fn score_table_word(first: u32, length: u32, at: i32) -> i32 {
        if (u32(at) < length) { return load_score_tables(first + u32(at)); }
        return 0x7fc00000;
      }
      fn modified(score: f32, b: u32, h: u32, q: u32, k: u32) -> f32 {
        let v0 = bitcast<f32>(score_table_word(numbers.score_1, numbers.score_2, i32(h)));
        let v1 = i32(q) + numbers.score_3;
        let v2 = v1 - numbers.score_4;
        let v3 = v2 - i32(k);
        let v4 = abs(v3);
        let v5 = f32(v4);
        let v6 = v0 * v5;
        let v7 = score - v6;
        let v8 = v7 / numbers.score_0;
        let v9 = precise_tanh(v8);
        let v10 = numbers.score_0 * v9;
        return v10;
      }"
    `);
  });
});
