/**
 * An op's function, declared once: the tensors that it takes and gives, with axes in letters and element types, and its other
 * arguments with limits and defaults. From that follow the checks, the types of its options, and tests that try each argument
 * with what it must refuse.
 */
import { checkBoolean, checkChoice, checkOptions, checkWhole, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import type { Control } from '../runtime/backend';
import type { Op } from '../runtime/op';
import type { DType } from '../tensor/dtype';
import { axesOf, type Extents, formatShape, LEAD, type Shape, shapeBinder } from '../tensor/shape';
import type { Derivative } from '../tensor/tape';
import type { Tensor } from '../tensor/tensor';
import { checkControl, checkTensors, commonRuntime } from './check';
import { compute, type ResultSpec } from './compute';
import { checkContiguous } from './float32';

/** A tensor that an op takes or gives. */
export interface TensorSpec<D extends DType = DType> {
  /** Names or extents of its axes, such as `b n h d`; `...` in front stands for any number of leading ones. */
  readonly axes: string;
  /** The element types that it may have. */
  readonly dtypes: readonly D[];
  /** The argument whose element type it has. */
  readonly like?: string;
  /** Of arguments: whether the elements may lie anywhere; else they lie in row-major order. */
  readonly strided?: boolean;
  /** Of results: whether the caller cannot say where to write. */
  readonly fresh?: boolean;
}

/** An argument beside tensors: what callers give, and what it becomes, with the default in the place of undefined. */
export interface Setting<Given = unknown, Value = Given> {
  /** What it must be, such as `an integer >= 1`. */
  readonly expected: string;
  /** What it becomes; throws unless it is as expected. */
  check(name: string, value: Given | undefined, extents: Extents): Value;
}

// biome-ignore lint/suspicious/noExplicitAny: settings of every type.
type AnySetting = Setting<any, any>;
type Arguments = Readonly<Record<string, TensorSpec | AnySetting>>;
type TensorSpecs = Readonly<Record<string, TensorSpec>>;

/** Arguments as callers give them, and as kernels get them. */
type Given<A> = { readonly [Name in keyof A]: A[Name] extends Setting<infer G, unknown> ? G : Tensor };
type Checked<A> = { readonly [Name in keyof A]: A[Name] extends Setting<never, infer V> ? V : Tensor };
type Optional<A> = { readonly [Name in keyof A]: A[Name] extends Setting<never, infer V> ? V : Tensor | undefined };
type Computed<R> = { readonly [Name in keyof R]: R[Name] extends TensorSpec<infer D> ? Tensor<D> : never };

/** Settings with defaults, and tensors that may be left out. */
type Options<A> = { readonly [Name in keyof A]?: Given<A>[Name] | undefined };

export interface Declaration<I extends Arguments, O extends Arguments, R extends TensorSpecs, M extends object>
  extends Op<Checked<I> & Optional<O> & M & Computed<R>> {
  /** Required arguments, in the order of the function's. */
  readonly inputs: I;
  readonly options?: O;
  readonly results: R;
  /** What else follows from the arguments; throws where they do not fit together. */
  readonly more?: (given: Checked<I> & Optional<O>, extents: Extents) => M;
  readonly derivative?: (given: Checked<I> & Optional<O> & M) => Derivative;
}

/** Checks its arguments, and calls the op. */
export interface DeclaredOp<I extends Arguments, O extends Arguments, R extends TensorSpecs> {
  (given: Given<I>, options?: Options<O> & Control & { readonly [Name in keyof R]?: Tensor | undefined }): Computed<R>;
  readonly declaration: Readonly<{ name: string; inputs: I; options?: O; results: R }>;
}

/** The options of a declared op, but for `Control` and where to write. */
export type OptionsOf<F> = F extends { readonly declaration: { readonly options?: infer O } }
  ? Options<NonNullable<O>>
  : never;

const NOTHING = {};

/**
 * The function of an op. It throws unless tensors live on one runtime (ParameterError), are as declared and not empty
 * (DTypeError, ShapeError), and settings are as expected (ParameterError).
 */
export function defineOp<
  const I extends Arguments,
  const R extends TensorSpecs,
  const O extends Arguments = Record<never, never>,
  M extends object = Record<never, never>,
>(declaration: Declaration<I, O, R, M>): DeclaredOp<I, O, R> {
  const { name, inputs, options: optional, results, more, derivative } = declaration;
  const all: Arguments = { ...inputs, ...optional };
  const tensorSpecs: Record<string, TensorSpec> = {};
  const settings: Record<string, AnySetting> = {};
  for (const [each, spec] of Object.entries(all))
    if ('axes' in spec) tensorSpecs[each] = spec;
    else settings[each] = spec;
  const bind = shapeBinder(mapValues(tensorSpecs, ({ axes }) => axes));
  const shapeOf = mapValues(results, ({ axes }) => shaper(axes, tensorSpecs));
  const known = [
    ...Object.keys(optional ?? {}),
    ...Object.keys(results).filter((result) => !results[result]?.fresh),
    ...CONTROL,
  ];

  const call = (given: Values, options: Control & Values = NOTHING): Computed<R> => {
    const tensors: Record<string, Tensor> = {};
    const shapes: Record<string, Shape> = {};
    checkOptions(name, options, known);
    for (const each in tensorSpecs) {
      const value = each in inputs ? given[each] : options[each];
      if (value !== undefined || each in inputs) tensors[each] = value as Tensor;
    }
    checkTensors(tensors);
    commonRuntime(tensors);
    checkControl(options);
    for (const each in tensors) {
      checkElements(each, tensors, tensorSpecs[each] as TensorSpec);
      shapes[each] = (tensors[each] as Tensor).shape;
    }
    const extents = bind(shapes);
    const checked: Record<string, unknown> = { ...tensors };
    for (const each in settings) {
      const value = (settings[each] as AnySetting).check(each, each in inputs ? given[each] : options[each], extents);
      checked[each] = value;
      // Results may have as many elements along an axis as a setting says.
      if (typeof value === 'number') extents[each] ??= value;
    }
    Object.assign(checked, more?.(checked as never, extents));
    const specs: Record<string, ResultSpec> = {};
    for (const result in results) {
      const { dtypes, like, fresh } = results[result] as TensorSpec;
      const dtype = like === undefined ? (dtypes[0] as DType) : (tensors[like] as Tensor).dtype;
      const shape = (shapeOf[result] as Shaper)(shapes, extents);
      specs[result] = { shape, dtype, given: fresh ? undefined : (options[result] as Tensor | undefined) };
    }
    const isTracked = Object.values(tensors).some(({ variable }) => variable);
    return compute(declaration, tensors, specs, (computed) => ({ ...checked, ...computed }) as never, options, {
      derivative: isTracked ? derivative?.(checked as never) : undefined,
    }) as Computed<R>;
  };
  return Object.assign(call, { declaration });
}

type Values = Readonly<Record<string, unknown>>;

const CONTROL = ['signal', 'onProgress'];

/** Throws unless a tensor has an element type that it may have, elements, and where the kernels need it row-major order. */
function checkElements(name: string, tensors: Readonly<Record<string, Tensor>>, spec: TensorSpec): void {
  const tensor = tensors[name] as Tensor;
  const { dtype, shape, size } = tensor;
  if (!spec.dtypes.includes(dtype)) throw new DTypeError(`${name} must be ${spec.dtypes.join(', ')}, got ${dtype}`);
  const like = spec.like === undefined ? undefined : tensors[spec.like];
  if (like && dtype !== like.dtype)
    throw new DTypeError(`${name} must be ${like.dtype} as ${spec.like} is, got ${dtype}`);
  if (size === 0) throw new ShapeError(`${name} ${formatShape(shape)} is empty`);
  if (!spec.strided) checkContiguous({ [name]: tensor });
}

type Shaper = (shapes: Readonly<Record<string, Shape>>, extents: Extents) => Shape;

/** What gives the shape of a result. */
function shaper(spec: string, tensors: TensorSpecs): Shaper {
  const like = Object.keys(tensors).find((name) => tensors[name]?.axes === spec);
  if (like !== undefined) return (shapes) => shapes[like] as Shape;
  const axes = axesOf(spec);
  const letters = axes.filter((letter) => letter !== LEAD);
  const extentsOf = (extents: Extents) => letters.map((letter) => extents[letter] ?? Number(letter));
  if (letters.length === axes.length) return (_, extents) => extentsOf(extents);
  const led = Object.keys(tensors).find((name) => axesOf(tensors[name]?.axes ?? '')[0] === LEAD) as string;
  const behind = axesOf(tensors[led]?.axes ?? '').length - 1;
  return (shapes, extents) => {
    const { length } = shapes[led] as Shape;
    return [...(shapes[led] as Shape).slice(0, length - behind), ...extentsOf(extents)];
  };
}

const mapValues = <T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));

type More = Omit<TensorSpec, 'axes' | 'dtypes'>;

const tensorOf =
  <D extends DType>(...dtypes: readonly D[]) =>
  (axes: string, more: More = NOTHING): TensorSpec<D> => ({ axes, dtypes, ...more });

/** Tensors of these element types. */
export const f32 = tensorOf('f32');
export const i32 = tensorOf('i32');
export const floats = tensorOf('f32', 'f16', 'bf16');

/** Settings: true or false. */
export const boolean = (fallback: boolean): Setting<boolean> => ({
  expected: 'true or false',
  check(name, value = fallback) {
    checkBoolean(name, value);
    return value;
  },
});

/** One of a few. */
export const choice = <const T extends string>(fallback: T, ...choices: readonly T[]): Setting<T> => ({
  expected: `one of ${choices.join(', ')}`,
  check(name, value = fallback) {
    checkChoice(name, value, choices);
    return value;
  },
});

interface Limits {
  readonly least?: number;
  /** A number, or the letter of an axis. */
  readonly most?: number | string;
}

/** An integer within limits; without a fallback it must be given. */
export function whole({ least = Number.MIN_SAFE_INTEGER, most }: Limits, fallback?: number): Setting<number> {
  return {
    expected: `an integer >= ${least}`,
    check(name, value = fallback as number, extents) {
      checkWhole(name, value, least, typeof most === 'string' ? extents[most] : most);
      return value;
    },
  };
}

/** A finite number of at least so much. */
export const number = ({ least }: Required<Pick<Limits, 'least'>>, fallback: number): Setting<number> => ({
  expected: `a finite number >= ${least}`,
  check(name, value = fallback) {
    if (!(Number.isFinite(value) && value >= least))
      throw new ParameterError(`${name} must be ${this.expected}, got ${show(value)}`);
    return value;
  },
});
