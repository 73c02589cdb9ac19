/**
 * Modules of a network: functions of their input and of their parameters, which they describe and do not hold.
 * Gradients follow by the tape.
 */
import { checkFunction, checkKnown, checkNumbers, checkRecord, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { LayerParameter } from '../methods/define';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import type { Control } from '../runtime/backend';
import { Runtime } from '../runtime/runtime';
import { fillNormal } from '../tensor/random';
import { checkShape, formatShape, sameShape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { formatBytes } from '../text/format';

/** Without progress, which the caller of many modules reports. */
export type ModuleControl = Pick<Control, 'signal'>;

/** The parameters of a module, by name. */
export type Described = Readonly<Record<string, LayerParameter>>;

/** By name. */
export type Parameters = Readonly<Record<string, Tensor>>;

/** A function of x and of parameters, which it describes and does not hold. */
export interface Module {
  readonly name: string;
  /** Under the names of checkpoints; those of a part begin with its name and a dot. */
  readonly parameters: Described;
  /**
   * Computes from x and parameters as described by `parameters`, in element types that its ops take.
   *
   * @throws {ParameterError | ShapeError} a parameter that is missing, unknown or of another shape
   */
  forward(x: Tensor, parameters: Parameters, control?: ModuleControl): Tensor<'f32'>;
}

/** The same, on parameters that were checked, and in a scope. */
export interface Definition<P extends Described> {
  readonly name: string;
  readonly parameters: P;
  forward(x: Tensor, parameters: { readonly [Name in keyof P]: Tensor }, control: ModuleControl): Tensor<'f32'>;
}

/** A module from its definition in ops; its calls check parameters and free intermediate results. */
export function defineModule<const P extends Described>(definition: Definition<P>): Module {
  checkRecord('definition', definition);
  const { name, parameters, forward } = definition;
  if (typeof name !== 'string') throw new ParameterError(`name of a module must be a string, got ${show(name)}`);
  checkFunction(`forward of ${name}`, forward);
  const described = parametersOf(definition);
  return {
    name,
    parameters,
    forward(x, given, control = {}) {
      checkKnown('parameters', given, Object.keys(parameters), (unknown) => `${name} has no parameter '${unknown}'`);
      for (const [each] of described)
        if (given[each] === undefined) throw new ParameterError(`${name} needs a parameter '${each}'`);
      checkKnown('control', control, ['signal'], (unknown) => `control has no '${unknown}'`);
      checkControl(control);
      const tensors = { x, ...given };
      checkTensors(tensors);
      commonRuntime(tensors);
      for (const [each, { shape }] of described) {
        const tensor = given[each] as Tensor;
        if (!sameShape(tensor.shape, shape))
          throw new ShapeError(`${each} must have shape ${formatShape(shape)}, got ${formatShape(tensor.shape)}`);
      }
      return x.runtime.scope(() => forward(x, given as { readonly [Name in keyof P]: Tensor }, control));
    },
  };
}

/** The initial parameters of a module, random ones each with its own seed. */
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

/** How many numbers the parameters of a module are. */
export function countParameters(module: Module): number {
  checkRecord('module', module);
  return parametersOf(module).reduce((sum, [, { shape }]) => sum + sizeOf(shape), 0);
}

/** The parameters of a module, checked. */
function parametersOf({ parameters }: Pick<Module, 'parameters'>): [string, LayerParameter][] {
  checkRecord('parameters of a module', parameters);
  const described = Object.entries(parameters);
  for (const [name, parameter] of described) {
    checkRecord(name, parameter);
    const { shape, initial } = parameter;
    checkShape(`shape of ${name}`, shape);
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

/** A matrix [out, in] whose training starts from normal numbers with standard deviation 0.02. */
export function matrix(out: number, into: number): LayerParameter {
  return { shape: [out, into], initial: { std: 0.02 } };
}

/** The weight [out, in] of a projection of that name, and its bias, which starts at 0, if it has one. */
export function projection(name: string, out: number, into: number, bias: boolean): Record<string, LayerParameter> {
  const weight = { [`${name}.weight`]: matrix(out, into) };
  return bias ? { ...weight, [`${name}.bias`]: { shape: [out], initial: { value: 0 } } } : weight;
}

/** The entries whose names begin with `prefix` and a dot, without it. */
export function partOf<T>(parameters: Readonly<Record<string, T>>, prefix: string): Record<string, T> {
  checkPrefix(parameters, prefix);
  const entries = Object.entries(parameters).filter(([name]) => name.startsWith(`${prefix}.`));
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(prefix.length + 1), value]));
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
