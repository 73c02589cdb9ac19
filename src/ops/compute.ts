import { ParameterError, UnsupportedError } from '../errors';
import type { Control } from '../runtime/backend';
import type { Op } from '../runtime/op';
import { type DType, isFloat } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import type { Part } from '../tensor/outcome';
import type { Shape } from '../tensor/shape';
import { type Derivative, record, tapeOf } from '../tensor/tape';
import type { Tensor } from '../tensor/tensor';
import { checkOut, checkOutsApart, commonRuntime } from './check';

/** A result to compute: its shape and dtype, and the tensor the caller wants it in, if any. */
export interface ResultSpec<D extends DType = DType> {
  readonly shape: Shape;
  readonly dtype: D;
  readonly given?: Tensor<D> | undefined;
}

/** What `compute` returns for `Specs`. */
export type Results<Specs> = {
  [Name in keyof Specs]: Specs[Name] extends { dtype: infer D extends DType } ? Tensor<D> : never;
};

/** Elements of tensors, by name, in host memory. */
export type Values = Readonly<Record<string, HostTensor>>;

const NOTHING = {};

/** What a call may have beside inputs and results. */
export interface CallExtras {
  /** Inputs that it writes over. */
  readonly written?: readonly Tensor[];
  /** Parts of inputs that are no tensors: those that it reads and may be at fault, and those that it writes. */
  readonly reads?: readonly Part[];
  readonly writes?: readonly Part[];
  /** Inputs of few elements that the call itself follows from, and not only its results. */
  readonly known?: Readonly<Record<string, Tensor>>;
  /** From gradients with respect to its results to those with respect to inputs, known ones among them. */
  readonly derivative?: Derivative | undefined;
}

/**
 * Calls an op on checked inputs: allocates the results that were not given, of which `call` makes the call, and frees the
 * new ones if it cannot be made. What comes up later is a fault of the results. Where values must be known first, `call`
 * makes the call in its turn.
 */
export function compute<Call, Specs extends Readonly<Record<string, ResultSpec>>>(
  op: Op<Call>,
  inputs: Readonly<Record<string, Tensor>>,
  specs: Specs,
  call: (results: Results<Specs>, values: Values) => Call,
  control: Control,
  { written = [], reads, writes, known: values = NOTHING, derivative }: CallExtras = NOTHING,
): Results<Specs> {
  const known = Object.keys(values).length > 0 ? values : NOTHING;
  const all = known === NOTHING ? inputs : { ...known, ...inputs };
  const runtime = commonRuntime(all);
  const tape = tapeOf(op.name, all);
  if (tape) checkRecorded(op.name, specs, written.length > 0 || writes !== undefined, derivative);
  const wanted: [string, Tensor][] = [];
  for (const name in specs) {
    const { given, shape, dtype } = specs[name] as ResultSpec;
    if (given === undefined) continue;
    checkOut(name, given, shape, dtype, inputs);
    checkNotKept(name, given);
    wanted.push([name, given]);
  }
  if (wanted.length > 1) checkOutsApart(wanted);
  for (const tensor of written) checkNotKept('what is written over', tensor);
  const fresh: Tensor[] = [];
  const results: Record<string, Tensor> = {};
  try {
    for (const name in specs) {
      const { given, shape, dtype } = specs[name] as ResultSpec;
      const result = given ?? runtime.allocate(shape, dtype);
      if (!given) fresh.push(result);
      results[name] = result;
    }
    // What is known now is not left for later, when inputs may have been disposed.
    const made = known === NOTHING ? call(results as Results<Specs>, NOTHING) : undefined;
    const make = (values: Values) => made ?? call(results as Results<Specs>, values);
    const read: Tensor[] = Object.values(inputs);
    if (known !== NOTHING) read.push(...Object.values<Tensor>(known));
    runtime.calls.run(op, { make, known, reads, writes }, read, [...Object.values(results), ...written], control);
    if (tape && derivative) record(op.name, tape, all, results, derivative);
    return results as Results<Specs>;
  } catch (error) {
    for (const tensor of fresh) tensor.dispose();
    throw error;
  }
}

/** Throws unless a call on tracked inputs can be recorded. */
function checkRecorded(
  name: string,
  specs: Readonly<Record<string, ResultSpec>>,
  writesOver: boolean,
  derivative: Derivative | undefined,
): void {
  for (const result in specs)
    if ((specs[result] as ResultSpec).given)
      throw new UnsupportedError(`${name} of tracked tensors cannot write to '${result}' of the caller: leave it out`);
  if (writesOver) throw new UnsupportedError(`${name} cannot write over its inputs where some are tracked`);
  if (derivative || Object.values(specs).every(({ dtype }) => !isFloat(dtype))) return;
  throw new UnsupportedError(
    `${name} has no derivative, and second derivatives are not supported: apply stopGradient() to its tracked inputs`,
  );
}

function checkNotKept(name: string, { storage }: Tensor): void {
  if (storage.isKept)
    throw new ParameterError(`${name} is tracked or kept for a backward pass, so that nothing may be written to it`);
}
