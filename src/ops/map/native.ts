/**
 * Functions of elements as machine code, with values in registers from load to store, of float32 and int32 tensors with long
 * rows. All else is the interpreter's (map.as.ts).
 */
import * as f from '../../code/functions';
import { type Integer, type Kernel, Rounding, type Vector } from '../../code/kernel';
import { NoRegister } from '../../code/registers';
import { LANES } from '../../expressions/params';
import { type Instruction, orderOf, type Value } from '../../expressions/typed';
import { address, CODE_SHARE, checkInside, ELEMENTS_PER_MICROSECOND, type NativePlan } from '../../runtime/cpu/plan';
import type { Native } from '../../runtime/native/open';
import { sizeOf } from '../../tensor/shape';
import { axesOf } from './broadcast';
import type { MapCall } from './call';
import type { Compiled } from './function';
import { RUN } from './params';

/** The least elements of a call, and of a row, for which code is made. */
const FEWEST = 1024;
const SHORT_ROW = 64;

/** What code depends on besides the function. */
interface Form {
  readonly outs: number;
  readonly numbers: number;
  readonly axes: number;
  /** Of each input from element to element of a row: 0 or 1. */
  readonly steps: readonly number[];
  /** Of each captured tensor: what an index outside finds. */
  readonly outside: readonly number[];
  readonly isOne: boolean;
}

export const planNative: NativePlan<MapCall> = (call, { native, memory }) => {
  const { compiled, numbers, tensors, items } = call;
  const all = items.map(({ inputs, outs }) => ({ inputs, outs, axes: axesOf(inputs, outs[0]?.shape ?? []) }));
  const sizes = items.map(({ outs: [out] }) => sizeOf(out?.shape ?? []));
  const elements = sizes.reduce((a, b) => a + b, 0);
  const [first] = all as [(typeof all)[0]];
  const steps = first.axes.at(-1)?.strides ?? [];
  const areAlike = all.every(
    ({ axes, inputs, outs }) =>
      axes.length === first.axes.length &&
      (axes.length === 1 || (axes.at(-1)?.extent as number) >= SHORT_ROW) &&
      axes.at(-1)?.strides.every((stride, at) => stride === steps[at]) &&
      [...inputs, ...outs].every(({ dtype }) => dtype === 'f32' || dtype === 'i32'),
  );
  const isCovered =
    areAlike && steps.every((step) => step === 0 || step === 1) && tensors.every(({ size }) => size > 0);
  if (elements < FEWEST || !isCovered) return undefined;
  const form: Form = {
    ...{ outs: first.outs.length, numbers: numbers.length, axes: first.axes.length, steps, isOne: items.length === 1 },
    outside: tensors.map(({ dtype }) => (dtype === 'f32' ? 0x7fc00000 : 0)),
  };
  const code = codeOf(native, compiled, form);
  if (code === undefined) return undefined;
  for (const x of [...tensors, ...items.flatMap(({ inputs, outs }) => [...inputs, ...outs])]) checkInside(x);
  const described: number[] = [];
  let tasks = 0;
  all.forEach(({ inputs, outs, axes }, at) => {
    tasks += Math.ceil((sizes[at] as number) / RUN);
    described.push(tasks, sizes[at] as number, axes.at(-1)?.extent as number, ...[...inputs, ...outs].map(address));
    for (const { extent, strides } of axes.slice(0, -1).reverse()) described.push(extent, ...strides);
  });
  return {
    bytes: form.isOne ? {} : { items: 8 * described.length },
    jobs({ items: at = 0 }) {
      const kinds = numberKinds(compiled);
      const params = [at, items.length, ...numbers.map((x, each) => wordIn(kinds.has(each) ? x | 0 : bitsOf(x)))];
      for (const x of tensors) params.push(address(x), wordIn(x.size));
      if (form.isOne) params.push(...described);
      else new Float64Array(memory.buffer, at, described.length).set(described);
      const microseconds = (CODE_SHARE * elements * Math.max(1, compiled.work)) / ELEMENTS_PER_MICROSECOND;
      return [{ phases: [{ kernel: 'map', tasks, code }], params, microseconds }];
    },
  };
};

/** A float64 whose lower half is a word. */
function wordIn(word: number): number {
  return new Float64Array(Int32Array.of(word, 0x3ff00000).buffer)[0] as number;
}

const bitsOf = (x: number) => new Int32Array(Float32Array.of(x).buffer)[0] as number;

/** Which numbers are integers. */
function numberKinds({ results }: Compiled): ReadonlySet<number> {
  const instructions = orderOf(...results).flatMap(({ instruction }) => instruction ?? []);
  return new Set(instructions.flatMap(({ name, immediate }) => (name === 'integer number' ? immediate : [])));
}

const known = new WeakMap<Compiled, Map<string, number | undefined>>();

/** The address of a function's code; undefined where it has what has no code, or too many values at once. */
function codeOf(native: Native, compiled: Compiled, form: Form): number | undefined {
  const codes = known.get(compiled) ?? new Map<string, number | undefined>();
  known.set(compiled, codes);
  const key = Object.values(form).join(';');
  if (codes.has(key) || native.isFull) return codes.get(key);
  let code: number | undefined;
  try {
    code = native.kernel(`map ${key} ${compiled.program}`, (k) => map(k, compiled, form));
  } catch (error) {
    if (!(error instanceof NoRegister || error instanceof NoCode)) throw error;
  }
  codes.set(key, code);
  return code;
}

/** Elements of one item: params are followed by numbers, captured tensors and the only item. */
function map(k: Kernel, { results }: Compiled, { outs, numbers, axes, steps, outside, isOne }: Form): void {
  const p = k.params({ items: 'usize', count: 'i32' });
  const given = k.behindParams();
  const item = given.plus(8 * (numbers + 2 * outside.length));
  const done = k.integer(0);
  const inputs = steps.length;
  const ofAxes = 3 + inputs + outs;
  if (!isOne) {
    item.set(p.items().plus(k.base));
    k.range('items', 0, p.count(), 1, () => {
      const past = k.whole(item.at());
      k.if(k.task, '>=', past, () => {
        done.set(past.copy());
        item.add(8 * (ofAxes + (axes - 1) * (1 + inputs)));
      });
    });
  }
  const row = k.whole(item.at(16));
  const first = k.task.minus(done).times(RUN);
  const past = first.plus(RUN).least(k.whole(item.at(8)));
  const outer = new Values(k, given, numbers, outside);
  for (const value of orderOf(...results)) if (!(value.dimensions & LANES)) outer.value(value);
  const piece = k.integer(0);
  k.range('pieces', first, past, piece, (at) => {
    const addresses = Array.from({ length: inputs + outs }, (_, each) => k.whole(item.at(8 * (3 + each))).plus(k.base));
    for (const each of addresses.slice(inputs)) each.add(at.times(4));
    piece.set(past.minus(at));
    const inRow = at.copy();
    if (axes > 1) {
      inRow.set(at.remainder(row));
      piece.set(row.minus(inRow).least(piece));
      const rest = at.over(row);
      for (let axis = 0; axis < axes - 1; axis++) {
        const place = 8 * (ofAxes + axis * (1 + inputs));
        const extent = k.whole(item.at(place));
        const index = rest.remainder(extent).times(4);
        for (let each = 0; each < inputs; each++)
          addresses[each]?.add(index.times(k.whole(item.at(place + 8 * (1 + each)))));
        rest.set(rest.over(extent));
      }
    }
    steps.forEach((step, each) => {
      if (step === 1) addresses[each]?.add(inRow.times(4));
    });
    const some = (index: Integer, count?: Integer) => {
      const values = outer.of((each) => {
        const first = addresses[each] as Integer;
        return steps[each] === 1 ? k.load(first.at(0, index, 4), count) : k.splat(first.at());
      });
      const found = results.map((value) => values.value(value));
      for (const [each, x] of found.entries()) x.store((addresses[inputs + each] as Integer).at(0, index, 4), count);
    };
    k.range('elements', 0, piece.minus(k.lanes - 1), k.lanes, (index) => some(index));
    const rest = piece.remainder(k.integer(k.lanes));
    k.if(rest, '>', 0, () => some(piece.minus(rest), rest));
  });
}

/** A function that has no machine code. */
class NoCode extends Error {}

/** The values of a function: those that depend on no element once, the others for each vector. */
class Values {
  readonly #known = new Map<Value, Vector>();

  constructor(
    private readonly k: Kernel,
    private readonly given: Integer,
    private readonly numbers: number,
    private readonly outside: readonly number[],
    private readonly outer?: Values,
    private readonly input?: (at: number) => Vector,
  ) {}

  of(input: (at: number) => Vector): Values {
    return new Values(this.k, this.given, this.numbers, this.outside, this, input);
  }

  value(value: Value): Vector {
    const { instruction, place = 0 } = value;
    // From memory where they are used, which takes no register.
    if (instruction && /^(constant|number|integer number)$/.test(instruction.name)) return this.#constant(instruction);
    let found = (this.outer ?? this).#known.get(value) ?? this.#known.get(value);
    if (!found) {
      found = instruction ? this.#compute(instruction) : (this.input as (at: number) => Vector)(place);
      this.#known.set(value, found);
    }
    return found;
  }

  #constant({ name, immediate }: Instruction): Vector {
    return name === 'constant' ? this.k.bits(immediate) : this.k.splat(this.given.at(8 * immediate));
  }

  #compute({ name, args, immediate }: Instruction): Vector {
    const { k } = this;
    if (name === 'select') {
      const [{ instruction: condition }, yes, no] = args as [Value, Value, Value];
      const test = TESTS[condition?.name as keyof typeof TESTS];
      if (condition && test) {
        const [a, b] = condition.args.map((each) => this.value(each)) as [Vector, Vector];
        return k.select(a, test, b, this.value(yes), this.value(no));
      }
    }
    const [x, y, z] = args.map((each) => this.value(each)) as [Vector, Vector, Vector];
    if (name === 'lookup') return this.#lookup(immediate, x);
    const compute = OPERATIONS[name];
    if (!compute) throw new NoCode(name);
    return compute(k, x, y, z);
  }

  #lookup(tensor: number, index: Vector): Vector {
    const { k, given, numbers, outside } = this;
    const place = 8 * (numbers + 2 * tensor);
    const isInside = k.maskOfWords(k.splat(given.at(place + 8)), '>', index).and(k.maskOfWords(index, '>', k.bits(-1)));
    const found = k.gather(k.whole(given.at(place)).plus(k.base), index.and(isInside));
    return k.pick(isInside, found, k.bits(outside[tensor] as number));
  }
}

const TESTS = { less: '<', lessOrEqual: '<=', equal: '==' } as const;

const not = (k: Kernel, x: Vector) => x.xor(k.bits(-1));
/** Shifts go by the lowest five bits of what they are by. */
const few = (k: Kernel, y: Vector) => y.and(k.bits(31));

const OPERATIONS: Readonly<Record<string, (k: Kernel, x: Vector, y: Vector, z: Vector) => Vector>> = {
  copy: (_, x) => x,
  toFloat: (_, x) => x.toFloat(),
  toInteger: f.toWord,
  select: (k, x, y, z) => k.pick(x, y, z),
  not,
  and: (_, x, y) => x.and(y),
  or: (_, x, y) => x.or(y),
  xor: (_, x, y) => x.xor(y),
  add: (_, x, y) => x.plus(y),
  subtract: (_, x, y) => x.minus(y),
  multiply: (_, x, y) => x.times(y),
  divide: (_, x, y) => x.over(y),
  min: f.least,
  max: f.most,
  less: (k, x, y) => k.mask(x, '<', y),
  lessOrEqual: (k, x, y) => k.mask(x, '<=', y),
  equal: (k, x, y) => k.mask(x, '==', y),
  negative: (k, x) => x.xor(k.bits(-(2 ** 31))),
  abs: (k, x) => x.and(k.bits(2 ** 31 - 1)),
  sign: f.signOf,
  floor: (_, x) => x.round(Rounding.Down),
  ceil: (_, x) => x.round(Rounding.Up),
  trunc: (_, x) => x.round(Rounding.ToZero),
  round: f.roundUp,
  sqrt: (_, x) => x.root(),
  rsqrt: (k, x) => k.number(1).over(x.root()),
  exp: f.exp,
  expm1: f.expm1,
  log: f.log,
  log1p: f.log1p,
  tanh: f.tanh,
  sigmoid: f.sigmoid,
  sigmoidSlope: f.sigmoidSlope,
  softplus: f.softplus,
  erf: f.erf,
  normalCdf: f.normalCdf,
  'integer add': (_, x, y) => x.plusWords(y),
  'integer subtract': (_, x, y) => x.minusWords(y),
  'integer multiply': (_, x, y) => x.timesWords(y),
  'integer min': (_, x, y) => x.smallerWords(y),
  'integer max': (_, x, y) => x.largerWords(y),
  'integer less': (k, x, y) => k.maskOfWords(y, '>', x),
  'integer lessOrEqual': (k, x, y) => not(k, k.maskOfWords(x, '>', y)),
  'integer equal': (k, x, y) => k.maskOfWords(x, '==', y),
  'integer negative': (k, x) => k.bits(0).minusWords(x),
  'integer abs': (k, x) => x.largerWords(k.bits(0).minusWords(x)),
  'integer sign': (k, x) => k.maskOfWords(k.bits(0), '>', x).minusWords(k.maskOfWords(x, '>', k.bits(0))),
  shiftLeft: (k, x, y) => x.shiftLeft(few(k, y)),
  shiftRight: (k, x, y) => x.shiftRight(few(k, y)),
  shiftRightUnsigned: (k, x, y) => x.shiftRightUnsigned(few(k, y)),
};
