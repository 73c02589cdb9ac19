/** What an entry of the table of sizes must be, and what kernels of such sizes take of a device. */
import * as valibot from 'valibot';
import { type TiledSizes, tiledBytes } from './kernels/attention-tiled';
import type { Sizes } from './sizes';

interface Needs {
  readonly invocations: number;
  /** Of workgroup memory. */
  readonly bytes: number;
}

interface EntrySchema<S> {
  readonly schema: valibot.GenericSchema<unknown, S>;
  /** Of a workgroup, at most. */
  needs(sizes: S): Needs;
}

type Limits = Pick<GPUSupportedLimits, 'maxComputeInvocationsPerWorkgroup' | 'maxComputeWorkgroupStorageSize'>;

/** Outputs of a head that sizes are judged by; of larger heads the kernels themselves take care. */
const HEAD = 64;

export const ENTRIES: { readonly [Name in keyof Sizes]: EntrySchema<Sizes[Name]> } = {
  attention: {
    schema: entry<TiledSizes>(
      {
        queries: whole('16 or a multiple of 32 up to 256', (x) => x === 16 || (x % 32 === 0 && x <= 256)),
        keys: whole('a multiple of 4 up to 256', (x) => x % 4 === 0 && x <= 256),
        columns: whole('a whole number up to 64', (x) => x <= 64),
        rows: whole('4 or 8', (x) => x === 4 || x === 8),
        depth: whole('a multiple of 4 up to 256', (x) => x % 4 === 0 && x <= 256),
        values: whole('a whole number up to 256', (x) => x <= 256),
      },
      ({ keys, columns }) => keys % (4 * columns) === 0 || 'keys that are a multiple of 4 columns',
      ({ keys, values }) => keys % values === 0 || 'values that divide keys',
    ),
    needs: (sizes) => ({
      invocations: (sizes.queries / sizes.rows) * sizes.columns,
      bytes: tiledBytes(sizes, HEAD),
    }),
  },
};

type EntryName = keyof Sizes;
const NAMES = Object.keys(ENTRIES) as EntryName[];

/** The first thing that is wrong with sizes that came from outside: where, what was expected and what came. */
export function faultOfSizes(path: string, value: unknown, limits: Limits): string | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return `${path}: expected an object with any of the fields ${NAMES.join(', ')}, got ${show(value)}`;
  for (const [name, sizes] of Object.entries(value)) {
    const at = `${path}.${name}`;
    if (!NAMES.includes(name as EntryName))
      return `${at}: expected only the fields ${NAMES.join(', ')}, got ${show(sizes)}`;
    const { success, output, issues } = valibot.safeParse(ENTRIES[name as EntryName].schema, sizes);
    const fault = success ? excessOf(name as EntryName, output, limits) : undefined;
    if (fault) return `${at}: ${fault}`;
    if (!success) return faultOfIssue(at, issues[0]);
  }
  return undefined;
}

/** What sizes that are right need beyond a device's limits. */
export function excessOf<Name extends EntryName>(name: Name, sizes: Sizes[Name], limits: Limits): string | undefined {
  const { invocations, bytes } = ENTRIES[name].needs(sizes);
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: mostBytes } = limits;
  if (invocations > most)
    return `expected at most ${most} invocations in a workgroup, as many as this device has, got ${invocations}`;
  if (bytes > mostBytes)
    return `expected at most ${mostBytes} bytes of workgroup memory, as many as this device has, got ${bytes}`;
  return undefined;
}

/** An issue of a schema whose messages say what is expected, in the value at `path`. */
export function faultOfIssue(path: string, { path: within, message, input }: valibot.BaseIssue<unknown>): string {
  const at = [path, ...(within ?? []).map(({ key }) => String(key))].join('.');
  return `${at}: expected ${message}, got ${show(within ? within.at(-1)?.value : input)}`;
}

/** An object with these fields and no others, and what must hold between them. */
function entry<S extends object>(
  fields: { readonly [Field in keyof S]: valibot.GenericSchema<unknown, S[Field]> },
  ...rules: readonly ((sizes: S) => true | string)[]
): valibot.GenericSchema<unknown, S> {
  const object = valibot.strictObject(fields, `the fields ${Object.keys(fields).join(', ')} and no others`);
  const broken = (sizes: S) => rules.map((rule) => rule(sizes)).find((verdict) => verdict !== true);
  return valibot.pipe(
    object as unknown as valibot.GenericSchema<unknown, S>,
    valibot.check(
      (sizes) => broken(sizes) === undefined,
      ({ input }) => String(broken(input as S)),
    ),
  );
}

function whole(expected: string, isRight: (value: number) => boolean): valibot.GenericSchema<unknown, number> {
  return valibot.custom<number>(
    (value) => typeof value === 'number' && Number.isInteger(value) && value > 0 && isRight(value),
    expected,
  );
}

/** Short, whatever it is. */
function show(value: unknown): string {
  const text =
    (typeof value === 'object' || typeof value === 'string' ? JSON.stringify(value) : undefined) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
