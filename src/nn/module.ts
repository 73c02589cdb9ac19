/**
 * Modules of a network: functions of their input and of their parameters, which they describe and do not hold.
 * Gradients follow by the tape.
 */
import { checkArray, checkBoolean, checkFunction, checkKnown, checkNumbers, checkRecord, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { LayerParameter } from '../methods/define';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import type { OperandForm } from '../ops/operand';
import { type Activations, activationsSetting, PackedWeight } from '../ops/packed';
import type { Control } from '../runtime/backend';
import { Runtime } from '../runtime/runtime';
import { fillNormal } from '../tensor/random';
import { checkShape, formatShape, sameShape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { formatBytes } from '../text/format';
import { TrainingPass } from './training';

/** Without progress, which the caller of many modules reports. */
export interface ModuleControl extends Pick<Control, 'signal'> {
  /** Whether the pass trains, and what that adds; default: inference. */
  readonly training?: TrainingPass | undefined;
  /** Whether the input of projections by weights in blocks is rounded to 8 bits (`q8`, default) or not (`f32`). */
  readonly activations?: Activations | undefined;
}

/** What a module computes with besides its inputs. */
export interface ModuleParameter extends LayerParameter {
  /** Whether it is kept with the parameters but not trained, such as running statistics; default false. */
  readonly isBuffer?: boolean | undefined;
}

/** The parameters and buffers of a module, by name. */
export type Described = Readonly<Record<string, ModuleParameter>>;

/** By name, as they are trained. */
export type TrainableParameters = Readonly<Record<string, Tensor>>;

/** By name; matrices of projections and of embeddings may be packed. */
export type Parameters = Readonly<Record<string, Tensor | PackedWeight>>;

/**
 * A function of x and of parameters, which it describes and does not hold. x is a tensor or several by name; the result is a
 * tensor or several in arrays and plain objects.
 */
export interface Module<Input = Tensor, Result = Tensor<'f32'>> {
  readonly name: string;
  /** Under the names of checkpoints; those of a part begin with its name and a dot. */
  readonly parameters: Described;
  /**
   * Computes from x and parameters as described by `parameters`, in element types that its ops take.
   *
   * @throws {ParameterError | ShapeError} a parameter that is missing, unknown or of another shape
   */
  forward(x: Input, parameters: Parameters, control?: ModuleControl): Result;
}

/** The same, on parameters that were checked, and in a scope. */
export interface Definition<P extends Described, Input = Tensor, Result = Tensor<'f32'>> {
  readonly name: string;
  /** The names of the tensors in x, and of those that may be left out; default: x is a tensor. */
  readonly inputs?: readonly string[] | undefined;
  readonly optional?: readonly string[] | undefined;
  readonly parameters: P;
  forward(x: Input, parameters: { readonly [Name in keyof P]: Tensor }, control: ModuleControl): Result;
}

/** A module from its definition in ops; its calls check parameters and free intermediate results. */
export function defineModule<const P extends Described, Input = Tensor, Result = Tensor<'f32'>>(
  definition: Definition<P, Input, Result>,
): Module<Input, Result> {
  checkRecord('definition', definition);
  const { name, inputs, optional = [], parameters, forward } = definition;
  if (typeof name !== 'string') throw new ParameterError(`name of a module must be a string, got ${show(name)}`);
  checkFunction(`forward of ${name}`, forward);
  for (const [what, names] of Object.entries({ inputs, optional })) if (names !== undefined) checkArray(what, names);
  const described = parametersOf(definition);
  const names = Object.keys(parameters);
  const forms = packable(parameters);
  return {
    name,
    parameters,
    forward(x, given, control = {}) {
      checkKnown('parameters', given, names, (unknown) => `${name} has no parameter '${unknown}'`);
      for (const [each] of described)
        if (given[each] === undefined) throw new ParameterError(`${name} needs a parameter '${each}'`);
      checkKnown('control', control, ['signal', 'training', 'activations'], (unknown) => `control has no '${unknown}'`);
      checkControl(control);
      const { training, activations } = control;
      activationsSetting.check('activations', activations, {}, {});
      if (training !== undefined && !(training instanceof TrainingPass))
        throw new ParameterError(`training must be a TrainingPass, got ${show(training)}`);
      const tensors = { ...(inputs ? tensorsOf(x, inputs, optional) : { x }), ...given } as Record<string, Tensor>;
      checkTensors(tensors, forms);
      const runtime = commonRuntime(tensors);
      for (const [each, { shape }] of described) {
        const tensor = given[each] as Tensor;
        if (!sameShape(tensor.shape, shape))
          throw new ShapeError(`${each} must have shape ${formatShape(shape)}, got ${formatShape(tensor.shape)}`);
      }
      return runtime.scope(() => forward(x, given as never, control), `forward of ${name}`);
    },
  };
}

/** What may be in the places of parameters: packed weights in those of matrices. */
export const packable = (parameters: Described): Readonly<Record<string, OperandForm>> =>
  Object.fromEntries(
    Object.entries(parameters).flatMap(([name, { shape }]) =>
      shape.length === 2 ? [[name, { kind: PackedWeight, axes: 'out in' }]] : [],
    ),
  );

/** The tensors of an input of several, as messages call them. */
function tensorsOf(x: unknown, inputs: readonly string[], optional: readonly string[]): Record<string, unknown> {
  checkKnown('x', x as object, [...inputs, ...optional], (unknown) => `x has no '${unknown}'`);
  const given = x as Readonly<Record<string, unknown>>;
  const names = [...inputs, ...optional.filter((name) => given[name] !== undefined)];
  return Object.fromEntries(names.map((name) => [`x.${name}`, given[name]]));
}

/** The initial parameters and buffers of a module, random ones each with its own seed. */
export function initial(module: Pick<Module, 'parameters'>, runtime: Runtime, seed = 0): Record<string, Tensor<'f32'>> {
  checkRecord('module', module);
  const described = parametersOf(module);
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  if (!Number.isSafeInteger(seed)) throw new ParameterError(`seed must be an integer, got ${show(seed)}`);
  // One for all: what is left behind for the collector counts in the process as long as a step runs.
  const room = roomFor(runtime, described);
  return runtime.scope(() => {
    const entries = described.map(([name, { shape, initial }], at) => {
      const values = room.subarray(0, sizeOf(shape));
      fillStart(values, initial, seed + at);
      return [name, runtime.tensor(values, shape)] as const;
    });
    return Object.fromEntries(entries);
  });
}

/** Numbers for the largest parameter; throws unless there is memory for all of them, which are f32. */
function roomFor(runtime: Runtime, described: readonly [string, LayerParameter][]): Float32Array {
  const sizes = described.map(([, { shape }]) => sizeOf(shape));
  const bytes = 4 * sizes.reduce((sum, size) => sum + size, 0);
  const { mostBytes = Number.POSITIVE_INFINITY } = runtime.backend;
  const { live } = runtime.memory();
  try {
    if (live + bytes <= mostBytes) return new Float32Array(Math.max(0, ...sizes));
  } catch {
    // No array is as large.
  }
  throw new ParameterError(
    `parameters need ${formatBytes(bytes)} beside the ${formatBytes(live)} that are held: more than there is`,
  );
}

/** The initial values of a parameter. */
export function fillStart(values: Float32Array, initial: LayerParameter['initial'], seed: number): void {
  if ('values' in initial) values.set(initial.values);
  else if ('value' in initial) values.fill(initial.value);
  else {
    fillNormal(values, seed);
    for (let i = 0; i < values.length; i++) values[i] = initial.std * (values[i] as number);
  }
}

/** How many numbers the parameters of a module are, without its buffers. */
export function countParameters(module: Pick<Module, 'parameters'>): number {
  checkRecord('module', module);
  const trained = parametersOf(module).filter(([, { isBuffer }]) => !isBuffer);
  return trained.reduce((sum, [, { shape }]) => sum + sizeOf(shape), 0);
}

/** What is trained, which optimizers take, apart from the buffers of a module: both by name. */
export function splitBuffers<T>(
  module: Pick<Module, 'parameters'>,
  all: Readonly<Record<string, T>>,
): { readonly parameters: Record<string, T>; readonly buffers: Record<string, T> } {
  checkRecord('module', module);
  checkRecord('all', all);
  const described = new Map(parametersOf(module));
  const those = (isBuffer: boolean) =>
    Object.fromEntries(Object.entries(all).filter(([name]) => (described.get(name)?.isBuffer ?? false) === isBuffer));
  return { parameters: those(false), buffers: those(true) };
}

/** The parameters of a module, checked. */
function parametersOf({ parameters }: Pick<Module, 'parameters'>): [string, ModuleParameter][] {
  checkRecord('parameters of a module', parameters);
  const described = Object.entries(parameters);
  for (const [name, parameter] of described) {
    checkRecord(name, parameter);
    const { shape, initial, isBuffer } = parameter;
    checkShape(`shape of ${name}`, shape);
    checkBoolean(`isBuffer of ${name}`, isBuffer);
    const what = `initial of ${name}`;
    checkKnown(what, initial, ['std', 'value', 'values'], (unknown) => `${what} has no '${unknown}'`);
    const [start, ...others] = Object.entries<number | ArrayLike<number>>(initial);
    if (!start || others.length > 0)
      throw new ParameterError(`${what} must be one of std, value and values, got ${show(initial)}`);
    const [kind, value] = start;
    const values = kind === 'values' ? (value as ArrayLike<number>) : [value as number];
    checkNumbers(`${kind} of ${name}`, values, 'finite', Number.isFinite);
    if (kind === 'values' && values.length !== sizeOf(shape))
      throw new ShapeError(
        `values of ${name} must be ${sizeOf(shape)}, those of ${formatShape(shape)}, got ${values.length}`,
      );
  }
  return described;
}

/** The extents b and n of x [b, n, width]; throws unless it has that shape. */
export function checkTokens({ shape }: Tensor, width: number): [b: number, n: number] {
  if (shape.length === 3 && shape[2] === width) return [shape[0] as number, shape[1] as number];
  throw new ShapeError(`x must have shape [b, n, ${width}], got ${formatShape(shape)}`);
}

/** The entries whose names begin with `prefix` and a dot, without it. */
export function partOf<T>(parameters: Readonly<Record<string, T>>, prefix: string): Record<string, T> {
  checkPrefix(parameters, prefix);
  const entries = Object.entries(parameters).filter(([name]) => name.startsWith(`${prefix}.`));
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(prefix.length + 1), value]));
}

/**
 * `partOf` of the parameters of one module, for many calls: looking through all names in each shows in the time of a decoder's
 * step.
 */
export function partFinder(parameters: Described, prefix: string): (given: Parameters) => Parameters {
  const names = Object.keys(parameters).map((own) => [own, `${prefix}.${own}`] as const);
  return (given) => {
    const part: Record<string, Parameters[string]> = {};
    for (const [own, whole] of names) part[own] = given[whole] as Parameters[string];
    return part;
  };
}

/** The same under names that begin with `prefix` and a dot. */
export function prefixed<T>(parameters: Readonly<Record<string, T>>, prefix: string): Record<string, T> {
  checkPrefix(parameters, prefix);
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`${prefix}.${name}`, value]));
}

function checkPrefix(parameters: object, prefix: string): void {
  checkRecord('parameters', parameters);
  if (typeof prefix !== 'string') throw new ParameterError(`prefix must be a string, got ${show(prefix)}`);
}
