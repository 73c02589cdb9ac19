import type { Control } from '../runtime/backend';
import type { DType } from '../tensor/dtype';
import type { HostTensor } from '../tensor/host';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkOut, checkOutsApart, commonRuntime } from './check';
import type { Op } from './op';

/** A result to compute: its shape and dtype, and the tensor the caller wants it in, if any. */
export interface ResultSpec {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly given?: Tensor | undefined;
}

/** What `compute` returns for `Specs`. */
export type Results<Specs> = {
  [Name in keyof Specs]: Specs[Name] extends { dtype: infer D extends DType } ? Tensor<D> : never;
};

/** Elements of tensors, by name, in host memory. */
export type Values = Readonly<Record<string, HostTensor>>;

/** What a call may have beside inputs and results. */
export interface CallExtras {
  /** Inputs that it writes over. */
  readonly written?: readonly Tensor[];
  /** Inputs of few elements that the call itself follows from, and not only its results. */
  readonly known?: Readonly<Record<string, Tensor>>;
}

const NOTHING = {};

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
  { written = [], known: values = NOTHING }: CallExtras = NOTHING,
): Results<Specs> {
  const known = Object.keys(values).length > 0 ? values : NOTHING;
  const runtime = commonRuntime(known === NOTHING ? inputs : { ...inputs, ...known });
  const wanted: [string, Tensor][] = [];
  for (const name in specs) {
    const { given, shape, dtype } = specs[name] as ResultSpec;
    if (given === undefined) continue;
    checkOut(name, given, shape, dtype, inputs);
    wanted.push([name, given]);
  }
  if (wanted.length > 1) checkOutsApart(wanted);
  const fresh: Tensor[] = [];
  const results: Record<string, Tensor> = {};
  try {
    for (const name in specs) {
      const { given, shape, dtype } = specs[name] as ResultSpec;
      const result = given ?? runtime.empty(shape, dtype);
      if (!given) fresh.push(result);
      results[name] = result;
    }
    const made = known === NOTHING ? call(results as Results<Specs>, NOTHING) : undefined;
    const make = (values: Values) => made ?? call(results as Results<Specs>, values);
    const read: Tensor[] = Object.values(inputs);
    if (known !== NOTHING) read.push(...Object.values<Tensor>(known));
    runtime.run(op, { make, known }, read, [...Object.values(results), ...written], control);
    return results as Results<Specs>;
  } catch (error) {
    for (const tensor of fresh) tensor.dispose();
    throw error;
  }
}
