/** What an entry of the table of sizes must be, and what kernels of such sizes take of a device. */
import * as valibot from 'valibot';
import type { DeviceTraits } from './plan';
import { type AttentionSizes, leastTiledBytes, type RowsSizes, type Sizes, type TiledSizes } from './sizes';

/** What kernels take of a device. */
interface Needs {
  /** Which part of an entry needs it. */
  readonly path: string;
  /** Of a workgroup. */
  readonly invocations: number;
  /** Of workgroup memory. */
  readonly bytes?: number;
  /** Invocations of all subgroups. */
  readonly subgroup?: number;
}

interface EntrySchema<S> {
  readonly schema: valibot.GenericSchema<unknown, S>;
  needs(sizes: S): readonly Needs[];
}

type Offer = Pick<DeviceTraits, 'subgroupSize'> & {
  readonly limits: Pick<DeviceTraits['limits'], 'maxComputeInvocationsPerWorkgroup' | 'maxComputeWorkgroupStorageSize'>;
};

/** Outputs of the largest head. */
const WIDEST = 256;

const tiled = fields<TiledSizes>(
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
);

const rows = fields<RowsSizes>(
  {
    lanes: whole('a whole number up to 32', (x) => x <= 32),
    rows: whole('a whole number up to 32', (x) => x <= 32),
    keys: whole('a whole number up to 32', (x) => x <= 32),
    shares: valibot.boolean('true or false'),
  },
  (sizes) => sizes.lanes * sizes.rows <= 32 || 'at most 32 queries, which are lanes times rows',
  ({ lanes, shares }) => !shares || lanes % 4 === 0 || 'lanes that are a multiple of 4, as they share',
);

const attention = valibot.pipe(
  valibot.array(
    fields<{ tiled?: TiledSizes; rows?: RowsSizes; below?: number }>(
      {
        tiled: valibot.exactOptional(tiled),
        rows: valibot.exactOptional(rows),
        below: valibot.exactOptional(whole('a whole number', () => true)),
      },
      (kernel) => (kernel.tiled === undefined) !== (kernel.rows === undefined) || 'either tiled or rows',
    ),
    'a list of kernels',
  ),
  valibot.check(
    (kernels) =>
      kernels.length > 0 && kernels.every(({ below }, at) => (below === undefined) === (at === kernels.length - 1)),
    'a list of kernels of which all but the last have `below`',
  ),
) as unknown as valibot.GenericSchema<unknown, readonly AttentionSizes[]>;

const ENTRIES: { readonly [Name in keyof Sizes]: EntrySchema<Sizes[Name]> } = {
  attention: {
    schema: attention,
    needs: (kernels) =>
      kernels.map((kernel, at): Needs => {
        if ('rows' in kernel) {
          const { lanes, shares } = kernel.rows;
          return { path: `.${at}.rows`, invocations: lanes, ...(shares && { subgroup: lanes }) };
        }
        const { queries, rows, columns } = kernel.tiled;
        return {
          path: `.${at}.tiled`,
          invocations: (queries / rows) * columns,
          bytes: leastTiledBytes(kernel.tiled, WIDEST),
        };
      }),
  },
  workgroups: { schema: whole('a whole number up to 65536', (x) => x <= 65536), needs: () => [] },
};

const NAMES = Object.keys(ENTRIES);

/** The first thing that is wrong with sizes that came from outside: where, what was expected and what came. */
export function faultOfSizes(path: string, value: unknown, device: Offer): string | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return `${path}: expected an object with any of the fields ${NAMES.join(', ')}, got ${show(value)}`;
  for (const [name, sizes] of Object.entries(value)) {
    const at = `${path}.${name}`;
    if (!NAMES.includes(name)) return `${at}: expected only the fields ${NAMES.join(', ')}, got ${show(sizes)}`;
    const { schema, needs } = ENTRIES[name as keyof Sizes] as EntrySchema<unknown>;
    const { success, output, issues } = valibot.safeParse(schema, sizes);
    if (!success) return faultOfIssue(at, issues[0]);
    for (const need of needs(output)) {
      const excess = excessOf(need, device);
      if (excess) return `${at}${need.path}: ${excess}`;
    }
  }
  return undefined;
}

function excessOf({ invocations, bytes = 0, subgroup }: Needs, { limits, subgroupSize }: Offer): string | undefined {
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: mostBytes } = limits;
  if (invocations > most)
    return `expected at most ${most} invocations in a workgroup, as many as this device has, got ${invocations}`;
  if (bytes > mostBytes)
    return `expected at most ${mostBytes} bytes of workgroup memory, as many as this device has, got ${bytes}`;
  if (subgroup !== undefined && subgroup !== subgroupSize) {
    const size = subgroupSize
      ? `the ${subgroupSize} lanes of this device's subgroups`
      : 'shares to be false, as this device has no subgroups of one size';
    return `expected ${size}, got ${subgroup}`;
  }
  return undefined;
}

/** An issue of a schema whose messages say what is expected, in the value at `path`. */
export function faultOfIssue(path: string, { path: within, message, input }: valibot.BaseIssue<unknown>): string {
  const at = [path, ...(within ?? []).map(({ key }) => String(key))].join('.');
  return `${at}: expected ${message}, got ${show(within ? within.at(-1)?.value : input)}`;
}

/** An object with these fields and no others, and what must hold between them. */
function fields<S extends object>(
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

function whole(expected: string, isRight: (value: number) => boolean): valibot.GenericSchema<unknown, number> {
  return valibot.custom<number>(
    (value) => typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && isRight(value),
    expected,
  );
}

/** Short, whatever it is. */
function show(value: unknown): string {
  const text = textOf(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' && typeof value !== 'string') return String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return 'an object that is nested too deep or in itself';
  }
}
