/** Runs what a kernel has said, one instruction at a time: what the code of every target is tested against. */
import { fromFloat16s, toFloat16 } from '../tensor/float16';
import { Address, type Code, type Instruction, type Operand, type Register, Rounding, type Test } from './kernel';

/** Runs one task over a memory whose first byte has the address 0; addresses outside of it throw. */
export function interpret(code: Code, memory: ArrayBuffer, params: number, scratch: number, task: number): void {
  const { instructions, target } = code;
  const { lanes } = target;
  const view = new DataView(memory);
  const integers = new Array<number>(code.registers.integer).fill(0);
  integers.splice(0, 4, 0, params, scratch, task);
  const vectors = Array.from({ length: code.registers.vector }, () => new Float32Array(lanes));
  const pasts = jumpsOf(instructions);

  const integer = (operand: Operand | undefined): number =>
    typeof operand === 'number' ? operand : (integers[(operand as Register).id] as number);
  const place = ({ base, offset, index, scale }: Address) =>
    integer(base) + offset + (index ? integer(index) * scale : 0);
  const vector = (operand: Operand | undefined): Float32Array => {
    if (typeof operand === 'number') return new Float32Array(lanes).fill(operand);
    if (!(operand instanceof Address)) return vectors[(operand as Register).id] as Float32Array;
    return new Float32Array(read(place(operand), lanes).buffer);
  };
  // As words, since NaN has many, and masks are among them.
  const read = (at: number, count: number) =>
    Int32Array.from({ length: lanes }, (_, lane) => (lane < count ? view.getInt32(at + 4 * lane, true) : 0));
  const halves = (at: number) => Uint16Array.from({ length: lanes }, (_, lane) => view.getUint16(at + 2 * lane, true));
  const filled = (word: number) => new Int32Array(lanes).fill(word);

  for (let at = 0; at < instructions.length; at++) {
    const instruction = instructions[at] as Instruction;
    const { op, from, to, test } = instruction;
    const [a, b] = from;
    const count = instruction.count ? integer(instruction.count) : lanes;
    if (op === 'if') {
      if (!holds(integer(a), test as Test, integer(b))) at = pasts.get(at) as number;
    } else if (op === 'else') at = pasts.get(at) as number;
    else if (op === 'again') {
      if (holds(integer(a), test as Test, integer(b))) at = pasts.get(at) as number;
    } else if (op === 'store') {
      const [first, values] = [place(a as Address), words(vector(b))];
      for (let lane = 0; lane < count; lane++) view.setInt32(first + 4 * lane, values[lane] as number, true);
    } else if (op === 'storeHalves' || op === 'storeFloat16') {
      const [first, values] = [place(a as Address), vector(b)];
      for (let lane = 0; lane < lanes; lane++) {
        const half = op === 'storeHalves' ? (words(values)[lane] as number) : toFloat16(values[lane] as number);
        view.setUint16(first + 2 * lane, half, true);
      }
    } else if (to?.kind === 'integer') {
      integers[to.id] =
        op === 'param'
          ? view.getFloat64(place(a as Address), true)
          : op === 'word'
            ? view.getUint32(place(a as Address), true)
            : INTEGERS[op as 'plus'](integer(a), integer(b ?? 0));
    } else if (to) {
      const out = vectors[to.id] as Float32Array;
      const found =
        op === 'load'
          ? read(place(a as Address), count)
          : op === 'loadHalves'
            ? halves(place(a as Address))
            : op === 'loadFloat16'
              ? words(fromFloat16s(halves(place(a as Address))))
              : op === 'splat'
                ? filled(view.getInt32(place(a as Address), true))
                : op === 'bits'
                  ? filled(a as number)
                  : op === 'gather'
                    ? words(vector(from[2])).map((index) => view.getInt32(integer(b) + 4 * index, true))
                    : op === 'quarters'
                      ? words(quarters(vector(a), vector(b), from[2] as number))
                      : vectorOf(instruction, from.map(vector), lanes);
      words(out).set(found);
    }
  }
}

const INTEGERS = {
  integer: (a: number) => a,
  copy: (a: number) => a,
  plus: (a: number, b: number) => a + b,
  minus: (a: number, b: number) => a - b,
  times: (a: number, b: number) => a * b,
  quotient: (a: number, b: number) => Math.trunc(a / b),
  remainder: (a: number, b: number) => a % b,
  least: (a: number, b: number) => Math.min(a, b),
};

const words = (numbers: Float32Array) => new Int32Array(numbers.buffer, numbers.byteOffset, numbers.length);

const either = (isFirst: boolean, a: number, b: number) => (isFirst ? a : b);

/** Of one lane. */
const NUMBERS: Readonly<Record<string, (a: number, b: number, c: number) => number>> = {
  number: (a) => a,
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  // As processors have it: the second where they are equal or one is NaN.
  larger: (a, b) => either(a > b, a, b),
  smaller: (a, b) => either(a < b, a, b),
  addProduct: (sum, a, b) => sum + a * b,
  timesPlus: (a, b, c) => a * b + c,
  root: Math.sqrt,
  scale2: (a, b) => a * 2 ** b,
  round: (a, way) => {
    if (way === Rounding.Down) return Math.floor(a);
    if (way === Rounding.Up) return Math.ceil(a);
    if (way === Rounding.ToZero) return Math.trunc(a);
    const whole = Math.round(a);
    return whole - a === 0.5 && whole % 2 !== 0 ? whole - 1 : whole;
  },
};

/** Of one lane as words, and of words as numbers or back. */
const WORDS: Readonly<Record<string, (a: number, b: number, c: number) => number>> = {
  move: (a) => a,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  addWords: (a, b) => a + b,
  subtractWords: (a, b) => a - b,
  multiplyWords: Math.imul,
  smallerWords: (a, b) => Math.min(a, b),
  largerWords: (a, b) => Math.max(a, b),
  shiftLeft: (a, b) => a << b,
  shiftRight: (a, b) => a >> b,
  shiftRightUnsigned: (a, b) => a >>> b,
  // A mask has bits where its highest is one.
  pick: (mask, a, b) => (mask < 0 ? a : b),
};

/** From which element of which operand each of four lanes comes. */
const SHUFFLES: Readonly<Record<string, readonly (readonly [operand: 0 | 1, lane: number])[]>> = {
  low: [
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ],
  high: [
    [0, 2],
    [1, 2],
    [0, 3],
    [1, 3],
  ],
  lowPairs: [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ],
  highPairs: [
    [0, 2],
    [0, 3],
    [1, 2],
    [1, 3],
  ],
};

/** As words. */
function vectorOf({ op, test }: Instruction, from: readonly Float32Array[], lanes: number): Int32Array {
  const [a, b, c] = from as [Float32Array, Float32Array, Float32Array];
  const bits = from.map(words);
  const word = (operand: number, lane: number) => bits[operand]?.[lane] as number;
  const each = (f: (lane: number) => number) => Int32Array.from({ length: lanes }, (_, lane) => f(lane));
  const shuffle = SHUFFLES[op];
  if (shuffle)
    return each((lane) => {
      const [operand, place] = shuffle[lane & 3] as readonly [number, number];
      return word(operand, (lane & ~3) + place);
    });
  const isSo = (lane: number) => holds(a[lane] as number, test as Test, b[lane] as number);
  if (op === 'select') return each((lane) => word(isSo(lane) ? 2 : 3, lane));
  if (op === 'mask') return each((lane) => -Number(isSo(lane)));
  if (op === 'maskOfWords') return each((lane) => -Number(holds(word(0, lane), test as Test, word(1, lane))));
  // Of what no word is, the processor makes the least one.
  if (op === 'toWord')
    return each((lane) => (Math.abs(a[lane] as number) < 2 ** 31 ? (a[lane] as number) : -(2 ** 31)));
  const ofWords = WORDS[op];
  if (ofWords) return each((lane) => ofWords(word(0, lane), word(1, lane), word(2, lane)));
  const of =
    op === 'toFloat'
      ? (lane: number) => word(0, lane)
      : (lane: number) =>
          (NUMBERS[op] as (typeof NUMBERS)[string])(a[lane] as number, b?.[lane] as number, c?.[lane] as number);
  return words(Float32Array.from({ length: lanes }, (_, lane) => of(lane)));
}

/** The quarters of 512 bits, or halves of 256, that two bits of a number, or four, name. */
function quarters(a: Float32Array, b: Float32Array, choice: number): Float32Array {
  const quarter = (of: Float32Array, at: number) => of.subarray(4 * at, 4 * at + 4);
  const parts =
    a.length === 16
      ? [0, 1, 2, 3].map((at) => quarter(at < 2 ? a : b, (choice >> (2 * at)) & 3))
      : [0, 4].map((shift) => quarter((choice >> shift) & 2 ? b : a, (choice >> shift) & 1));
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

function holds(a: number, test: Test, b: number): boolean {
  if (test === '==') return a === b;
  if (test === '!=') return a !== b;
  if (test[0] === '<') return a < b || (test === '<=' && a === b);
  return a > b || (test === '>=' && a === b);
}

/** Where each jump goes: past what is not run, or back to the beginning of a loop. */
function jumpsOf(instructions: readonly Instruction[]): Map<number, number> {
  const jumps = new Map<number, number>();
  const open: number[] = [];
  instructions.forEach(({ op }, at) => {
    if (op === 'loop' || op === 'if') open.push(at);
    else if (op === 'again') jumps.set(at, open.pop() as number);
    else if (op === 'else' || op === 'end') {
      jumps.set(open.pop() as number, at);
      if (op === 'else') open.push(at);
    }
  });
  return jumps;
}
