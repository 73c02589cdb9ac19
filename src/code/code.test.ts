import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { has } from '../../test/has';
import { functionAt, requireKoffi } from '../runtime/native/calls';
import { openNative } from '../runtime/native/open';
import * as ofVectors from './functions';
import { interpret } from './interpreter';
import { type Code, codeOf, type Kernel, Rounding, TARGETS, type Target, type Vector } from './kernel';
import { emit } from './x64/emit';

const PARAMS = 64;
const SCRATCH = 256;
const DATA = 8192;
const BYTES = 16384;

const hasObjdump = has('objdump');
const native = openNative();
/** Those that this processor runs. */
const runnable: readonly Target[] =
  typeof native === 'string' ? [] : Object.values(TARGETS).filter(({ lanes }) => lanes <= native.target.lanes);

/** Small whole numbers, for which sums and products are exact, and params. */
function memoryOf(params: readonly number[] = []): ArrayBuffer {
  const memory = new ArrayBuffer(BYTES);
  new Float64Array(memory).set(params, PARAMS / 8);
  new Float32Array(memory, DATA).forEach((_, at, all) => {
    all[at] = ((at * 37) % 41) - 20;
  });
  return memory;
}

/** The memory after the interpreter has run a kernel; the same after its code has, where the processor can. */
function run(target: Target, kernel: (k: Kernel) => void, params: readonly number[] = [], task = 0): Float32Array {
  const code = codeOf(target, kernel);
  const expected = memoryOf(params);
  interpret(code, expected, PARAMS, SCRATCH, task);
  const machineCode = emit(code);
  if (runnable.includes(target))
    expect(byProcessor(machineCode, memoryOf(params), task)).toEqual(new Uint8Array(expected));
  return new Float32Array(expected, SCRATCH);
}

function byProcessor(code: Uint8Array<ArrayBuffer>, memory: ArrayBuffer, task: number): Uint8Array {
  if (typeof native === 'string') throw new Error(native);
  const koffi = requireKoffi(
    native.threadOf(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }), 65536).koffi,
  );
  const bytes = new Uint8Array(memory);
  functionAt(koffi, native.executable(code), 4)(Number(koffi.address(bytes)), PARAMS, SCRATCH, task);
  return bytes;
}

describe.each(Object.values(TARGETS))('code for $name', (target) => {
  const { lanes } = target;

  test('counts with integers, by loops in loops, and branches', () => {
    const out = run(
      target,
      (k) => {
        const p = k.params({ a: 'i32', inner: { b: 'i32' } });
        const [a, b] = [p.a(), p.inner.b()];
        const found = [
          a.plus(b),
          a.minus(b),
          a.times(b),
          a.over(b),
          a.remainder(b),
          a.least(b),
          b.minus(7),
          a.times(8),
          k.task.times(-3),
          // The upper half of 17 in float64.
          k.word(k.base.at(PARAMS + 4)).over(k.integer(2 ** 20)),
        ];
        const sum = k.integer(0);
        k.range('outer', 0, a, 3, (i) => k.range('inner', i, 9, 1, (j) => sum.add(i.times(j))));
        k.range('none', b, b, 1, () => sum.set(k.integer(1)));
        const branch = k.integer(0);
        k.if(
          b,
          '>=',
          5,
          () => branch.set(k.integer(1)),
          () => branch.add(2),
        );
        k.if(b, '!=', a, () => branch.add(10));
        // A vector of whole numbers is stored as so many lanes of one.
        [...found, sum, branch].forEach((each, at) => {
          k.range('unary', 0, each.plus(200), 1, () => {
            const place = k.scratch.at(4 * at);
            k.splat(place).plus(1).store(place, k.integer(1));
          });
        });
      },
      [17, 5],
      4,
    );
    // The sum of i times the sum of j from i to 8, for i in 0, 3, ... below 17.
    const sum = [0, 3, 6].reduce(
      (all, i) => all + i * [0, 1, 2, 3, 4, 5, 6, 7, 8].reduce((s, j) => s + (j >= i ? j : 0), 0),
      0,
    );
    expect([...out.subarray(0, 12)].map((each) => each - 200)).toEqual([
      22,
      12,
      85,
      3,
      2,
      5,
      -2,
      136,
      -12,
      1027,
      sum,
      11,
    ]);
  });

  test('computes with vectors, tails and numbers', () => {
    let all = 0;
    const out = run(target, (k) => {
      const data = k.base.at(DATA);
      const [x, y] = [k.load(data), k.load(k.base.at(DATA + 4 * 19))];
      const third = k.integer(lanes - 3);
      const [w, v] = [x.toWord(), y.times(-1e6).toWord()];
      const few = w.and(k.bits(15));
      const product = x.copy();
      product.addProduct(x, y);
      product.addProduct(y, 2.5);
      product.addProduct(x, data);
      const results = [
        ...[
          () => x.plus(y),
          () => x.minus(data),
          () => x.times(0.5),
          () => x.over(y),
          () => x.larger(y),
          () => x.smaller(-3),
        ],
        ...[() => product, () => x.times(0.5).round(), () => k.number(0), () => k.number(1.25), () => k.splat(data)],
        ...[() => k.load(data, third), () => k.number(3).scaled(x), () => k.select(x, '<', y, x, k.number(7))],
        ...[() => k.select(x, '!=', y, y, x), () => k.select(x, '>=', y, y, x)],
        ...Object.values(Rounding).map((way) => () => x.times(0.3).round(way)),
        ...[() => x.times(x).root(), () => x.minus(x).over(0).larger(x), () => x.over(x.minus(x)).toWord()],
        ...[() => x.and(y), () => x.or(y), () => x.xor(y), () => w.plusWords(x), () => w.minusWords(v)],
        ...[() => w.timesWords(v), () => w.smallerWords(v), () => w.largerWords(v), () => w.toFloat()],
        ...[() => x.shiftLeft(few), () => x.shiftRight(few), () => x.shiftRightUnsigned(few), () => k.bits(-5)],
        ...[() => k.gather(k.base.plus(DATA), few), () => k.maskOfWords(w, '>', v), () => k.maskOfWords(w, '==', w)],
        ...(['<', '<=', '>', '>=', '==', '!='] as const).map((test) => () => k.mask(x, test, y)),
        ...[() => k.pick(k.mask(x, '<', y), x, w), () => k.mask(x.minus(x).over(0), '==', y)],
        ...[() => k.loadHalves(data), () => k.loadFloat16(k.base.at(DATA + 6))],
        () => {
          const place = k.base.at(PARAMS + 64);
          w.and(k.bits(0xffff)).storeHalves(place);
          return k.load(place, k.integer(lanes / 2));
        },
        () => {
          const place = k.base.at(PARAMS + 64);
          x.times(1e-3).storeFloat16(place);
          return k.load(place, k.integer(lanes / 2));
        },
        () => {
          const sum = x.copy();
          sum.timesPlus(y, 3.5);
          sum.timesPlus(x, data);
          return sum;
        },
      ];
      for (const [at, make] of results.entries()) make().store(k.scratch.at(at * k.bytes));
      all = results.length;
      x.store(k.scratch.at(all * k.bytes), third);
    });
    const x = new Float32Array(memoryOf(), DATA);
    expect(out[0]).toBe(x[0]! + x[19]!);
    expect(out[6 * lanes + 1]).toBe(x[1]! + x[1]! * x[20]! + 2.5 * x[20]! + x[1]! * x[1]!);
    expect([...out.subarray(all * lanes, (all + 1) * lanes)]).toEqual([...x.subarray(0, lanes - 3), 0, 0, 0]);
  });

  test('has the functions of the field, at all ends', () => {
    const special = [
      0,
      1e-45,
      1e-40,
      1e-20,
      0.3,
      0.5,
      1,
      2.5,
      8.9,
      20,
      50,
      88,
      95,
      103,
      3e9,
      3e38,
      Infinity,
      Number.NaN,
    ];
    const all = [...special, ...special.map((x) => -x), ...Array(4).fill(1)];
    const code = codeOf(target, (k) => {
      const { polynomial: _, ...functions } = ofVectors;
      const out = k.scratch.copy();
      for (const f of Object.values(functions))
        for (let at = 0; at < all.length - lanes; at += lanes / 2) {
          const place = k.base.at(DATA + 4 * at);
          f(k, k.load(place), k.splat(k.base.at(DATA + 4 * 6))).store(out.at());
          out.add(k.bytes);
        }
    });
    const memory = () => {
      const made = memoryOf();
      new Float32Array(made, DATA).set(all);
      return made;
    };
    const expected = memory();
    interpret(code, expected, PARAMS, SCRATCH, 0);
    const machineCode = emit(code);
    if (!runnable.includes(target)) return;
    const found = new Float32Array(byProcessor(machineCode, memory(), 0).buffer, SCRATCH);
    // Products that are added are rounded once by the processor, and twice by the interpreter.
    new Float32Array(expected, SCRATCH, (DATA - SCRATCH) / 4).forEach((wanted, at) => {
      const got = found[at] as number;
      if (!Object.is(got, wanted)) expect(Math.abs(got - wanted) / Math.abs(wanted)).toBeLessThan(1e-6);
    });
  });

  test('turns rows into columns', () => {
    const out = run(target, (k) => {
      const rows = Array.from({ length: lanes }, (_, row) => k.load(k.base.at(DATA + row * k.bytes)));
      for (const [at, each] of k.transposed(rows).entries()) each.store(k.scratch.at(at * k.bytes));
    });
    const x = new Float32Array(memoryOf(), DATA);
    expect([...out.subarray(0, lanes * lanes)]).toEqual(
      Array.from({ length: lanes * lanes }, (_, at) => x[(at % lanes) * lanes + Math.floor(at / lanes)]),
    );
  });

  test('does what the interpreter does, in random order on random registers, integers in memory among them', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9), fc.nat(29), fc.nat(29), fc.nat(29)), { maxLength: 40 }), (steps) => {
        run(target, (k) => {
          const wide = target.vectors === 32 ? 25 : 10;
          const vectors = Array.from({ length: wide }, (_, at) => k.load(k.base.at(DATA + at * 20)));
          const integers = Array.from({ length: 20 }, (_, at) => k.integer(at + 1));
          for (const [op, a, b, c] of steps) {
            const [x, y, z] = [a, b, c].map((at) => vectors[at % wide]) as [Vector, Vector, Vector];
            const [i, j, l] = [a, b, c].map((at) => integers[at % 20]!) as [
              (typeof integers)[0],
              (typeof integers)[0],
              (typeof integers)[0],
            ];
            if (op === 0) x.addProduct(y, k.base.at(DATA + 4 * b, j, 4));
            else if (op === 1) x.set(y.larger(z));
            else if (op === 2) i.set(j.plus(l).remainder(k.integer(97)));
            else if (op === 3) i.set(j.least(l));
            else if (op === 4) x.set(k.load(k.base.at(DATA, j, 8)));
            else if (op === 5) x.set(k.select(x, '<', y, z, x));
            else if (op === 6)
              k.if(
                i,
                '<',
                j,
                () => x.set(y),
                () => i.set(l.over(k.integer(3))),
              );
            else if (op === 7) i.set(k.integer(50).minus(j.least(k.integer(50))));
            else if (op === 8) k.range('some', 0, j.least(k.integer(3)), 2, () => x.set(x.smaller(y)));
            else x.set(k.vectorOf((['low', 'high', 'lowPairs', 'highPairs'] as const)[c % 4]!, x, y));
          }
          for (const [at, each] of vectors.entries()) each.store(k.scratch.at(at * k.bytes));
          for (const [at, each] of integers.entries())
            k.splat(k.base.at(DATA, each, 4)).store(k.scratch.at(4096 + at * k.bytes));
        });
      }),
      { numRuns: 60 },
    );
  });

  test('names the inner loop that does not fit into registers, and refuses what has been given away', () => {
    const tooMany = (k: Kernel) =>
      k.range('terms', 0, 8, 1, () => {
        const all = Array.from({ length: target.vectors + 1 }, () => k.splat(k.scratch.at()));
        for (const each of all) each.store(k.scratch.at());
      });
    expect(() => emit(codeOf(target, tooMany))).toThrow(
      `the loop terms does not fit: it needs more than ${target.vectors} vectors at once`,
    );
    const given = (k: Kernel) => {
      const [variable, value] = [k.integer(1), k.task.plus(1)];
      variable.set(value);
      value.plus(1);
    };
    expect(() => codeOf(target, given)).toThrow('a value is read that has been given to a variable');
  });

  test.runIf(hasObjdump)('is what a disassembler reads, for all registers and ways to address', () => {
    const seen = disassembled(codeOf(target, everyOperand));
    expect(seen).not.toContain('(bad)');
    const vector = lanes === 16 ? 'zmm' : 'ymm';
    const ofWords = disassembled(codeOf(target, everyOperandOfWords));
    expect(ofWords).not.toContain('(bad)');
    for (let at = 0; at < target.vectors - 4; at++) {
      expect(ofWords).toMatch(new RegExp(`vgatherdps ${vector}\\d+(\\{k1\\})?,[^\n]*\\+${vector}${at}\\*4`));
      expect(ofWords).toMatch(new RegExp(`vgatherdps ${vector}${at}\\b`));
      expect(ofWords).toMatch(new RegExp(`vblend(v|m)ps ${vector}${at}\\b`));
      expect(ofWords).toMatch(new RegExp(`vpmulld ${vector}\\d+,${vector}\\d+,${vector}${at}\\b`));
      expect(ofWords).toMatch(new RegExp(`vfmadd213ps ${vector}${at},`));
    }
    for (let at = 0; at < target.vectors; at++) {
      expect(seen).toMatch(new RegExp(`vmovups \\w+ PTR [^\n]*,${vector}${at}\\b`));
      expect(seen).toMatch(new RegExp(`vfmadd231ps ${vector}${at},${vector}\\d+,`));
      expect(seen).toMatch(new RegExp(`vpmovzxwd ${vector}${at},[^\n]*\\+0x40\\]`));
      expect(seen).toMatch(new RegExp(`vcvtph2ps ${vector}${at},[^\n]*\\+0x40\\]`));
      expect(seen).toMatch(
        new RegExp(`${lanes === 16 ? 'vpmovdw [^\n]*\\+0x40\\],zmm' : 'vpackusdw ymm15,ymm\\d+,ymm'}${at}\\b`),
      );
      expect(seen).toMatch(new RegExp(`vcvtps2ph [^\n]*\\+0x40\\],${vector}${at},0x0`));
      expect(seen).toMatch(new RegExp(`vaddps ${vector}\\d+,${vector}\\d+,${vector}${at}\\b`));
    }
    for (const offset of ['', '\\+0x4', '\\+0x7c', '\\+0x80', '\\+0x1000', '-0x40', '-0x1004'])
      for (const scale of [1, 2, 4, 8]) expect(seen).toMatch(new RegExp(`\\[r\\w+\\+r\\w+\\*${scale}${offset}\\]`));
    for (const register of ['rdi', 'rsi', 'rcx', 'r8', 'r9', 'r10', 'r11', 'rbx', 'rbp', 'r12', 'r13', 'r14', 'r15']) {
      expect(seen).toMatch(new RegExp(`vbroadcastss ${vector}\\d+,DWORD PTR \\[${register}(\\+0x0)?\\]`));
      expect(seen).toMatch(new RegExp(`imul +${register},`));
    }
  });
});

/** Each vector register in each place, each integer register as base and as index. */
function everyOperand(k: Kernel): void {
  const vectors = Array.from({ length: k.target.vectors }, () => k.splat(k.base.at()));
  vectors.forEach((each, at) => {
    const other = vectors[(at * 7 + 3) % vectors.length] as Vector;
    each.addProduct(other, vectors[(at + 1) % vectors.length] as Vector);
    each.set(other.plus(each));
    each.set(other.times(2));
    each.set(k.loadHalves(k.base.at(64)));
    each.set(k.loadFloat16(k.base.at(64)));
    each.storeHalves(k.base.at(64));
    each.storeFloat16(k.base.at(64));
  });
  const integers = [k.base, k.scratch, k.task, ...Array.from({ length: 10 }, (_, at) => k.integer(at))];
  for (const [at, base] of integers.entries()) {
    vectors[0]!.set(k.splat(base.at()));
    const index = integers[(at + 5) % integers.length];
    for (const offset of [0, 4, 124, 128, 4096, -64, -4100])
      for (const scale of [1, 2, 4, 8] as const) vectors[at]!.store(base.at(offset, index, scale));
    base.set(base.times(5));
  }
  for (const [at, each] of vectors.entries()) each.store(k.scratch.at(at * k.bytes));
  for (const each of integers) k.splat(each.at()).store(k.scratch.at());
}

/** As `everyOperand`, of the instructions on words and masks, which need some registers besides. */
function everyOperandOfWords(k: Kernel): void {
  const vectors = Array.from({ length: k.target.vectors - 4 }, () => k.splat(k.base.at()));
  vectors.forEach((each, at) => {
    const other = vectors[(at * 7 + 3) % vectors.length] as Vector;
    each.timesPlus(other, vectors[(at + 1) % vectors.length] as Vector);
    each.set(other.timesWords(each));
    each.set(k.pick(other, each, k.gather(k.base, each)));
    each.set(k.mask(each, '<', other).shiftLeft(each));
    each.set(k.maskOfWords(each.toWord(), '>', other));
  });
  for (let round = 0; round < 2; round++)
    for (const [at, each] of vectors.entries()) {
      const table = k.gather(k.base, vectors[(at + round) % vectors.length] as Vector);
      each.set(k.pick(table, each, table));
      each.set(table.root());
    }
  for (const [at, each] of vectors.entries()) {
    k.write({ op: 'gather', to: each, from: [each, k.base, vectors[(at + 1) % vectors.length] as Vector] });
    each.store(k.scratch.at(at * k.bytes));
  }
}

function disassembled(code: Code): string {
  const file = join(mkdtempSync(join(tmpdir(), 'saccade-code-')), 'code');
  writeFileSync(file, emit(code));
  return execFileSync('objdump', ['-D', '-b', 'binary', '-m', 'i386:x86-64', '-M', 'intel', file], { encoding: 'utf8' })
    .replace(/[\t ]+/g, ' ')
    .split(' ret')[0] as string;
}
