/** Numbers by name as the kernels read them, each a float64; scripts/generate-params.ts writes the class for AssemblyScript. */

/** What the kernels read a number as. An address is a usize, 0 where there is nothing. */
type Kind = 'i32' | 'usize' | 'f64' | 'bool';

export interface Fields {
  readonly [name: string]: Kind | { readonly fields: Fields };
}

type Values<F extends Fields> = {
  readonly [Name in keyof F]: F[Name] extends { readonly fields: infer Inner extends Fields }
    ? Values<Inner>
    : F[Name] extends 'bool'
      ? boolean
      : number;
};

/** Gives the numbers of its fields in their order. */
export interface Struct<F extends Fields = Fields> {
  (values: Values<F>): number[];
  readonly fields: F;
}

export function struct<const F extends Fields>(fields: F): Struct<F> {
  const numbersOf = (values: Values<F>): number[] => {
    const numbers: number[] = [];
    append(numbers, fields, values);
    return numbers;
  };
  return Object.assign(numbersOf, { fields });
}

function append(numbers: number[], fields: Fields, values: Values<Fields>): void {
  for (const name in fields) {
    const kind = fields[name]!;
    const value = values[name]!;
    if (typeof kind === 'string') numbers.push(Number(value));
    else append(numbers, kind.fields, value as unknown as Values<Fields>);
  }
}
