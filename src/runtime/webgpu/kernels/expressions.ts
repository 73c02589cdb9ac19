/**
 * Expressions in WGSL. Values are f32, or i32 where they are integers throughout (expressions/typed.ts), rounded after each
 * operation. Bits, remainders, comparisons, zeros, infinities and NaN are as in JavaScript. All tables are one operand of 32-bit
 * words, `score_tables`; captured tensors are operands t0, ... (`tensorsCode`).
 */
import { type Instruction, orderOf, type Value } from '../../../expressions/typed';
import { sizeOf } from '../../../tensor/shape';
import { flat, type Kernel, type Region } from '../kernel';
import type { FunctionName } from './functions';
import { POWER, POWER_NEEDS, REMAINDER } from './power';

export type Words = Float32Array | Int32Array;

export interface Code {
  /** Those of functions.ts that it calls. */
  readonly functions: readonly FunctionName[];
  readonly text: string;
  readonly numbers: NonNullable<Kernel['numbers']>;
  /** The values of numbers that are constants. */
  readonly values: Readonly<Record<string, number>>;
  readonly tables: readonly Words[];
}

/** What a kernel needs for expressions that look up captured tensors t0, ... of these types. */
export function tensorsCode(types: readonly ('f32' | 'i32')[]) {
  const each = <T>(of: (name: string, type: 'f32' | 'i32') => T) => types.map((type, at) => of(`t${at}`, type));
  return {
    operands: Object.fromEntries(each((name) => [name, { access: 'read' } as const])),
    numbers: Object.fromEntries(each((name) => [`${name}_size`, 'u32' as const])),
    functions: types.includes('f32') ? (['not_a_number'] as const) : [],
    text: each(
      (name, type) => `
fn lookup_${name}(i: i32) -> ${type} {
  if (u32(i) < numbers.${name}_size) { return load_${name}(u32(i)); }
  return ${type === 'f32' ? 'not_a_number()' : '0'};
}`,
    ).join(''),
  };
}

/** The operands of captured tensors in a dispatch, and their sizes. */
export const tensorOperands = (tensors: readonly Region[]): Record<string, Region> =>
  Object.fromEntries(tensors.map((x, at) => [`t${at}`, flat(x)]));
export const tensorSizes = (tensors: readonly Region[]): Record<string, number> =>
  Object.fromEntries(tensors.map(({ shape }, at) => [`t${at}_size`, sizeOf(shape)]));

/** Most numbers of a dispatch; further ones are written into the text. */
const MOST_NUMBERS = 40;

/** A function that expressions call. Its names begin with `score_`, which no kernel uses. */
interface Helper {
  readonly functions?: readonly FunctionName[];
  readonly text: string;
}

export const HELPERS: Readonly<Record<string, Helper>> = {
  score_table_word: {
    text: `
fn score_table_word(first: u32, length: u32, at: i32) -> i32 {
  if (u32(at) < length) { return load_score_tables(first + u32(at)); }
  return 0x7fc00000;
}`,
  },
  score_to_integer: {
    functions: ['is_nan'],
    text: 'fn score_to_integer(x: f32) -> i32 { return select(i32(x), 0, is_nan(x)); }',
  },
  // Among equal numbers only zeros differ in their bits.
  score_lesser: {
    functions: ['is_nan'],
    text: `
fn score_lesser(x: f32, y: f32) -> f32 {
  let both = bitcast<f32>(bitcast<u32>(x) | bitcast<u32>(y));
  return select(select(select(select(y, x, x < y), both, x == y), y, is_nan(y)), x, is_nan(x));
}`,
  },
  score_greater: {
    functions: ['is_nan'],
    text: `
fn score_greater(x: f32, y: f32) -> f32 {
  let both = bitcast<f32>(bitcast<u32>(x) & bitcast<u32>(y));
  return select(select(select(select(y, x, x > y), both, x == y), y, is_nan(y)), x, is_nan(x));
}`,
  },
  score_sign_of: {
    text: 'fn score_sign_of(x: f32) -> f32 { return select(x, select(-1.0, 1.0, x > 0.0), x < 0.0 || x > 0.0); }',
  },
  // Halves upwards; what becomes 0 keeps its sign.
  score_round_half_up: {
    text: `
fn score_round_half_up(x: f32) -> f32 {
  let low = floor(x);
  let near = select(low, low + 1.0, x - low >= 0.5);
  return bitcast<f32>(bitcast<u32>(near) | (bitcast<u32>(x) & 0x80000000));
}`,
  },
  score_floor_quotient: {
    text: 'fn score_floor_quotient(x: i32, y: i32) -> i32 { return x / y - select(0, 1, x % y != 0 && (x < 0) != (y < 0)); }',
  },
  score_ceil_quotient: {
    text: 'fn score_ceil_quotient(x: i32, y: i32) -> i32 { return x / y + select(0, 1, x % y != 0 && (x < 0) == (y < 0)); }',
  },
  score_reciprocal_root: { text: 'fn score_reciprocal_root(x: f32) -> f32 { return 1.0 / sqrt(x); }' },
  score_power: { functions: POWER_NEEDS, text: POWER },
  score_remainder: { functions: ['not_a_number'], text: REMAINDER },
};

/** Operations that are functions: WGSL's, helpers, and those of functions.ts. */
const CALLS: Readonly<Record<string, string>> = {
  toFloat: 'f32',
  toInteger: 'score_to_integer',
  min: 'score_lesser',
  max: 'score_greater',
  abs: 'abs',
  sign: 'score_sign_of',
  floor: 'floor',
  ceil: 'ceil',
  trunc: 'trunc',
  round: 'score_round_half_up',
  sqrt: 'sqrt',
  rsqrt: 'score_reciprocal_root',
  remainder: 'score_remainder',
  power: 'score_power',
  'integer min': 'min',
  'integer max': 'max',
  'integer abs': 'abs',
  'integer sign': 'sign',
  'divide floor': 'score_floor_quotient',
  'divide ceil': 'score_ceil_quotient',
};

const ELEMENTARY: Readonly<Record<string, FunctionName>> = {
  exp: 'precise_exp',
  log: 'precise_log',
  tanh: 'precise_tanh',
  cos: 'precise_cos',
  sin: 'precise_sin',
  expm1: 'precise_expm1',
  log1p: 'precise_log1p',
  sigmoid: 'precise_sigmoid',
  sigmoidSlope: 'sigmoid_slope',
  softplus: 'precise_softplus',
  erf: 'precise_erf',
  normalCdf: 'normal_cdf',
};

const INFIXES: Readonly<Record<string, string>> = {
  and: '&',
  or: '|',
  xor: '^',
  add: '+',
  subtract: '-',
  multiply: '*',
  divide: '/',
  less: '<',
  lessOrEqual: '<=',
  equal: '==',
  'integer add': '+',
  'integer subtract': '-',
  'integer multiply': '*',
  'integer less': '<',
  'integer lessOrEqual': '<=',
  'integer equal': '==',
  'divide trunc': '/',
  'integer remainder': '%',
};

const TYPES = { float: 'f32', integer: 'i32', mask: 'bool' } as const;

/** Writes functions that share numbers and tables. */
export class Writer {
  readonly #tables: Words[] = [];
  readonly #types: Record<string, 'u32' | 'i32' | 'f32'> = {};
  readonly #numbers: Record<string, number> = {};
  readonly #names = new Map<string, string>();
  readonly #tableNumbers = new Map<Words, string>();
  readonly #functions = new Set<FunctionName>();
  readonly #helpers = new Set<string>();
  readonly #texts: string[] = [];

  /**
   * Adds a function with these parameters, some of which are the `inputs` of the values, by their places; `tables` are those
   * that the values read, by number. Several results are the fields r0, r1, ... of a struct.
   */
  add(
    name: string,
    results: readonly Value[],
    { parameters, inputs, tables = [] }: { parameters: string; inputs: readonly string[]; tables?: readonly Words[] },
  ): void {
    const texts = new Map<Value, string>();
    const lines: string[] = [];
    const textOf = (value: Value) => texts.get(value) ?? (inputs[value.place ?? 0] as string);
    for (const value of orderOf(...results)) {
      const instruction = value.instruction as Instruction;
      const text = this.#text(value, instruction, instruction.args.map(textOf), tables);
      // Inputs and numbers have names already.
      if (instruction.args.length === 0) texts.set(value, text);
      else {
        texts.set(value, `v${lines.length}`);
        lines.push(`  let v${lines.length} = ${text};`);
      }
    }
    const types = results.map(({ type }) => TYPES[type]);
    const [type] = types as [string];
    const isOne = results.length === 1;
    if (!isOne)
      this.#texts.push(`struct Results_of_${name} { ${types.map((each, at) => `r${at}: ${each}`).join(', ')} }`);
    const values = results.map(textOf).join(', ');
    this.#texts.push(
      `fn ${name}(${parameters}) -> ${isOne ? type : `Results_of_${name}`} {`,
      ...lines,
      `  return ${isOne ? values : `Results_of_${name}(${values})`};`,
      '}',
    );
  }

  /** The text of all functions, and what it needs. */
  code(): Code {
    const helpers = [...this.#helpers].map((name) => (HELPERS[name] as Helper).text.trim());
    return {
      functions: [...this.#functions],
      text: [...helpers, ...this.#texts].join('\n'),
      numbers: this.#types,
      values: this.#numbers,
      tables: this.#tables,
    };
  }

  #text({ type }: Value, { name, immediate }: Instruction, args: string[], tables: readonly Words[]): string {
    const [x, y, z] = args as [string, string, string];
    switch (name) {
      case 'constant':
        return type === 'mask' ? `${immediate !== 0}` : this.#constant(type, immediate);
      case 'number':
      case 'integer number':
        this.#types[`c${immediate}`] = TYPES[type] as 'f32' | 'i32';
        return `numbers.c${immediate}`;
      case 'copy':
        return x;
      case 'batch':
        return 'i32(b)';
      case 'head':
        return 'i32(h)';
      case 'queries':
        return 'i32(q)';
      case 'keys':
        return 'i32(k)';
      case 'read': {
        const word = this.#call('score_table_word', [this.#table(tables[immediate] as Words), x]);
        return type === 'float' ? `bitcast<f32>(${word})` : word;
      }
      case 'lookup':
        return `lookup_t${immediate}(${x})`;
      case 'select':
        return `select(${z}, ${y}, ${x})`;
      case 'not':
        return `${type === 'mask' ? '!' : '~'}${x}`;
      case 'negative':
      case 'integer negative':
        return `-${x}`;
      // Distances are taken modulo 32.
      case 'shiftLeft':
        return `${x} << (u32(${y}) & 31)`;
      case 'shiftRight':
        return `${x} >> (u32(${y}) & 31)`;
      case 'shiftRightUnsigned':
        return `i32(u32(${x}) >> (u32(${y}) & 31))`;
      default: {
        const elementary = ELEMENTARY[name];
        if (elementary) this.#functions.add(elementary);
        const called = elementary ?? CALLS[name];
        return called ? this.#call(called, args) : args.join(` ${INFIXES[name]} `);
      }
    }
  }

  #call(name: string, args: readonly string[]): string {
    const helper = Object.hasOwn(HELPERS, name) ? HELPERS[name] : undefined;
    if (helper) this.#helpers.add(name);
    for (const needed of helper?.functions ?? []) this.#functions.add(needed);
    return `${name}(${args.join(', ')})`;
  }

  /** Equal constants share one number. */
  #constant(type: 'float' | 'integer', bits: number): string {
    const value = type === 'float' ? (new Float32Array(Int32Array.of(bits).buffer)[0] as number) : bits;
    const key = `${type} ${bits}`;
    const name = this.#names.get(key) ?? this.#number(TYPES[type], value, bits);
    this.#names.set(key, name);
    return name;
  }

  /** The first word of a table among those of all, and its length. */
  #table(table: Words): string {
    let numbers = this.#tableNumbers.get(table);
    if (numbers === undefined) {
      const first = this.#tables.reduce((sum, { length }) => sum + length, 0);
      numbers = `${this.#number('u32', first)}, ${this.#number('u32', table.length)}`;
      this.#tables.push(table);
      this.#tableNumbers.set(table, numbers);
    }
    return numbers;
  }

  #number(type: 'u32' | 'i32' | 'f32', value: number, bits = value): string {
    const count = Object.keys(this.#types).length;
    // Infinities and NaN cannot be written as literals.
    if (count >= MOST_NUMBERS && Number.isFinite(value)) {
      return type === 'f32' ? `bitcast<f32>(${bits >>> 0}u)` : `${type}(${value})`;
    }
    const name = `score_${count}`;
    this.#types[name] = type;
    this.#numbers[name] = value;
    return `numbers.${name}`;
  }
}
