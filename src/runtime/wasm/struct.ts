/**
 * Numbers by name as the kernels read them, each a float64. Structs are declared in files called params.ts, beside which
 * scripts/generate-params.ts writes what gives the numbers in their order and, for AssemblyScript, a class that reads them.
 */
import type { Elements } from '../../tensor/elements';

/** What the kernels read a number as. An address is a usize, 0 for none; of a tensor it is that of its first element. */
type Kind = 'i32' | 'f64' | 'bool' | 'usize' | 'tensor';

export interface Fields {
  readonly [name: string]: Kind | Fields;
}

/** What the fields of a struct are given as. */
export type Values<F extends Fields> = {
  readonly [Name in keyof F]: F[Name] extends Fields ? Values<F[Name]> : ValueOf<F[Name]>;
};

type ValueOf<K> = K extends 'tensor' ? Elements | undefined : K extends 'bool' ? boolean : number;

export function struct<const F extends Fields>(fields: F): F {
  return fields;
}
