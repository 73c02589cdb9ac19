/** What sizes of an op's kernels must be, in schemas whose messages say what is expected. */
import * as valibot from 'valibot';

/** What kernels take of a device. */
export interface Needs {
  /** Which part of an entry needs it. */
  readonly path: string;
  /** Invocations of a workgroup. */
  readonly invocations: number;
  /** Bytes of workgroup memory. */
  readonly bytes?: number;
  /** Invocations of all subgroups. */
  readonly subgroup?: number;
}

export interface EntrySchema<S> {
  readonly schema: valibot.GenericSchema<unknown, S>;
  needs(sizes: S): readonly Needs[];
}

/** An object with these fields and no others, and what must hold between them. */
export function fields<S extends object>(
  entries: { readonly [Field in keyof S]-?: valibot.GenericSchema<unknown, S[Field]> },
  ...rules: readonly ((sizes: S) => true | string)[]
): valibot.GenericSchema<unknown, S> {
  const object = valibot.strictObject(entries, `the fields ${Object.keys(entries).join(', ')} and no others`);
  const broken = (sizes: S) => rules.map((rule) => rule(sizes)).find((verdict) => verdict !== true);
  return valibot.pipe(
    object as unknown as valibot.GenericSchema<unknown, S>,
    valibot.check(
      (sizes) => broken(sizes) === undefined,
      ({ input }) => String(broken(input as S)),
    ),
  );
}

export function whole(expected: string, isRight: (value: number) => boolean): valibot.GenericSchema<unknown, number> {
  return valibot.custom<number>(
    (value) => typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && isRight(value),
    expected,
  );
}
