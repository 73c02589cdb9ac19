/**
 * An op's function, declared once: the tensors that it takes and gives, with axes in letters and element types, and its other
 * arguments with limits and defaults. From that follow the checks, the types of its options, and tests that try each argument
 * with what it must refuse.
 */
import { checkBoolean, checkChoice, checkKnown, checkOptions, checkWhole, show, wholeFrom } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import type { Control } from '../runtime/backend';
import { FLOATS } from '../runtime/cpu/params';
import type { Op } from '../runtime/op';
import { Runtime } from '../runtime/runtime';
import type { DType } from '../tensor/dtype';
import {
  axesOf,
  BROADCAST,
  broadcastShape,
  type Extents,
  formatShape,
  LEAD,
  type Shape,
  shapeBinder,
} from '../tensor/shape';
import type { Derivative } from '../tensor/tape';
import type { Tensor } from '../tensor/tensor';
import { checkControl, checkTensors, commonRuntime } from './check';
import { compute, type ResultSpec } from './compute';
import { checkContiguous } from './float32';
import type { Operand, OperandForm } from './operand';

/** A tensor that an op takes or gives. */
export interface TensorSpec<D extends DType = DType> {
  /** Names or extents of its axes, such as `b n h d`; `...` or `*` in front stand for any number, as in `bindShapes`. */
  readonly axes: string;
  /** The element types that it may have. */
  readonly dtypes: readonly D[];
  /** The tensor whose element type it has, or the setting that says which. */
  readonly like?: string;
  /** For arguments: whether elements may have any strides; otherwise they are contiguous. */
  readonly strided?: boolean;
  /** For arguments: what may stand for such a tensor. */
  readonly or?: OperandForm;
  /** For arguments: the option by which its last two axes are swapped. */
  readonly swappedBy?: string;
  /** For arguments: the most that elements may be; the op's faults look at it. */
  readonly most?: number;
  /** For arguments: whether there may be no elements. */
  readonly empty?: boolean;
  /** For results: always a new tensor, which the caller cannot pass as an option. */
  readonly fresh?: boolean;
  /** For results: computed only where this argument is given, or true. */
  readonly when?: string;
}

/** Tensors that come as one argument, an object with their names, of which some may be left out. */
export interface Group<Needed extends TensorSpecs = TensorSpecs, More extends TensorSpecs = TensorSpecs> {
  readonly needed: Needed;
  readonly more: More;
}

/** An argument beside tensors: what callers give, and what it becomes, with the default in the place of undefined. */
export interface Setting<Given = unknown, Value = Given> {
  /** What it must be, such as `an integer >= 1`. */
  readonly expected: string;
  /** What it becomes; throws unless it is as expected. */
  check(name: string, value: Given | undefined, extents: Extents, tensors: Readonly<Record<string, Tensor>>): Value;
}

// biome-ignore lint/suspicious/noExplicitAny: settings of every type.
type AnySetting = Setting<any, any>;
type Arguments = Readonly<Record<string, TensorSpec | Group | AnySetting>>;
type TensorSpecs = Readonly<Record<string, TensorSpec>>;

/** The tensors of a group, as callers give them and as kernels get them. */
export type Members<G> =
  G extends Group<infer Needed, infer More>
    ? { readonly [Name in keyof Needed]: Tensor } & { readonly [Name in keyof More]?: Tensor | undefined }
    : G extends { readonly or: OperandForm<infer Other> & { readonly only: true } }
      ? Other
      : G extends { readonly or: OperandForm<infer Other> }
        ? Tensor | Other
        : Tensor;

/** Arguments as callers give them, and as kernels get them. */
type Given<A> = { readonly [Name in keyof A]: A[Name] extends Setting<infer G, unknown> ? G : Members<A[Name]> };
type Checked<A> = { readonly [Name in keyof A]: A[Name] extends Setting<never, infer V> ? V : Members<A[Name]> };
export type CheckedOptions<A> = {
  readonly [Name in keyof A]: A[Name] extends Setting<never, infer V> ? V : Members<A[Name]> | undefined;
};

/** The element type of a result; that of an argument may be any. */
type DTypeOf<S> = S extends { readonly like: string } ? DType : S extends TensorSpec<infer D> ? D : never;
/** Names of the results that are there in some calls only. */
type Conditional<R> = { [Name in keyof R]: R[Name] extends { readonly when: string } ? Name : never }[keyof R];
/** What a call gives. */
export type Computed<R> = {
  readonly [Name in Exclude<keyof R, Conditional<R>>]: Tensor<DTypeOf<R[Name]>>;
} & { readonly [Name in Conditional<R>]?: Tensor<DTypeOf<R[Name]>> };
export type ResultSpecs<R> = { readonly [Name in keyof R]: ResultSpec<DTypeOf<R[Name]>> };

/** Settings with defaults, and tensors that may be left out. */
export type Options<A> = { readonly [Name in keyof A]?: Given<A>[Name] | undefined };

type ExtentCheck = (extents: Extents, tensors: Readonly<Record<string, Operand>>) => void;

/** What a function takes. */
interface Takes<I extends Arguments, O extends Arguments> {
  readonly name: string;
  /** Required arguments, in the order of the function's. */
  readonly inputs: I;
  readonly options?: O;
  /** Arithmetic operations of a call: products of extents and numbers, such as `2 ... r k c`, added by ` + `. Default: none. */
  readonly operations?: string;
  /** The largest extents that kernels have room for. */
  readonly largest?: Extents;
  /** Throws where extents do not fit together in other ways than by their letters. */
  readonly fits?: ExtentCheck;
}

export interface Declaration<I extends Arguments, O extends Arguments, R extends TensorSpecs, M extends object>
  extends Takes<I, O>,
    Op<Checked<NoInfer<I>> & CheckedOptions<NoInfer<O>> & M & Computed<NoInfer<R>>> {
  readonly name: string;
  readonly results: R;
  /** What else follows from the arguments; throws where they do not fit together. */
  readonly more?: (given: Checked<NoInfer<I>> & CheckedOptions<NoInfer<O>>, extents: Extents) => M;
  readonly derivative?: (given: Checked<NoInfer<I>> & CheckedOptions<NoInfer<O>> & M) => Derivative;
}

/** Checks its arguments, and calls the op. */
export interface DeclaredOp<I extends Arguments, O extends Arguments, R extends TensorSpecs, M extends object> {
  (given: Given<I>, options?: Options<O> & Control & { readonly [Name in keyof R]?: Tensor | undefined }): Computed<R>;
  readonly declaration: Declaration<I, O, R, M>;
}

/** A function that calls ops. */
interface Composite<I extends Arguments, O extends Arguments, R extends TensorSpecs, Result> extends Takes<I, O> {
  readonly results?: R;
  readonly run: (
    given: Checked<NoInfer<I>> & CheckedOptions<NoInfer<O>>,
    /** `Control`, and where to write. */
    options: Control & Readonly<Record<string, unknown>>,
    extents: Extents,
    /** The results that it has, as `compute` takes them. */
    specs: () => ResultSpecs<NoInfer<R>>,
  ) => Result;
}

export interface DeclaredComposite<I extends Arguments, O extends Arguments, R extends TensorSpecs, Result> {
  (given: Given<I>, options?: Options<O> & Control & { readonly [Name in keyof R]?: Tensor | undefined }): Result;
  readonly declaration: Composite<I, O, R, Result>;
}

/** The options of a declared op, but for `Control` and where to write. */
export type OptionsOf<F> = F extends { readonly declaration: { readonly options?: infer O } }
  ? Options<NonNullable<O>>
  : never;

/** Options of which some must be given. */
export type Needing<O, Name extends keyof O> = Omit<O, Name> & {
  readonly [Each in Name]-?: Exclude<O[Each], undefined>;
};

/** The results of a declared op. */
export type ResultsOf<F> = F extends { readonly declaration: { readonly results?: infer R } }
  ? Computed<NonNullable<R>>
  : never;

const NOTHING = {};

/**
 * The function of an op. It throws unless tensors live on one runtime (ParameterError), are as declared and not empty
 * (DTypeError, ShapeError), and settings are as expected (ParameterError).
 */
/* @__NO_SIDE_EFFECTS__ */
export function defineOp<
  const I extends Arguments,
  const R extends TensorSpecs,
  const O extends Arguments = Record<never, never>,
  M extends object = Record<never, never>,
>(declaration: Declaration<I, O, R, M>): DeclaredOp<I, O, R, M> {
  const { results, more, derivative } = declaration;
  const check = checker(declaration, results);
  const specsOf = resultSpecs(declaration, results);

  const call = (given: Values, options: Control & Values = NOTHING): Computed<R> => {
    const found = check(given, options);
    const { tensors, extents, checked } = found;
    if (more) Object.assign(checked, more(checked as never, extents));
    const specs = specsOf(found, options);
    const makeCall = (computed: Values) => {
      for (const each in computed) checked[each] = computed[each];
      return checked as never;
    };
    const extras = derivative && isTracked(tensors) ? { derivative: derivative({ ...checked } as never) } : undefined;
    return compute(declaration, tensors, specs, makeCall, options, extras) as Computed<R>;
  };
  return Object.assign(call, { declaration });
}

/** A function that calls ops; its arguments are declared and checked as theirs are. */
/* @__NO_SIDE_EFFECTS__ */
export function defineComposite<
  const I extends Arguments,
  Result,
  const O extends Arguments = Record<never, never>,
  const R extends TensorSpecs = Record<never, never>,
>(declaration: Composite<I, O, R, Result>): DeclaredComposite<I, O, R, Result> {
  const { options: optional = NOTHING, results = NOTHING, run } = declaration;
  const check = checker(declaration, results);
  const specsOf = resultSpecs(declaration, results);
  const places = placesOf(results);
  const hasSettings = Object.keys(optional).length > 0;
  const without = (options: Control & Values) => {
    const passed: Record<string, unknown> = { signal: options.signal, onProgress: options.onProgress };
    for (const place of places) passed[place] = options[place];
    return passed;
  };
  const call = (given: Values, options: Control & Values = NOTHING) => {
    const found = check(given, options);
    const passed = hasSettings && options !== NOTHING ? without(options) : options;
    return run(found.checked as never, passed, found.extents, () => specsOf(found, options) as never);
  };
  return Object.assign(call, { declaration });
}

/** An op with a derivative, from one without. */
/* @__NO_SIDE_EFFECTS__ */
export const differentiable = <I extends Arguments, O extends Arguments, R extends TensorSpecs, M extends object>(
  { declaration }: DeclaredOp<I, O, R, M>,
  derivative: NonNullable<Declaration<I, O, R, M>['derivative']>,
): DeclaredOp<I, O, R, M> => defineOp({ ...declaration, derivative });

type Values = Readonly<Record<string, unknown>>;

/** Arguments that are checked. */
interface Found {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly shapes: Readonly<Record<string, Shape>>;
  readonly extents: Extents;
  /** All by name, with defaults in the places of what is left out. */
  readonly checked: Record<string, unknown>;
}

/** What checks the arguments of a function. */
function checker(
  { name, inputs, options: optional = NOTHING, largest = NOTHING, fits }: Takes<Arguments, Arguments>,
  results: TensorSpecs,
) {
  const all: Arguments = { ...inputs, ...optional };
  const having = (key: string) => Object.keys(all).filter((each) => key in (all[each] as object));
  // Lists: small ops are about as fast as their checks.
  const required = having('axes').filter((each) => each in inputs);
  const optionalTensors = having('axes').filter((each) => !(each in inputs));
  const groups = having('needed').map((each) => [each, all[each] as Group] as const);
  const settings = having('check').map((each) => [each, all[each] as AnySetting] as const);
  const specs = tensorSpecsOf(all);
  /** Without tensors, the settings before one are in the place of extents. */
  const hasTensors = Object.keys(specs).length > 0;
  const checkAll = tensorChecker(specs, (extents, tensors) => {
    for (const letter in largest) checkLargest(letter, largest[letter] as number, extents, specs, tensors);
    fits?.(extents, tensors);
  });
  const known = [...Object.keys(optional), ...placesOf(results), 'signal', 'onProgress'];

  return (given: Values, options: Control & Values): Found => {
    if (options !== NOTHING) {
      checkOptions(name, options, known);
      checkControl(options);
    }
    const tensors: Record<string, Tensor> = {};
    for (const each of required) tensors[each] = given[each] as Tensor;
    for (const each of optionalTensors) if (options[each] !== undefined) tensors[each] = options[each] as Tensor;
    const checked: Record<string, unknown> = { ...tensors };
    for (const [each, group] of groups) {
      const value = (each in inputs ? given : options)[each];
      if (value === undefined && each in optional) continue;
      checked[each] = membersOf(name, each, value as Values, group);
      Object.assign(tensors, checked[each]);
    }
    const { shapes, extents } = checkAll(tensors, options);
    const scope = hasTensors ? extents : (checked as Extents);
    for (const [each, setting] of settings)
      checked[each] = setting.check(each, (each in inputs ? given : options)[each], scope, tensors);
    return { tensors, shapes, extents, checked };
  };
}

/** The results that the caller may pass as options, to have them written there. */
const placesOf = (results: TensorSpecs): string[] => Object.keys(results).filter((result) => !results[result]?.fresh);

/** The tensors of a group that are given. */
function membersOf(op: string, argument: string, value: Values, { needed, more }: Group): Record<string, Tensor> {
  const names = Object.keys({ ...needed, ...more });
  checkKnown(`${argument} of ${op}`, value, names, (unknown) => `${op} takes no '${unknown}'`);
  const given = names.filter((each) => each in needed || value[each] !== undefined);
  return Object.fromEntries(given.map((each) => [each, value[each] as Tensor]));
}

/** What says which results a call has, and in what tensors the caller wants them. */
function resultSpecs({ inputs, options = NOTHING }: Takes<Arguments, Arguments>, results: TensorSpecs) {
  const specs = tensorSpecsOf({ ...inputs, ...options });
  const shapeOf = mapValues(results, ({ axes }) => shaper(axes, specs));
  return ({ tensors, shapes, extents, checked }: Found, options: Values): Record<string, ResultSpec> => {
    const made: Record<string, ResultSpec> = {};
    for (const result in results) {
      const { dtypes, like, fresh, when } = results[result] as TensorSpec;
      if (when !== undefined && (checked[when] === undefined || checked[when] === false)) continue;
      const dtype = like === undefined ? dtypes[0] : (tensors[like]?.dtype ?? checked[like]);
      const shape = (shapeOf[result] as Shaper)(shapes, extents, checked);
      const given = fresh ? undefined : (options[result] as Tensor | undefined);
      made[result] = { shape, dtype: dtype as DType, given };
    }
    return made;
  };
}

/** The arguments that are tensors, those in groups among them. */
const tensorSpecsOf = (all: Arguments): TensorSpecs =>
  Object.fromEntries(
    Object.entries(all).flatMap(([name, spec]): (readonly [string, TensorSpec])[] => {
      if ('needed' in spec) return Object.entries({ ...spec.needed, ...spec.more });
      return 'axes' in spec ? [[name, spec]] : [];
    }),
  );

/** Throws if an extent is larger than kernels have room for. */
function checkLargest(
  letter: string,
  most: number,
  extents: Extents,
  specs: TensorSpecs,
  tensors: Readonly<Record<string, Operand>>,
): void {
  if ((extents[letter] ?? 0) <= most) return;
  const name = Object.keys(tensors).find((each) => axesOf(specs[each]?.axes ?? '').includes(letter)) as string;
  const { shape } = tensors[name] as Operand;
  throw new ShapeError(`${letter} of ${name} must be at most ${most}, got ${formatShape(shape)}`);
}

/** What throws unless tensors, those that are given, are as specified, on one runtime, and their extents as they must be. */
export function tensorChecker(specs: TensorSpecs, checkExtents?: ExtentCheck) {
  const forms = Object.fromEntries(Object.entries(specs).flatMap(([name, { or }]) => (or ? [[name, or]] : [])));
  const varying = Object.keys(specs).filter((name) => specs[name]?.or || specs[name]?.swappedBy);
  /** By which axes those have that have others where an operand of another kind is given, or an option swaps them. */
  const checkers: Checker[] = [];
  return (tensors: Readonly<Record<string, Operand>>, options: Values = NOTHING) => {
    checkTensors(tensors, forms);
    commonRuntime(tensors);
    let which = 0;
    for (const name of varying) {
      const spec = specs[name] as TensorSpec;
      which = 4 * which + 2 * Number(isOther(spec, tensors[name])) + Number(isSwapped(spec, options));
    }
    checkers[which] ??= checkerOf(
      mapValues(specs, (spec, name) => specAs(spec, tensors[name], options)),
      checkExtents,
    );
    return (checkers[which] as Checker)(tensors);
  };
}

type Checker = ReturnType<typeof checkerOf>;

/** Whether an argument is an operand of another kind than tensors. */
const isOther = ({ or }: TensorSpec, given: Operand | undefined): boolean =>
  or !== undefined && given instanceof or.kind;

const isSwapped = ({ swappedBy }: TensorSpec, options: Values): boolean =>
  swappedBy !== undefined && options[swappedBy] === true;

function specAs(spec: TensorSpec, given: Operand | undefined, options: Values): TensorSpec {
  const { axes, dtypes = spec.dtypes } = (isOther(spec, given) ? spec.or : undefined) ?? spec;
  const swapped = axes.replace(/(\S+) (\S+)$/, '$2 $1');
  return { ...spec, axes: isSwapped(spec, options) ? swapped : axes, dtypes: dtypes as readonly DType[] };
}

/** What throws unless tensors, which share a runtime, have the axes and element types of their specifications. */
function checkerOf(specs: TensorSpecs, checkExtents: ExtentCheck | undefined) {
  const names = Object.keys(specs);
  const bind = shapeBinder(mapValues(specs, ({ axes }) => axes));
  /** Tensors are most often like those of the call before. */
  let before: Readonly<Record<string, Looks | undefined>> = {};
  let found: { readonly shapes: Readonly<Record<string, Shape>>; readonly extents: Extents } | undefined;
  return (tensors: Readonly<Record<string, Operand>>) => {
    let isSeen = found !== undefined;
    for (const name of names) if (!looksLike(tensors[name], before[name])) isSeen = false;
    if (!found || !isSeen) {
      const shapes: Record<string, Shape> = {};
      const looks: Record<string, Looks> = {};
      for (const name in tensors) {
        const tensor = tensors[name] as Operand;
        const { shape, dtype, isContiguous } = tensor;
        checkElements(name, tensor, specs[name] as TensorSpec, tensors);
        shapes[name] = shape;
        looks[name] = { shape, dtype, isContiguous };
      }
      const extents = bind(shapes);
      for (const name in tensors)
        if (tensors[name]?.size === 0 && !specs[name]?.empty)
          throw new ShapeError(`${name} ${formatShape(shapes[name] as Shape)} is empty`);
      checkExtents?.(extents, tensors);
      found = { shapes, extents };
      before = looks;
    }
    return found;
  };
}

type Looks = Pick<Operand, 'shape' | 'dtype' | 'isContiguous'>;

const looksLike = (a: Looks | undefined, b: Looks | undefined): boolean =>
  a === b ||
  (a !== undefined &&
    b !== undefined &&
    a.shape === b.shape &&
    a.dtype === b.dtype &&
    a.isContiguous === b.isContiguous);

function isTracked(tensors: Readonly<Record<string, Tensor>>): boolean {
  for (const name in tensors) if ((tensors[name] as Tensor).variable) return true;
  return false;
}

/** Throws unless a tensor has an element type that it may have, and where the kernels need it row-major order. */
function checkElements(
  name: string,
  tensor: Operand,
  spec: TensorSpec,
  tensors: Readonly<Record<string, Operand>>,
): void {
  const { dtype } = tensor;
  if (!(spec.dtypes as readonly string[]).includes(dtype))
    throw new DTypeError(`${name} must be ${spec.dtypes.join(', ')}, got ${dtype}`);
  const like = spec.like === undefined ? undefined : tensors[spec.like];
  if (like && dtype !== like.dtype)
    throw new DTypeError(`${name} must be ${like.dtype} as ${spec.like} is, got ${dtype}`);
  if (!spec.strided && !tensor.isContiguous) checkContiguous({ [name]: tensor as Tensor });
}

/** Results may have as many elements along an axis as a setting says. */
type Shaper = (shapes: Readonly<Record<string, Shape>>, extents: Extents, settings: Values) => Shape;

/** What gives the shape of a result: that of an argument with the same axes is at hand. */
function shaper(spec: string, tensors: TensorSpecs): Shaper {
  const like = Object.keys(tensors).find((name) => tensors[name]?.axes === spec);
  const shapeOf = shaperOfLetters(spec, tensors);
  if (like === undefined) return shapeOf;
  return (shapes, ...others) => shapes[like] ?? shapeOf(shapes, ...others);
}

function shaperOfLetters(spec: string, tensors: TensorSpecs): Shaper {
  const axes = axesOf(spec);
  const letters = axes.filter((letter) => letter !== LEAD && letter !== BROADCAST);
  const extentsOf = (extents: Extents, settings: Values) =>
    letters.map((letter) => extents[letter] ?? Number(settings[letter] ?? letter));
  if (letters.length === axes.length) return (_, extents, settings) => extentsOf(extents, settings);
  const led = Object.keys(tensors).filter((name) => axesOf(tensors[name]?.axes ?? '')[0] === axes[0]);
  const behind = Object.fromEntries(led.map((name) => [name, axesOf(tensors[name]?.axes ?? '').length - 1]));
  return (shapes, extents, settings) => {
    let lead: Shape = [];
    for (const name of led) {
      const shape = shapes[name];
      if (shape) lead = broadcastShape(lead, shape.slice(0, shape.length - (behind[name] as number))) as Shape;
    }
    return [...lead, ...extentsOf(extents, settings)];
  };
}

const mapValues = <T, U>(record: Readonly<Record<string, T>>, map: (value: T, name: string) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value, name)]));

type More = Omit<TensorSpec, 'axes' | 'dtypes'>;

const specOf = <D extends DType, M extends More>(dtypes: readonly D[], axes: string, more?: M) =>
  ({ axes, dtypes, ...more }) as TensorSpec<D> & NoInfer<M>;

/** Tensors of these element types. */
/* @__NO_SIDE_EFFECTS__ */
export const f32 = <const M extends More = Record<never, never>>(axes: string, more?: M) => specOf(['f32'], axes, more);
/* @__NO_SIDE_EFFECTS__ */
export const i32 = <const M extends More = Record<never, never>>(axes: string, more?: M) => specOf(['i32'], axes, more);
/* @__NO_SIDE_EFFECTS__ */
export const f64 = <const M extends More = Record<never, never>>(axes: string, more?: M) => specOf(['f64'], axes, more);
/* @__NO_SIDE_EFFECTS__ */
export const floats = <const M extends More = Record<never, never>>(axes: string, more?: M) =>
  specOf(FLOATS, axes, more);
/* @__NO_SIDE_EFFECTS__ */
export const elements = <const M extends More = Record<never, never>>(axes: string, more?: M) =>
  specOf([...FLOATS, 'i32'], axes, more);

/* @__NO_SIDE_EFFECTS__ */
export const numbers = <const M extends More = Record<never, never>>(axes: string, more?: M) =>
  specOf([...FLOATS, 'i32', 'f64'], axes, more);
/* @__NO_SIDE_EFFECTS__ */
export const reals = <const M extends More = Record<never, never>>(axes: string, more?: M) =>
  specOf(['f32', 'f64'], axes, more);

/** A tensor, or an operand of another kind with these axes and ways of storing elements. */
/* @__NO_SIDE_EFFECTS__ */
export const orOperand = <S extends TensorSpec, T extends Operand>(
  spec: S,
  kind: OperandForm<T>['kind'],
  axes: string,
  dtypes: readonly string[],
): S & { readonly or: OperandForm<T> } => ({ ...spec, or: { kind, axes, dtypes } });

/** An operand that is no tensor. */
/* @__NO_SIDE_EFFECTS__ */
export const operandOf = <T extends Operand>(
  kind: OperandForm<T>['kind'],
  axes: string,
  dtypes: readonly DType[],
): TensorSpec & { readonly or: OperandForm<T> & { readonly only: true } } => ({
  axes,
  dtypes,
  or: { kind, axes, only: true },
});

/** Tensors in one object: those that it needs, and those that it may have. */
/* @__NO_SIDE_EFFECTS__ */
export const group = <const Needed extends TensorSpecs, const M extends TensorSpecs = Record<never, never>>(
  needed: Needed,
  more = NOTHING as M,
): Group<Needed, M> => ({ needed, more });

/** Settings: true or false. */
/* @__NO_SIDE_EFFECTS__ */
export const boolean = (fallback: boolean): Setting<boolean> => ({
  expected: 'true or false',
  check(name, value = fallback) {
    checkBoolean(name, value);
    return value;
  },
});

/** One of a few. */
/* @__NO_SIDE_EFFECTS__ */
export const choice = <const T extends string>(fallback: T, ...choices: readonly T[]): Setting<T> => ({
  expected: `one of ${choices.join(', ')}`,
  check(name, value = fallback) {
    checkChoice(name, value, choices);
    return value;
  },
});

/** What a setting is where it is left out; it may follow from extents. */
type Fallback<T> = T | ((extents: Extents) => T);

const fallbackFor = <T>(fallback: Fallback<T>, extents: Extents): T =>
  typeof fallback === 'function' ? (fallback as (extents: Extents) => T)(extents) : fallback;

interface Limits {
  readonly least?: number;
  /** A number, or the letter of an axis. */
  readonly most?: number | string;
}

/** An integer within limits; without a fallback it must be given. */
/* @__NO_SIDE_EFFECTS__ */
export const whole = (
  { least = Number.MIN_SAFE_INTEGER, most = Number.MAX_SAFE_INTEGER }: Limits,
  fallback?: Fallback<number>,
): Setting<number> => ({
  expected: wholeFrom(least, most),
  check(name, given, extents) {
    const value = given === undefined ? (fallbackFor(fallback, extents) as number) : given;
    checkWhole(name, value, least, typeof most === 'string' ? extents[most] : most);
    return value;
  },
});

/** A finite number within limits. */
/* @__NO_SIDE_EFFECTS__ */
export const number = (
  { least = -Infinity, most = Infinity }: Bounds,
  fallback?: Fallback<number>,
): Setting<number> => {
  const limited = most < Infinity ? `a number from ${least} to ${most}` : `a finite number >= ${least}`;
  const expected = least === -Infinity ? 'a finite number' : limited;
  return setting(expected, (value) => Number.isFinite(value) && value >= least && value <= most, fallback);
};

/** A setting that may be left out, and is undefined then. */
/* @__NO_SIDE_EFFECTS__ */
export const optional = <Given, Value>(of: Setting<Given, Value>): Setting<Given, Value | undefined> => ({
  ...of,
  check: (name, value, ...rest) => (value === undefined ? undefined : of.check(name, value, ...rest)),
});

/** An object with settings of its own; those before one are among its extents. */
/* @__NO_SIDE_EFFECTS__ */
export const record = <const S extends Readonly<Record<string, AnySetting>>>(
  settings: S,
): Setting<Options<S>, Checked<S>> & { readonly settings: S } => ({
  expected: `an object of ${Object.keys(settings).join(', ')}`,
  settings,
  check(name, value = {}, extents, tensors) {
    checkKnown(name, value, Object.keys(settings), (unknown) => `${name} has no option '${unknown}'`);
    const own = value as Values;
    const checked: Record<string, unknown> = {};
    for (const each in settings)
      checked[each] = settings[each]?.check(
        `${each} of ${name}`,
        own[each],
        { ...extents, ...checked } as Extents,
        tensors,
      );
    return checked as Checked<S>;
  },
});

interface Bounds {
  readonly least?: number;
  readonly most?: number;
}

/** What is as expected; without a fallback it must be given. */
/* @__NO_SIDE_EFFECTS__ */
export const setting = <T>(expected: string, fits: (value: T) => boolean, fallback?: Fallback<T>): Setting<T> => ({
  expected,
  check(name, value, extents) {
    if (value === undefined && fallback !== undefined) return fallbackFor(fallback, extents);
    if (!fits(value as T)) throw new ParameterError(`${name} must be ${expected}, got ${show(value)}`);
    return value as T;
  },
});

export const aRuntime = setting<Runtime>('a Runtime', (value) => value instanceof Runtime);

/** One of the axes of an argument, from the last on where it is negative; as a setting it is not negative. */
/* @__NO_SIDE_EFFECTS__ */
export const axisOf = (of: string, fallback?: number): Setting<number> => ({
  expected: `one of the axes of ${of}`,
  check(name, value = fallback as number, _, tensors) {
    const { rank, shape } = tensors[of] as Tensor;
    if (!(Number.isInteger(value) && value >= -rank && value < rank))
      throw new ParameterError(
        `${name} must be one of the ${rank} axes of ${of} ${formatShape(shape)}, got ${show(value)}`,
      );
    return (value + rank) % rank;
  },
});
