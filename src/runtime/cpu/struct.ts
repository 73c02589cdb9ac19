/**
 * Named numbers that kernels read, each a float64. Structs are declared in params.ts; scripts/generate-params.ts writes the
 * function that lists a struct's numbers and, for AssemblyScript, the class that reads them.
 */
import type { Elements } from '../../tensor/elements';

/** The type that kernels read a number as. A usize is an address, 0 for none; a tensor is the address of its first element. */
type Kind = 'i32' | 'f64' | 'bool' | 'usize' | 'tensor';

export interface Fields {
  readonly [name: string]: Kind | Fields;
}

/** The values that plans give for the fields of a struct. */
export type Values<F extends Fields> = {
  readonly [Name in keyof F]: F[Name] extends Fields ? Values<F[Name]> : ValueOf<F[Name]>;
};

type ValueOf<K> = K extends 'tensor' ? Elements | undefined : K extends 'bool' ? boolean : number;

export function struct<const F extends Fields>(fields: F): F {
  return fields;
}

/** Fields of one kind. */
export const fields = <const Kind extends Fields[string], const Name extends string>(kind: Kind, ...names: Name[]) =>
  Object.fromEntries(names.map((name) => [name, kind])) as Readonly<Record<Name, Kind>>;
