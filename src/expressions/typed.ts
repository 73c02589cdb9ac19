/**
 * Expressions as typed values: in float32, and in int32 where they are integers throughout. Every backend's code for
 * score modifiers and maps follows from these.
 *
 * Ranges say which those are, so that indices, distances and bits are exact as long as they fit in 32 bits. A quotient
 * of integers that is rounded immediately stays exact too. Everything else is rounded to float32 after each operation.
 */
import { getOrMake } from '../bounded-map';
import { ParameterError } from '../errors';
import type { Extent } from '../masks/mask';
import { constantOf, type Expression, type InputName, type Table } from './expression';
import type { Operation } from './operations';
import { LANES, ROWS } from './params';
import { anyScore, type Box, integers, isInt32, type Range, rangesOfSteps } from './ranges';
import { type Step, stepsOfAll } from './steps';

/** The type of a value in the kernels: true in a mask is all ones. */
type Type = 'float' | 'integer' | 'mask';

export interface Instruction {
  readonly name: string;
  readonly args: readonly Value[];
  readonly immediate: number;
}

/** A result that is not in a register yet or, without an instruction, the score or elements of a tensor. */
export interface Value {
  readonly type: Type;
  readonly dimensions: number;
  readonly instruction?: Instruction;
  /** Which of the tensors; default 0. */
  readonly place?: number;
}

/** The inputs of expressions: their ranges and values. */
export interface Inputs {
  readonly box: Box;
  valueOf(name: InputName): Value;
  /** The names of captured tensors in the function. */
  readonly tensors?: readonly string[];
  /** Whether results beyond 32 bits wrap around, as long as their operands are integers of 32 bits. */
  readonly wraps?: boolean;
}

/**
 * A score's expression for problems of that extent, and the tables that its `read`s number. Its result is float32, or
 * int32 for an expression that is an index. Throws a ParameterError, with `name` for the score and `tensors` for captured
 * tensors, for what is not possible: integers that may leave 32 bits, or that float32 would round, where they must
 * be exact.
 */
export function typedValue(
  name: string,
  expression: Expression,
  extent: Extent,
  results: 'float' | 'integer' = 'float',
  tensors: readonly string[] = [],
): { readonly value: Value; readonly tables: readonly (Float32Array | Int32Array)[] } {
  const compiler = new Compiler(`score "${name}"`, [expression], { ...pairInputs(extent), tensors });
  return { value: compiler.result(0, results), tables: compiler.tables };
}

/**
 * Number expressions of any inputs: a value for each of that type or, if none is given, int32 if it is integers
 * throughout. In int32, fractions are dropped.
 */
export function typedValues(
  subject: string,
  expressions: readonly Expression[],
  inputs: Inputs,
  type?: 'float' | 'integer',
): readonly Value[] {
  const compiler = new Compiler(subject, expressions, inputs);
  return expressions.map((_, at) => compiler.resultAs(at, type));
}

function pairInputs({ b, h, n, m }: Extent): Inputs {
  return {
    box: {
      score: anyScore,
      b: integers(0, Math.max(0, b - 1)),
      h: integers(0, Math.max(0, h - 1)),
      q: integers(0, Math.max(0, n - 1)),
      k: integers(0, Math.max(0, m - 1)),
      n: integers(n, n),
      m: integers(m, m),
    },
    valueOf(name) {
      if (name === 'score') return { type: 'float', dimensions: LANES | ROWS };
      if (name[0] === 't') return { type: 'float', dimensions: 0, place: Number(name.slice(1)) };
      if (name[0] === 'c') return emit('number', 'float', [], Number(name.slice(1)));
      // Not shared with an equal captured number, so that all extents have the same structure.
      if (name === 'n') return emit('constant', 'integer', [], n);
      if (name === 'm') return emit('constant', 'integer', [], m);
      if (name === 'q') return emit('queries', 'integer', [], 0, LANES);
      if (name === 'k') return emit('keys', 'integer', [], 0, ROWS);
      return emit(name === 'b' ? 'batch' : 'head', 'integer', []);
    },
  };
}

/** A table as the kernels read it; without integers if some element is not one. */
class Stored {
  #float?: Float32Array;
  #integer: Int32Array | undefined | null = null;

  constructor(readonly values: Table['values']) {}

  get float(): Float32Array {
    this.#float ??= this.values instanceof Float32Array ? this.values : new Float32Array(this.values);
    return this.#float;
  }

  get integer(): Int32Array | undefined {
    if (this.#integer === null) {
      const whole = this.values.every((value) => Object.is(value | 0, value));
      this.#integer = whole ? new Int32Array(this.values) : undefined;
    }
    return this.#integer;
  }
}

const storedTables = new WeakMap<Table, Stored>();

const storedTable = (table: Table): Stored => getOrMake(storedTables, table, () => new Stored(table.values));

/** Instructions on words. */
const OF_BITS: Partial<Record<Operation, string>> = { bitNot: 'not', bitAnd: 'and', bitOr: 'or', bitXor: 'xor' };

/** Powers up to this exponent are products. */
const MOST_TIMES = 64;

type Input = Extract<Expression, { readonly name: InputName }>;

class Compiler {
  readonly tables: (Float32Array | Int32Array)[] = [];
  readonly #numbers = new Map<Table, { number: number; type: Type }>();
  readonly #steps: readonly Step[];
  readonly #roots: readonly number[];
  readonly #ranges: readonly Range[];
  readonly #values = new Map<number, Value>();
  readonly #converted = new Map<Value, Value>();
  readonly #constants = new Map<string, Value>();

  /** All messages begin with `subject`. */
  constructor(
    readonly subject: string,
    expressions: readonly Expression[],
    readonly inputs: Inputs,
  ) {
    const { steps, roots } = stepsOfAll(expressions);
    this.#steps = steps;
    this.#roots = roots;
    this.#ranges = rangesOfSteps(steps, inputs.box, inputs.wraps);
  }

  result(at: number, type: 'float' | 'integer'): Value {
    const root = this.#roots[at] as number;
    return type === 'float' ? this.#float(this.#value(root)) : this.#index(root, 'the result');
  }

  resultAs(at: number, type?: 'float' | 'integer'): Value {
    const value = this.#value(this.#roots[at] as number);
    if (type === undefined || type === value.type) return value;
    return type === 'float' ? this.#float(value) : this.#convert('toInteger', 'integer', value);
  }

  #value(at: number): Value {
    return getOrMake(this.#values, at, () => this.#compile(at));
  }

  #compile(at: number): Value {
    const { node, args } = this.#steps[at] as Step;
    if ('value' in node) return node.kind === 'boolean' ? this.#mask(node.value) : this.#number(node.value);
    if ('name' in node) return this.inputs.valueOf(node.name);
    if ('table' in node) return this.#read(node.table, args[0] as number);
    const values = () => args.map((arg) => this.#value(arg));
    const range = this.#ranges[at] as Range;
    switch (node.operation) {
      case 'lookup':
        return this.#lookup((this.#steps[args[0] as number] as Step).node as Input, args[1] as number);
      case 'not':
      case 'and':
      case 'or':
        return emit(node.operation, 'mask', values());
      case 'select':
        return this.#select(values() as [Value, Value, Value]);
      case 'less':
      case 'lessOrEqual':
        return this.#compare(node.operation, values());
      case 'equal':
        if (values().some(({ type }) => type !== 'integer')) this.#checkExact('===', args);
        return this.#compare(node.operation, values());
      case 'floor':
      case 'ceil':
      case 'trunc':
        return this.#round(node.operation, args[0] as number, range);
      case 'round': {
        const [x] = values() as [Value];
        return x.type === 'integer' ? x : emit('round', 'float', [x]);
      }
      case 'remainder':
        if (this.#isQuotient(args) && isInt32(range)) return emit('integer remainder', 'integer', values());
        this.#checkExact('%', args);
        return this.#floats('remainder', values());
      case 'power':
        return this.#power(args[0] as number, args[1] as number, range);
      case 'bitAnd':
      case 'bitOr':
      case 'bitXor':
      case 'bitNot':
      case 'shiftLeft':
      case 'shiftRight':
        return this.#bits(node.operation, args);
      case 'shiftRightUnsigned':
        if (!isInt32(range)) throw this.#refusal("the result of '>>>' may leave 32 bits", 'shift by at least 1');
        return this.#bits(node.operation, args);
      case 'add':
      case 'subtract':
      case 'multiply':
      case 'min':
      case 'max':
      case 'negative':
      case 'abs':
      case 'sign': {
        const operands = values();
        const whole = isInt32(range) && operands.every(({ type }) => type === 'integer');
        return whole ? emit(`integer ${node.operation}`, 'integer', operands) : this.#floats(node.operation, operands);
      }
      default:
        return this.#floats(node.operation, values());
    }
  }

  #read(table: Table, index: number): Value {
    const at = constantOf((this.#steps[index] as Step).node);
    if (at !== undefined) return this.#number(table.values[at] ?? Number.NaN);
    const place = this.#index(index, `the index of '${table.name}'`);
    const { low, high } = this.#ranges[index] as Range;
    const { number, type } = this.#tableOf(table, low >= 0 && high < table.values.length);
    return emit('read', type, [place], number);
  }

  #lookup({ name }: Input, index: number): Value {
    const { type, place = 0 } = this.inputs.valueOf(name);
    return emit('lookup', type, [this.#index(index, `the index of '${this.inputs.tensors?.[place]}'`)], place);
  }

  /** Integers are kept if no index can be outside, where the kernels read NaN. */
  #tableOf(table: Table, inside: boolean): { number: number; type: Type } {
    const found = this.#numbers.get(table);
    if (found && (inside || found.type === 'float')) return found;
    const stored = storedTable(table);
    const integer = inside ? stored.integer : undefined;
    const number = this.tables.push(integer ?? stored.float) - 1;
    const entry = { number, type: integer ? 'integer' : 'float' } as const;
    this.#numbers.set(table, entry);
    return entry;
  }

  /** An integer; NaN would become 0. */
  #index(at: number, what: string): Value {
    const { whole, nan } = this.#ranges[at] as Range;
    if (!whole || nan) throw this.#refusal(`${what} may be no integer`, "round it, e.g. with 'Math.floor'");
    return this.#int32(at, what);
  }

  #select([condition, x, y]: [Value, Value, Value]): Value {
    if (x.type === y.type) return emit('select', x.type, [condition, x, y]);
    return emit('select', 'float', [condition, this.#float(x), this.#float(y)]);
  }

  #compare(operation: string, values: readonly Value[]): Value {
    if (values.every(({ type }) => type === 'integer')) return emit(`integer ${operation}`, 'mask', values);
    return { ...this.#floats(operation, values), type: 'mask' };
  }

  #round(operation: 'floor' | 'ceil' | 'trunc', at: number, range: Range): Value {
    const { node, args } = this.#steps[at] as Step;
    if (node.operation === 'divide' && this.#isQuotient(args) && isInt32(range)) {
      const operands = args.map((arg) => this.#value(arg));
      return emit(`divide ${operation}`, 'integer', operands);
    }
    if (node.operation === 'divide') this.#checkExact('/', args);
    const x = this.#value(at);
    return x.type === 'integer' ? x : emit(operation, 'float', [x]);
  }

  /** Whether two steps are integers and the second is never 0. */
  #isQuotient(args: readonly number[]): boolean {
    const { low, high } = this.#ranges[args[1] as number] as Range;
    return (low > 0 || high < 0) && args.every((arg) => this.#value(arg).type === 'integer');
  }

  #power(base: number, exponent: number, range: Range): Value {
    const times = constantOf((this.#steps[exponent] as Step).node);
    const x = this.#value(base);
    if (!(Number.isInteger(times) && (times as number) > 0 && (times as number) <= MOST_TIMES))
      return this.#floats('power', [x, this.#value(exponent)]);
    const type = x.type === 'integer' && isInt32(range) ? 'integer' : 'float';
    const name = type === 'integer' ? 'integer multiply' : 'multiply';
    // By squaring.
    let square = type === 'integer' ? x : this.#float(x);
    let power: Value | undefined;
    for (let rest = times as number; rest > 0; rest >>= 1) {
      if (rest & 1) power = power ? emit(name, type, [square, power]) : square;
      if (rest > 1) square = emit(name, type, [square, square]);
    }
    return power as Value;
  }

  #bits(operation: Operation, args: readonly number[]): Value {
    const [x, y] = args.map((arg) => this.#int32(arg, 'the operand of a bit operation')) as [Value, Value];
    // The usual way to drop a fraction.
    if (operation === 'bitOr' && constantOf((this.#steps[args[1] as number] as Step).node) === 0) return x;
    return emit(OF_BITS[operation] ?? operation, 'integer', operation === 'bitNot' ? [x] : [x, y]);
  }

  /** A number with its fraction dropped, as bit operations take it; NaN becomes 0. */
  #int32(at: number, what: string): Value {
    const range = this.#ranges[at] as Range;
    const { node, args } = this.#steps[at] as Step;
    // The 32 bits of a number beyond the bounds count, as they are.
    if (node.operation === 'shiftRightUnsigned' && !isInt32(range)) return this.#bits(node.operation, args);
    const bounds = integers(-(2 ** 31), 2 ** 31 - 1);
    if (!(range.low >= bounds.low && range.high <= bounds.high)) {
      throw this.#refusal(`${what} may leave 32 bits`, 'bound it with Math.min and Math.max');
    }
    if (node.operation === 'divide') {
      if (this.#isQuotient(args)) return this.#round('trunc', at, { ...range, whole: true });
      this.#checkExact('/', args);
    }
    const value = this.#value(at);
    return value.type === 'integer' ? value : this.#convert('toInteger', 'integer', value);
  }

  /**
   * Refuses integers that float32 may round if the result would be completely different. What depends on the score is
   * rounded anyway.
   */
  #checkExact(operator: string, args: readonly number[]): void {
    for (const arg of args) {
      const { whole, low, high } = this.#ranges[arg] as Range;
      const size = Math.max(-low, high);
      const isExact = size <= 2 ** 24 || (low === high && Math.fround(low) === low);
      if (!whole || isExact || !Number.isFinite(size) || isRounded(this.#steps[arg] as Step)) continue;
      throw this.#refusal(
        `an operand of '${operator}' may be an integer that float32 rounds`,
        'keep it within 2 ** 24',
      );
    }
  }

  #floats(operation: string, values: readonly Value[]): Value {
    const operands = values.map((value) => this.#float(value));
    return emit(operation, 'float', operands);
  }

  #float(value: Value): Value {
    if (value.type === 'float') return value;
    const constant = value.instruction?.name === 'constant' ? value.instruction : undefined;
    return constant ? this.#constant('float', constant.immediate) : this.#convert('toFloat', 'float', value);
  }

  #convert(name: string, type: Type, value: Value): Value {
    return getOrMake(this.#converted, value, () => emit(name, type, [value]));
  }

  #number(value: number): Value {
    return this.#constant(Object.is(value | 0, value) ? 'integer' : 'float', value);
  }

  #mask(value: number): Value {
    return this.#constant('mask', -value);
  }

  #constant(type: Type, value: number): Value {
    const immediate = type === 'float' ? (new Int32Array(Float32Array.of(value).buffer)[0] as number) : value | 0;
    return getOrMake(this.#constants, `${type} ${immediate}`, () => emit('constant', type, [], immediate));
  }

  #refusal(what: string, remedy: string): ParameterError {
    return new ParameterError(`${this.subject}: ${what}: ${remedy}`);
  }
}

/** Whether it depends on float32 numbers: the score, or elements, numbers and tensors of a map. */
const isRounded = ({ inputs }: Step) => [...inputs].some((name) => name === 'score' || /^[xct]\d/.test(name));

export function emit(name: string, type: Type, args: readonly Value[], immediate = 0, own = 0): Value {
  const dimensions = args.reduce((all, arg) => all | (arg.dimensions & (LANES | ROWS)), own);
  return { type, dimensions, instruction: { name, args, immediate } };
}

/** Every value after its operands; the last is that of one of the results. */
export function orderOf(...results: readonly Value[]): readonly Value[] {
  const order = new Set<Value>();
  const visit = (value: Value) => {
    if (!value.instruction || order.has(value)) return;
    value.instruction.args.forEach(visit);
    order.add(value);
  };
  results.forEach(visit);
  return [...order];
}
