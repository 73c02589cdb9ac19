import type { Control } from '../runtime/backend';
import type { DType } from '../tensor/dtype';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkOut, checkOutsApart, commonRuntime } from './check';
import { guarded } from './guarded';
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

/**
 * Calls an op on checked inputs: allocates the results that were not given, of which `call` makes the call, keeps the
 * memory of everything involved alive while it runs, and frees the new results if it fails.
 */
export async function compute<Call, Specs extends Readonly<Record<string, ResultSpec>>>(
  op: Op<Call>,
  inputs: Readonly<Record<string, Tensor>>,
  specs: Specs,
  call: (results: Results<Specs>) => Call,
  control: Control,
): Promise<Results<Specs>> {
  const runtime = commonRuntime(inputs);
  const wanted: [string, Tensor][] = [];
  for (const [name, { given, shape, dtype }] of Object.entries(specs)) {
    if (given === undefined) continue;
    checkOut(name, given, shape, dtype, inputs);
    wanted.push([name, given]);
  }
  checkOutsApart(wanted);
  const fresh: Tensor[] = [];
  const results: Record<string, Tensor> = {};
  const held = Object.values(inputs).map(({ storage }) => storage.retain());
  const end = runtime.begin();
  try {
    for (const [name, { given, shape, dtype }] of Object.entries(specs)) {
      const result = given ?? runtime.empty(shape, dtype);
      if (!given) fresh.push(result);
      held.push(result.storage.retain());
      results[name] = result;
    }
    const made = call(results as Results<Specs>);
    await guarded(control, (guarding) => runtime.backend.run(op, made, guarding));
    return results as Results<Specs>;
  } catch (error) {
    for (const tensor of fresh) tensor.dispose();
    throw error;
  } finally {
    for (const storage of held) storage.release();
    end();
  }
}
