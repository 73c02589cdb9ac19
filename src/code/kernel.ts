/**
 * The language of kernels: TypeScript functions that write code. A kernel is told how many lanes and registers there are and
 * says what is computed on integers, addresses and vectors of float32 or words of 32 bits; what is known when code is made is an ordinary `if` or
 * loop of TypeScript. What it says is a list of instructions on any number of registers, which targets make code of
 * (`x64/emit.ts`) and the interpreter runs (`interpreter.ts`).
 */
import type { Fields } from '../runtime/cpu/struct';

export interface Target {
  readonly name: 'avx2' | 'avx512';
  /** As people write it. */
  readonly label: string;
  /** Float32 numbers of a vector, and vectors that registers hold. */
  readonly lanes: number;
  readonly vectors: number;
}

export const TARGETS = {
  avx2: { name: 'avx2', label: 'x86-64 with AVX2', lanes: 8, vectors: 15 },
  avx512: { name: 'avx512', label: 'x86-64 with AVX-512', lanes: 16, vectors: 32 },
} as const satisfies Record<string, Target>;

export type Test = '<' | '<=' | '>' | '>=' | '==' | '!=';

type IntegerOp =
  | 'integer'
  | 'copy'
  | 'plus'
  | 'minus'
  | 'times'
  | 'quotient'
  | 'remainder'
  | 'least'
  | 'param'
  | 'word';
type Arithmetic =
  | 'add'
  | 'subtract'
  | 'multiply'
  | 'divide'
  | 'larger'
  | 'smaller'
  | 'addProduct'
  | 'timesPlus'
  | 'root';
/** Of 32 bits in each lane: whole numbers, which wrap around, and bits. */
type Words =
  | 'addWords'
  | 'subtractWords'
  | 'multiplyWords'
  | 'smallerWords'
  | 'largerWords'
  | 'shiftLeft'
  | 'shiftRight'
  | 'shiftRightUnsigned'
  | 'and'
  | 'or'
  | 'xor'
  | 'toFloat'
  | 'toWord';
/** `low` and `high` interleave the lower or upper half of each 128 bits of two vectors, by elements or by pairs of them. */
type Shuffle = 'low' | 'high' | 'lowPairs' | 'highPairs' | 'quarters';
type VectorOp =
  | 'number'
  | 'bits'
  | 'move'
  | 'load'
  | 'loadHalves'
  | 'loadFloat16'
  | 'splat'
  | 'gather'
  | 'round'
  | 'scale2'
  | 'select'
  | 'mask'
  | 'maskOfWords'
  | 'pick'
  | Arithmetic
  | Words
  | Shuffle;
/** `loop` to `again` and `if` to `end`, with `else` between, enclose what they say. */
type ControlOp = 'store' | 'storeHalves' | 'storeFloat16' | 'prefetch' | 'loop' | 'again' | 'if' | 'else' | 'end';

export interface Instruction {
  readonly op: IntegerOp | VectorOp | ControlOp;
  to?: Register;
  readonly from: readonly Operand[];
  /** How many lanes are read or written; all by default. */
  readonly count?: Register | undefined;
  readonly test?: Test;
  /** Of a loop. */
  readonly name?: string;
}

export interface Register {
  readonly kind: 'integer' | 'vector';
  readonly id: number;
}

/** base + offset + index * scale, in bytes. */
export class Address {
  constructor(
    readonly base: Register,
    readonly offset: number,
    readonly index?: Register,
    readonly scale: Scale = 1,
  ) {}
}

type Scale = 1 | 2 | 4 | 8;
/** An integer or vector, elements in memory, or a number that is known. */
export type Operand = Register | Address | number;

/** What a kernel has said. */
export interface Code {
  readonly target: Target;
  readonly instructions: readonly Instruction[];
  /** How many integers and vectors there are, arguments first. */
  readonly registers: { readonly integer: number; readonly vector: number };
}

/** The base of all addresses, those of the params and of the thread's working memory from there on, and the task. */
export const ARGUMENTS = 4;

class Value implements Register {
  constructor(
    protected readonly kernel: Kernel,
    readonly kind: 'integer' | 'vector',
    readonly id: number,
  ) {}
}

/** A whole number of 64 bits, or an address. */
export class Integer extends Value {
  plus = (x: Integer | number): Integer => this.kernel.integerOf('plus', this, x);
  minus = (x: Integer | number): Integer => this.kernel.integerOf('minus', this, x);
  times = (x: Integer | number): Integer => this.kernel.integerOf('times', this, x);
  /** Of numbers that are not negative. */
  over = (x: Integer): Integer => this.kernel.integerOf('quotient', this, x);
  remainder = (x: Integer): Integer => this.kernel.integerOf('remainder', this, x);
  least = (x: Integer): Integer => this.kernel.integerOf('least', this, x);
  copy = (): Integer => this.kernel.integerOf('copy', this);
  /** Gives this variable the value of an expression, which is not read again, or of another variable's copy. */
  set = (x: Integer): void => this.kernel.assign('copy', this, x);
  /** Adds to this variable. */
  add = (x: Integer | number): void => this.set(this.plus(x));
  /** Elements in memory. */
  at = (offset = 0, index?: Integer, scale: Scale = 1): Address => new Address(this, offset, index, scale);
}

type Numbers = Vector | Address | number;

export const Rounding = { Nearest: 8, Down: 9, Up: 10, ToZero: 11 } as const;
export type Rounding = (typeof Rounding)[keyof typeof Rounding];

/** `lanes` numbers in float32. In memory they are as many, side by side; a number that is known is in each lane. */
export class Vector extends Value {
  plus = (x: Numbers): Vector => this.kernel.vectorOf('add', this, x);
  minus = (x: Numbers): Vector => this.kernel.vectorOf('subtract', this, x);
  times = (x: Numbers): Vector => this.kernel.vectorOf('multiply', this, x);
  over = (x: Numbers): Vector => this.kernel.vectorOf('divide', this, x);
  larger = (x: Numbers): Vector => this.kernel.vectorOf('larger', this, x);
  smaller = (x: Numbers): Vector => this.kernel.vectorOf('smaller', this, x);
  /** To a whole number: the nearest one, of two the even one, or downwards, upwards, towards 0. */
  round = (way: Rounding = Rounding.Nearest): Vector => this.kernel.vectorOf('round', this, way);
  root = (): Vector => this.kernel.vectorOf('root', this);
  /** By 2 to the power of whole numbers from -126 to 127. */
  scaled = (by: Vector): Vector => this.kernel.vectorOf('scale2', this, by);
  and = (x: Vector): Vector => this.kernel.vectorOf('and', this, x);
  or = (x: Vector): Vector => this.kernel.vectorOf('or', this, x);
  xor = (x: Vector): Vector => this.kernel.vectorOf('xor', this, x);
  plusWords = (x: Vector): Vector => this.kernel.vectorOf('addWords', this, x);
  minusWords = (x: Vector): Vector => this.kernel.vectorOf('subtractWords', this, x);
  timesWords = (x: Vector): Vector => this.kernel.vectorOf('multiplyWords', this, x);
  smallerWords = (x: Vector): Vector => this.kernel.vectorOf('smallerWords', this, x);
  largerWords = (x: Vector): Vector => this.kernel.vectorOf('largerWords', this, x);
  /** By as many bits as the lanes of `x` say: 0 to 31. */
  shiftLeft = (x: Vector): Vector => this.kernel.vectorOf('shiftLeft', this, x);
  shiftRight = (x: Vector): Vector => this.kernel.vectorOf('shiftRight', this, x);
  shiftRightUnsigned = (x: Vector): Vector => this.kernel.vectorOf('shiftRightUnsigned', this, x);
  /** Words as numbers, and numbers as words without their fractions: the least word if they are none. */
  toFloat = (): Vector => this.kernel.vectorOf('toFloat', this);
  toWord = (): Vector => this.kernel.vectorOf('toWord', this);
  copy = (): Vector => this.kernel.vectorOf('move', this);
  set = (x: Vector): void => this.kernel.assign('move', this, x);
  /** Makes this variable this a + b, rounded once. */
  timesPlus = (a: Vector, b: Numbers): void => this.kernel.write({ op: 'timesPlus', to: this, from: [this, a, b] });
  /** Adds a b to this variable, rounded once. */
  addProduct = (a: Vector, b: Numbers): void => this.kernel.write({ op: 'addProduct', to: this, from: [this, a, b] });
  /** All lanes, or the first `count`. */
  store = (to: Address, count?: Integer): void => this.kernel.write({ op: 'store', from: [to, this], count });
  /** The lower halves of words, which have nothing in the upper ones. */
  storeHalves = (to: Address): void => this.kernel.write({ op: 'storeHalves', from: [to, this] });
  /** In float16, to nearest even. */
  storeFloat16 = (to: Address): void => this.kernel.write({ op: 'storeFloat16', from: [to, this] });
}

/** Reads a param of a kernel. */
export type Readers<F extends Fields> = {
  readonly [Name in keyof F]: F[Name] extends Fields ? Readers<F[Name]> : () => Integer;
};

/** Places in rows, all of which move on together. */
export interface Rows {
  at(row: number, offset?: number): Address;
  add(bytes: Integer | number): void;
}

/** Where a vector lies in a row that begins there. */
type Place = (first: Integer) => Address;

/** Vectors of a row, at a place that is the same in each of several rows. */
export interface Row {
  /** The last of whole vectors, of a row that has one: it may overlap with those before. */
  readonly last: Place;
  /** Whole vectors, `side` of them at a time, then one at a time. */
  whole(side: number, body: (places: readonly [Place, ...Place[]]) => void): void;
  /** What is left, if anything. */
  rest(body: (place: Place, count: Integer) => void): void;
}

export class Kernel {
  readonly instructions: Instruction[] = [];
  /** How many params have been asked for. */
  #read = 0;
  readonly #counts = { integer: 0, vector: 0 };
  /** What has been given to a variable. */
  readonly #gone = new Set<Register>();
  readonly base = this.#integer();
  readonly #params = this.#integer();
  /** The address of the thread's working memory. */
  readonly scratch = this.#integer();
  readonly task = this.#integer();

  constructor(readonly target: Target) {
    this.#params.add(this.base);
    this.scratch.add(this.base);
  }

  get lanes(): number {
    return this.target.lanes;
  }

  /** Bytes of a vector. */
  get bytes(): number {
    return 4 * this.target.lanes;
  }

  /** The params that a struct declares, behind those that were asked for before. */
  params<const F extends Fields>(fields: F): Readers<F> {
    const readers = (fields: Fields): object =>
      Object.fromEntries(
        Object.entries(fields).map(([name, kind]) => {
          if (typeof kind !== 'string') return [name, readers(kind)];
          const at = new Address(this.#params, 8 * this.#read++);
          return [name, () => this.#made('param', [at])];
        }),
      );
    return readers(fields) as Readers<F>;
  }

  /** The address of what lies behind the params that have been asked for. */
  behindParams(): Integer {
    return this.#params.plus(8 * this.#read);
  }

  /** A new variable. */
  integer(value: number): Integer {
    return this.#made('integer', [value]);
  }

  integerOf(op: IntegerOp, ...from: Operand[]): Integer {
    return this.#made(op, from);
  }

  /** A whole number of 32 bits in memory that is not negative. */
  word(from: Address): Integer {
    return this.#made('word', [from]);
  }

  /** A whole number that a float64 in memory is. */
  whole(from: Address): Integer {
    return this.#made('param', [from]);
  }

  number(value: number): Vector {
    return this.vectorOf('number', value);
  }

  /** A word in all lanes. */
  bits(word: number): Vector {
    return this.vectorOf('bits', word);
  }

  /** All lanes, or the first `count`, with zeros in the others. */
  load(from: Address, count?: Integer): Vector {
    const to = this.#vector();
    this.write({ op: 'load', to, from: [from], count });
    return to;
  }

  /** Halves of words as words. */
  loadHalves = (from: Address): Vector => this.vectorOf('loadHalves', from);
  /** Of numbers in float16. */
  loadFloat16 = (from: Address): Vector => this.vectorOf('loadFloat16', from);

  /** One number for all lanes. */
  splat(from: Address): Vector {
    return this.vectorOf('splat', from);
  }

  /** The words of a table at the indices in each lane, none of them negative. */
  gather(table: Integer, indices: Vector): Vector {
    // A variable before the instruction, since it must not have the register of the indices.
    const to = this.number(0);
    this.write({ op: 'gather', to, from: [to, table, indices] });
    return to;
  }

  /** All bits of the lanes where `a` and `b` are so; of NaN only `!=` is. */
  mask(a: Vector, test: Test, b: Vector): Vector {
    const to = this.#vector();
    this.write({ op: 'mask', to, from: [a, b], test });
    return to;
  }

  maskOfWords(a: Vector, test: '==' | '>', b: Vector): Vector {
    const to = this.#vector();
    this.write({ op: 'maskOfWords', to, from: [a, b], test });
    return to;
  }

  /** In each lane `x` where a mask has bits, elsewhere `y`. */
  pick = (mask: Vector, x: Vector, y: Vector): Vector => this.vectorOf('pick', mask, x, y);

  /** In each lane `x` where `a` and `b` are so, elsewhere `y`. */
  select(a: Vector, test: Test, b: Vector, x: Vector, y: Vector): Vector {
    const to = this.#vector();
    this.write({ op: 'select', to, from: [a, b, x, y], test });
    return to;
  }

  vectorOf(op: VectorOp, ...from: Operand[]): Vector {
    const to = this.#vector();
    this.write({ op, to, from });
    return to;
  }

  /** All lanes of x as one number, in each lane, by a function of two that does not mind their order. */
  joined(x: Vector, join: (a: Vector, b: Vector) => Vector): Vector {
    const swaps = this.lanes === 16 ? [0x4e, 0xb1] : [0x01];
    let all = x;
    for (const swap of swaps) all = join(all, this.vectorOf('quarters', all, all, swap));
    const pairs = (x: Vector) => join(this.vectorOf('lowPairs', x, x), this.vectorOf('highPairs', x, x));
    const two = pairs(all);
    return pairs(this.vectorOf('low', two, two));
  }

  /** Passes over rows of so many elements. */
  row(count: Integer): Row {
    const rest = count.remainder(this.integer(this.lanes));
    const past = count.minus(rest);
    return {
      // At least as many elements as there are lanes.
      last: (x) => x.at(-this.bytes, count, 4),
      whole: (side, body) => {
        const step = side * this.lanes;
        const together = side > 1 ? past.minus(past.remainder(this.integer(step))) : past;
        this.range('vectors side by side', 0, together, step, (index) =>
          body(Array.from({ length: side }, (_, each) => (x) => x.at(this.bytes * each, index, 4)) as [Place]),
        );
        if (side > 1) this.range('vectors', together, past, this.lanes, (index) => body([(x) => x.at(0, index, 4)]));
      },
      rest: (body) => this.if(rest, '>', 0, () => body((x) => x.at(0, past, 4), rest)),
    };
  }

  /** Rows become columns, of as many vectors as there are lanes. */
  transposed(rows: readonly Vector[]): Vector[] {
    const pairs = (vectors: readonly Vector[], apart: number, low: Shuffle, high: Shuffle): Vector[] => {
      const made: Vector[] = [...vectors];
      for (let at = 0; at < vectors.length; at++) {
        if (at & apart) continue;
        const [a, b] = [vectors[at] as Vector, vectors[at + apart] as Vector];
        made[at] = this.vectorOf(low, a, b);
        made[at + apart] = this.vectorOf(high, a, b);
      }
      return made;
    };
    // After this, vector r of each four has in its quarter q the four rows' elements 4 q + r.
    const inFours = pairs(pairs(rows, 1, 'low', 'high'), 2, 'lowPairs', 'highPairs');
    const order = [0, 2, 1, 3];
    const four = (at: number) => inFours[4 * (at >> 2) + (order[at & 3] as number)] as Vector;
    const ordered = rows.map((_, at) => four(at));
    const take = (a: Vector, b: Vector, quarters: number) => this.vectorOf('quarters', a, b, quarters);
    if (rows.length === 8) {
      return rows.map((_, at) =>
        take(ordered[at & 3] as Vector, ordered[4 + (at & 3)] as Vector, at < 4 ? 0x20 : 0x31),
      );
    }
    const out: Vector[] = [];
    for (let r = 0; r < 4; r++) {
      const [a, b, c, d] = [0, 4, 8, 12].map((from) => ordered[from + r]) as [Vector, Vector, Vector, Vector];
      const [evenLow, oddLow] = [take(a, b, 0x88), take(a, b, 0xdd)];
      const [evenHigh, oddHigh] = [take(c, d, 0x88), take(c, d, 0xdd)];
      [out[r], out[8 + r]] = [take(evenLow, evenHigh, 0x88), take(evenLow, evenHigh, 0xdd)];
      [out[4 + r], out[12 + r]] = [take(oddLow, oddHigh, 0x88), take(oddLow, oddHigh, 0xdd)];
    }
    return out;
  }

  prefetch(at: Address): void {
    this.write({ op: 'prefetch', from: [at] });
  }

  /** Rows that lie so many bytes apart, by a pointer for each three: an index has one, two or no steps. */
  rows(first: Integer, step: Integer, count: number): Rows {
    const pointers = [first.copy()];
    while (3 * pointers.length < count) pointers.push((pointers.at(-1) as Integer).plus(step.times(3)));
    return {
      at(row, offset = 0) {
        const pointer = pointers[Math.floor(row / 3)] as Integer;
        return row % 3 === 0 ? pointer.at(offset) : pointer.at(offset, step, row % 3 === 1 ? 1 : 2);
      },
      add(bytes) {
        for (const pointer of pointers) pointer.add(bytes);
      },
    };
  }

  /** `body` with each of first, first + step, ... below `past`; the loop is called `name` where it has no room in registers. */
  range(
    name: string,
    first: Integer | number,
    past: Integer | number,
    step: Integer | number,
    body: (at: Integer) => void,
  ): void {
    const at = typeof first === 'number' ? this.integer(first) : first.copy();
    const loop = () => {
      this.write({ op: 'loop', from: [], name });
      body(at);
      at.add(step);
      this.write({ op: 'again', from: [at, past], test: '<' });
    };
    if (typeof first === 'number' && typeof past === 'number') {
      if (first < past) loop();
    } else this.if(at, '<', past, loop);
  }

  if(a: Integer, test: Test, b: Integer | number, then: () => void, otherwise?: () => void): void {
    this.write({ op: 'if', from: [a, b], test });
    then();
    if (otherwise) {
      this.write({ op: 'else', from: [] });
      otherwise();
    }
    this.write({ op: 'end', from: [] });
  }

  /** Gives a variable the value of an expression: by the expression's last instruction, if that was the last one. */
  assign(op: 'copy' | 'move', variable: Register, value: Register): void {
    const last = this.instructions.at(-1);
    this.#check(value);
    if (last?.to === value && !['integer', 'copy', 'move'].includes(last.op)) {
      last.to = variable;
      this.#gone.add(value);
    } else this.write({ op, to: variable, from: [value] });
  }

  write(instruction: Instruction): void {
    for (const operand of [...instruction.from, instruction.count]) {
      if (operand instanceof Address) for (const each of [operand.base, operand.index]) this.#check(each);
      else if (typeof operand === 'object') this.#check(operand);
    }
    this.instructions.push(instruction);
  }

  finish(): Code {
    return { target: this.target, instructions: this.instructions, registers: { ...this.#counts } };
  }

  #check(register: Register | undefined): void {
    if (register && this.#gone.has(register))
      throw new Error('a value is read that has been given to a variable: read the variable, or copy() first');
  }

  #integer(): Integer {
    return new Integer(this, 'integer', this.#counts.integer++);
  }

  #vector(): Vector {
    return new Vector(this, 'vector', this.#counts.vector++);
  }

  #made(op: IntegerOp, from: readonly Operand[]): Integer {
    const to = this.#integer();
    this.write({ op, to, from });
    return to;
  }
}

/** The code of a kernel for a target. */
export function codeOf(target: Target, kernel: (k: Kernel) => void): Code {
  const k = new Kernel(target);
  kernel(k);
  return k.finish();
}
