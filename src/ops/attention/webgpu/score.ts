/**
 * Score modifiers in WGSL.
 *
 * `scoreCode` gives what a kernel with a modifier needs. A kernel puts `shader` into its variant (equal shaders are equal
 * pipelines: captured numbers and extents are numbers of the dispatch and no part of it), and in its body calls
 *
 *   modified(score, b, h, q, k)         the new score, of a scaled score, its batch, query head, query and key (u32)
 *   modified_slope(score, b, h, q, k)   d new score / d score: for 'gradients' and 'tables'
 *   table_index0(..), table_factor0(..) for 'tables', and so on for each of `shader.places`: an element of a captured
 *                                       table that the new score changes with (i32; outside of it there is none), and how
 *
 *   const code = scoreCode(call.score, extent, 'gradients');
 *   const kernel = kernelFor({ .., score: code.shader });   // { operands: { .., ...score.operands },
 *                                                           //   numbers: { .., ...score.numbers },
 *                                                           //   body: functions(..., ...score.functions) + score.text + .. }
 *   dispatch: { kernel, operands: { .., ...scoreOperands(code, workspace) }, numbers: { .., ...code.numbers }, .. }
 *
 * Without a modifier the new score is the score. Values are f32, or i32 where they are integers throughout
 * (expressions/typed.ts); what is rounded is rounded after each operation. Bits, remainders, comparisons, zeros, infinities
 * and NaN are JavaScript's. All captured tables are one operand of 32-bit words.
 */

import { BoundedMap } from '../../../bounded-map';
import { type Instruction, orderOf, typedValue, type Value } from '../../../expressions/typed';
import type { Extent } from '../../../masks/mask';
import type { Kernel, OperandSpec, Region } from '../../../runtime/webgpu/kernel';
import type { functions } from '../../../runtime/webgpu/kernels/functions';
import type { Workspace } from '../../../runtime/webgpu/queue';
import { type Score, tablesOf } from '../../../scores/score';
import { POWER, POWER_NEEDS, REMAINDER } from '../../elementwise/power.wgsl';

type FunctionName = Parameters<typeof functions>[number];

/** What a pipeline depends on; plain data. */
export interface ScoreShader {
  /** Whether there is a modifier. */
  readonly modifies: boolean;
  /** From functions.ts. */
  readonly functions: readonly FunctionName[];
  readonly text: string;
  readonly operands: Readonly<Record<string, OperandSpec>>;
  readonly numbers: NonNullable<Kernel['numbers']>;
  /** How many places read captured tables. */
  readonly places: number;
}

/** A modifier for one problem. */
export interface ScoreCode {
  readonly shader: ScoreShader;
  readonly numbers: Readonly<Record<string, number>>;
  /** Of each place, where its table lies among the elements of all tables that change the score. */
  readonly places: readonly { readonly first: number; readonly length: number }[];
  readonly tables: readonly Words[];
  readonly owner: object;
}

type Words = Float32Array | Int32Array;
type Purpose = 'scores' | 'gradients' | 'tables';

const PLAIN: ScoreShader = {
  modifies: false,
  functions: [],
  text: `
fn modified(score: f32, b: u32, h: u32, q: u32, k: u32) -> f32 { return score; }
fn modified_slope(score: f32, b: u32, h: u32, q: u32, k: u32) -> f32 { return 1.0; }`,
  operands: {},
  numbers: {},
  places: 0,
};
const NO_SCORE: ScoreCode = { shader: PLAIN, numbers: {}, places: [], tables: [], owner: PLAIN };

/** Problems for which the code of a modifier is kept. */
const KEPT = 16;
const known = new WeakMap<Score, BoundedMap<string, ScoreCode>>();

/** The code of a modifier for problems of that extent; a ParameterError for what 32 bits cannot hold. */
export function scoreCode(score: Score | undefined, extent: Extent, purpose: Purpose): ScoreCode {
  if (!score) return NO_SCORE;
  const codes = known.get(score) ?? new BoundedMap<string, ScoreCode>(KEPT);
  known.set(score, codes);
  const { b, h, n, m } = extent;
  return codes.get([b, h, n, m, purpose].join(), () => write(score, extent, purpose));
}

/** The operands of its shader. */
export function scoreOperands({ tables, owner }: ScoreCode, workspace: Workspace): Record<string, Region> {
  if (tables.length === 0) return {};
  return { score_tables: workspace.keep(owner, tables.map(nameOf).join(), () => joined(tables)) };
}

function write(score: Score, extent: Extent, purpose: Purpose): ScoreCode {
  const writer = new Writer();
  const add = (name: string, expression: Score['expression'], results?: 'integer') => {
    const { value, tables } = typedValue(score.name, expression, extent, results);
    writer.add(name, value, tables);
  };
  add('modified', score.expression);
  if (purpose !== 'scores') add('modified_slope', score.derivative);
  const places = purpose === 'tables' ? score.tables : [];
  places.forEach(({ index, factor }, at) => {
    add(`table_index${at}`, index, 'integer');
    add(`table_factor${at}`, factor);
  });
  const all = tablesOf(score);
  return {
    ...writer.code(places.length),
    places: places.map(({ table }) => ({
      first: all.slice(0, all.indexOf(table)).reduce((sum, { values }) => sum + values.length, 0),
      length: table.values.length,
    })),
    tables: writer.tables,
    owner: score,
  };
}

/** Names that tell tables apart. */
const names = new WeakMap<Words, string>();
let named = 0;

function nameOf(table: Words): string {
  const name = names.get(table) ?? `${named++}`;
  names.set(table, name);
  return name;
}

function joined(tables: readonly Words[]): Int32Array {
  const parts = tables.map((table) => new Int32Array(table.buffer, table.byteOffset, table.length));
  // One alone may be large, and is copied to the device as it is.
  if (parts.length === 1) return parts[0] as Int32Array;
  const words = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let first = 0;
  for (const part of parts) {
    words.set(part, first);
    first += part.length;
  }
  return words;
}

/** Numbers of a dispatch at most; further ones are written into the text. */
const MOST_NUMBERS = 40;

/** A function that expressions call; its name and those of what it is made of begin with `score_`, as no kernel's do. */
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
  // Of equal numbers only zeros differ in their bits.
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
  // Halves go up, and what lies between them and 0 keeps its sign.
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
class Writer {
  readonly tables: Words[] = [];
  readonly #types: Record<string, 'u32' | 'i32' | 'f32'> = {};
  readonly #numbers: Record<string, number> = {};
  readonly #names = new Map<string, string>();
  readonly #tableNumbers = new Map<Words, string>();
  readonly #functions = new Set<FunctionName>();
  readonly #helpers = new Set<string>();
  readonly #texts: string[] = [];

  /** A function of that name for a value whose reads number `tables`. */
  add(name: string, result: Value, tables: readonly Words[]): void {
    const texts = new Map<Value, string>();
    const lines: string[] = [];
    const textOf = (value: Value) => (value.instruction ? (texts.get(value) as string) : 'score');
    for (const value of orderOf(result)) {
      const instruction = value.instruction as Instruction;
      const text = this.#text(value, instruction, instruction.args.map(textOf), tables);
      // Numbers are named already.
      if (instruction.args.length === 0) texts.set(value, text);
      else {
        texts.set(value, `v${lines.length}`);
        lines.push(`  let v${lines.length} = ${text};`);
      }
    }
    this.#texts.push(
      `fn ${name}(score: f32, b: u32, h: u32, q: u32, k: u32) -> ${TYPES[result.type]} {`,
      ...lines,
      `  return ${textOf(result)};`,
      '}',
    );
  }

  code(places: number): Pick<ScoreCode, 'shader' | 'numbers'> {
    const helpers = [...this.#helpers].map((name) => (HELPERS[name] as Helper).text.trim());
    return {
      shader: {
        modifies: true,
        functions: [...this.#functions],
        text: [...helpers, ...this.#texts].join('\n'),
        operands: this.tables.length > 0 ? { score_tables: { access: 'read' } } : {},
        numbers: this.#types,
        places,
      },
      numbers: this.#numbers,
    };
  }

  #text({ type }: Value, { name, immediate }: Instruction, args: string[], tables: readonly Words[]): string {
    const [x, y, z] = args as [string, string, string];
    switch (name) {
      case 'constant':
        return type === 'mask' ? `${immediate !== 0}` : this.#constant(type, immediate);
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
      case 'select':
        return `select(${z}, ${y}, ${x})`;
      case 'not':
        return `${type === 'mask' ? '!' : '~'}${x}`;
      case 'negative':
      case 'integer negative':
        return `-${x}`;
      // The low five bits of a distance count.
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

  /** Equal constants are one number. */
  #constant(type: 'float' | 'integer', bits: number): string {
    const value = type === 'float' ? (new Float32Array(Int32Array.of(bits).buffer)[0] as number) : bits;
    const key = `${type} ${bits}`;
    const name = this.#names.get(key) ?? this.#number(TYPES[type], value, bits);
    this.#names.set(key, name);
    return name;
  }

  /** Where a table begins among the words of all, and its length. */
  #table(table: Words): string {
    let numbers = this.#tableNumbers.get(table);
    if (numbers === undefined) {
      const first = this.tables.reduce((sum, { length }) => sum + length, 0);
      numbers = `${this.#number('u32', first)}, ${this.#number('u32', table.length)}`;
      this.tables.push(table);
      this.#tableNumbers.set(table, numbers);
    }
    return numbers;
  }

  #number(type: 'u32' | 'i32' | 'f32', value: number, bits = value): string {
    const count = Object.keys(this.#types).length;
    // Infinities and NaN cannot be written.
    if (count >= MOST_NUMBERS && Number.isFinite(value)) {
      return type === 'f32' ? `bitcast<f32>(${bits >>> 0}u)` : `${type}(${value})`;
    }
    const name = `score_${count}`;
    this.#types[name] = type;
    this.#numbers[name] = value;
    return `numbers.${name}`;
  }
}
