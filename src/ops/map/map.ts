/** Functions of elements, written as ordinary ones. */
import { isRecord, pathName, show } from '../../check';
import { DTypeError, ParameterError } from '../../errors';
import { Forms, messageName } from '../../expressions/forms';
import { type Captured, type CapturedValues, type Parsed, parseAll, sourceOf } from '../../expressions/parse';
import type { Words } from '../../expressions/words';
import type { Control } from '../../runtime/backend';
import type { DType } from '../../tensor/dtype';
import { Tensor } from '../../tensor/tensor';
import { checkControl, checkOptions, checkTensors, commonRuntime } from '../check';
import { checkContiguous } from '../float32';
import { mapItems } from './core';
import { Elementwise, ElementwiseFunction } from './function';
import { MOST_OPERANDS } from './params.generated';

type Argument = Tensor | readonly Tensor[];
type Elements<T extends readonly Argument[]> = { readonly [At in keyof T]: number };
type Value = number | boolean;
/** What a function may return: a number, or several in an array or object literal. */
type Returned = Value | readonly Value[] | Readonly<Record<string, Value>>;

/** A tensor, or where some argument is a list, a list of them. */
type ResultOf<T extends readonly Argument[]> = Extract<T[number], readonly Tensor[]> extends never ? Tensor : Tensor[];
/**
 * What `map` returns: a tensor for a number, for several an array or object of them; lists where an argument is one.
 */
export type MapResult<R extends Returned, T extends readonly Argument[]> = R extends Value
  ? ResultOf<T>
  : { -readonly [Name in keyof R]: ResultOf<T> };

export interface MapOptions<C extends Captured = Captured, Out = unknown> extends Control {
  /** What else the function uses: numbers, booleans and tensors, or objects of these. */
  readonly captured?: C | undefined;
  /** The element type of the results; default: that of the tensors, if they have one in common. */
  readonly dtype?: 'f32' | 'f16' | 'bf16' | 'i32' | undefined;
  /** Where to write, in the form of the results; each a contiguous tensor, which may be one of the inputs itself. */
  readonly out?: Out | undefined;
}

/**
 * `fn` of the elements of tensors that broadcast to one shape, such as `map((x, y) => Math.max(x, 0.1 * y), x, y)`; f32, f16,
 * bf16 or i32, any strides.
 *
 * The function is compiled from its source, once, and never called; so it is one expression (or declarations, `if`s and
 * `return`) of its parameters and `Math`. What else it uses is `captured`, its last parameter, such as
 * `map((x, g, { rate }) => x - rate * g, x, g, { captured: { rate } })`: another number compiles nothing again. There it also
 * finds the words `relu`, `gelu`, `silu`, `sigmoid`, `softplus`, `erf`, `rsqrt`, `elu`, `eluPlusOne` and `step`, such as
 * `map((x, { gelu }) => gelu(x), x)`. It may return an array or object literal, and so does `map`.
 *
 * Captured tensors are read by index where they are, such as `map((i, { table }) => table[i], x, { captured: { table } })`: f32 or
 * i32, contiguous, taken as one row whatever their shape, which is there too, such as `table.shape[0]`. An index is an integer, as
 * `Math.floor(x) | 0` is within 32 bits; outside a tensor it reads NaN, of integers 0.
 *
 * An argument may be a list of tensors: one call computes all, results are lists, and what is not in a list serves each.
 *
 * Floats are computed in f32. Of integers alone sums, products and bits are integers, which wrap around at 32 bits; all else is
 * f32. Of tensors of different dtypes `dtype` says what results are to be; of i32 ones fractions are dropped. Booleans are 0 and 1.
 *
 * @throws {ParameterError} what cannot be compiled, named with its place; lists of different lengths; an `out` that overlaps inputs otherwise than exactly
 * @throws {ShapeError} shapes that do not broadcast; a captured tensor that is not contiguous
 * @throws {DTypeError} tensors of different dtypes without `dtype`; a captured tensor that is neither f32 nor i32
 */
export function map<const T extends readonly Argument[], const R extends Returned>(
  fn: (...args: [...Elements<T>, words: Words]) => R,
  ...tensors: T
): MapResult<R, T>;
export function map<const T extends readonly Argument[], const R extends Returned, C extends Captured>(
  fn: (...args: [...Elements<T>, captured: CapturedValues<C> & Words]) => R,
  ...args: [...tensors: T, options: MapOptions<C, Partial<MapResult<R, T>>>]
): MapResult<R, T>;
export function map(fn: (...args: never) => unknown, ...args: readonly unknown[]): unknown {
  const last = args.at(-1);
  const hasOptions = args.length > 0 && !(last instanceof Tensor) && !Array.isArray(last);
  const options = (hasOptions && last !== undefined ? last : {}) as MapOptions;
  const tensors = (hasOptions ? args.slice(0, -1) : args) as readonly Argument[];
  checkOptions('map', options, ['captured', 'dtype', 'out', 'signal', 'onProgress']);
  checkControl(options);
  if (tensors.length === 0) throw new ParameterError(`map needs a tensor after the function, got ${show(last)}`);
  const { captured = {}, dtype } = options;
  if (dtype !== undefined && !['f32', 'f16', 'bf16', 'i32'].includes(dtype))
    throw new ParameterError(`dtype must be one of f32, f16, bf16, i32, got ${show(dtype)}`);
  const { parsed, numbers, tensors: read } = compiled(fn, tensors.length, captured, 'map');
  const { form, parameters, outs } = parsed;
  const count = itemsOf(tensors, parameters);
  const isList = count !== undefined;
  const namesOf = (item: number) => ({
    inputs: tensors.map((each, at) => {
      const name = parameters[at] ?? `tensor ${at}`;
      return Array.isArray(each) ? `${name}[${item}]` : name;
    }),
    outs: isList ? outs.map((name) => `${name}[${item}]`) : outs,
  });
  const called = Array.from({ length: count ?? 1 }, (_, item) => namesOf(item));
  const names = (item: number) => called[item] as (typeof called)[number];
  const items = called.map((_, item) => tensors.map((each) => (Array.isArray(each) ? each[item] : each) as Tensor));
  const all: Record<string, Tensor> = {};
  items.forEach((item, at) => {
    item.forEach((x, input) => {
      all[names(at).inputs[input] as string] = x;
    });
  });
  Object.assign(all, read);
  checkTensors(all);
  checkCaptured(read);
  commonRuntime(all);
  const wanted = outsOf(options.out, form, parsed.results.length, count);
  const results = mapItems(
    parsed.function,
    items,
    numbers,
    { dtype: dtype as DType | undefined, names, outs: wanted, tensors: read },
    options,
  );
  const ofResult = (at: number) => (isList ? results.map((item) => item[at]) : results[0]?.[at]);
  if (form === 'one') return ofResult(0);
  if (form === 'array') return parsed.results.map((_, at) => ofResult(at));
  return Object.fromEntries(form.map((name, at) => [name, ofResult(at)]));
}

/**
 * A function of one element as a value, for ops that apply it to what they compute before it leaves the cache, such as
 * `matmul(a, b, { bias, epilogue: elementwise((x, { gelu }) => gelu(x)) })`. It is written as for `map`.
 *
 * @throws {ParameterError} what cannot be compiled, named with its place; several results
 */
export function elementwise<C extends Captured = Readonly<Record<string, never>>>(
  fn: (x: number, captured: C & Words) => Value,
  captured?: C,
): Elementwise {
  const { parsed, numbers, tensors } = compiled(fn, 1, captured === undefined ? {} : captured, 'elementwise');
  const [name] = Object.keys(tensors);
  if (name) throw new ParameterError(`elementwise takes no captured tensors, got ${name}: use map()`);
  if (parsed.form !== 'one')
    throw new ParameterError(`elementwise takes a function with one result, got ${sourceOf(fn)}`);
  return new Elementwise(parsed.function, numbers);
}

interface Compiled extends Parsed {
  /** What messages call the results. */
  readonly outs: readonly string[];
  readonly function: ElementwiseFunction;
}

const forms = new Forms<Compiled>();

/** What `fn` computes of so many tensors, and what it captured. */
function compiled(fn: unknown, tensors: number, captured: unknown, caller: string) {
  const signature = {
    caller,
    parameters: Array.from({ length: tensors }, (_, at) => `x${at}` as const),
    returns: 'number',
    hasInputs: true,
    isMap: true,
  } as const;
  const make = (): Compiled => {
    const all = parseAll(fn, captured as Captured, signature);
    const names = all.reads.flatMap(({ kind, path }) => (kind === 'tensor' ? [pathName(path)] : []));
    const read = tensors + names.length;
    if (read + all.results.length > MOST_OPERANDS)
      throw new ParameterError(
        `map takes at most ${MOST_OPERANDS} tensors and results, got ${read} and ${all.results.length}`,
      );
    const { form, results } = all;
    const outs =
      form === 'one' ? ['out'] : results.map((_, at) => (form === 'array' ? `out[${at}]` : `out.${form[at]}`));
    return { ...all, outs, function: new ElementwiseFunction('map', tensors, results, names) };
  };
  const { form, numbers, tensors: read } = forms.of(fn, tensors, captured as Captured, make);
  return {
    parsed: form,
    numbers,
    tensors: Object.fromEntries(read.map(({ name, tensor }) => [messageName(name), tensor])),
  };
}

/** Throws unless kernels can look up elements of these. */
function checkCaptured(tensors: Readonly<Record<string, Tensor>>): void {
  for (const [name, { dtype }] of Object.entries(tensors))
    if (dtype !== 'f32' && dtype !== 'i32') throw new DTypeError(`${name} must be f32 or i32, got ${dtype}`);
  checkContiguous(tensors);
}

/** The length of all lists; undefined without one. */
function itemsOf(tensors: readonly Argument[], names: readonly string[]): number | undefined {
  let first: readonly Tensor[] | undefined;
  for (const [at, each] of tensors.entries()) {
    if (!Array.isArray(each)) continue;
    first ??= each as readonly Tensor[];
    if (each.length !== first.length || each.length === 0)
      throw new ParameterError(
        `lists of tensors must be of one length of at least 1, got ${each.length} in ${names[at] ?? `tensor ${at}`} and ${first.length} in the first`,
      );
  }
  return first?.length;
}

/** The tensors that the caller wants results in, by item and result. */
function outsOf(
  out: unknown,
  form: Parsed['form'],
  results: number,
  count: number | undefined,
): (Tensor | undefined)[][] | undefined {
  if (out === undefined) return undefined;
  const expected =
    form === 'one' ? '' : form === 'array' ? `an array of ${results} ` : `an object of ${form.join(', ')}, each `;
  const list = count === undefined ? 'a Tensor' : `a list of ${count} tensors`;
  const refusal = () =>
    new ParameterError(
      `out must be ${expected}${expected && form === 'array' ? `of ${list}` : list}, got ${show(out)}`,
    );
  if (form === 'array' && !(Array.isArray(out) && out.length === results)) throw refusal();
  if (typeof form === 'object' && !(isRecord(out) && Object.keys(out).every((name) => form.includes(name))))
    throw refusal();
  const ofResult =
    form === 'one'
      ? [out]
      : form === 'array'
        ? (out as unknown[])
        : form.map((name) => (out as Record<string, unknown>)[name]);
  return Array.from({ length: count ?? 1 }, (_, item) =>
    ofResult.map((each) => {
      if (each === undefined || count === undefined) return each as Tensor | undefined;
      if (!Array.isArray(each) || each.length !== count) throw refusal();
      return each[item];
    }),
  );
}
