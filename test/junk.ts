/**
 * A sweep of calls with junk: each argument, and each field of those that are objects, is replaced by values of every kind.
 * A slot makes its valid value and says which junk is as good as that; all other junk must be refused by name.
 */
import { type Runtime, SaccadeError, Tensor } from '../src/index';
import { KeyIndex } from '../src/ops/retrieval';

export interface Slot {
  readonly make: () => unknown;
  /** Names of the junk that may be accepted, as they stand in `JUNK`. */
  readonly takes: readonly string[];
  /** What messages may call it besides its own name. */
  readonly called?: string;
  /** Of objects with known names: each is a slot of its own, and another name is refused. */
  readonly fields?: Slots;
  /** Whether other names are refused: not where names are the caller's. */
  readonly closed?: boolean;
  /** More that must be refused, by name: tensors that do not fit. */
  readonly wrong?: Readonly<Record<string, unknown>>;
  /** Whether it is given in valid calls; those that are not are only tried. */
  readonly given?: boolean;
}

export type Slots = Readonly<Record<string, Slot>>;

export interface Entry {
  readonly args: Slots;
  readonly call: (...args: never[]) => unknown;
}

class Own {}

/** Junk that is as good as an object all of whose fields may be left out. */
export const EMPTY_OBJECTS: readonly string[] = [
  'object',
  'object without prototype',
  'instance',
  'proxy',
  'object like a tensor',
];

/** Values of every kind, by a name for messages. */
export function junkOf(tensor: Tensor, foreign: Tensor, disposed: Tensor): Readonly<Record<string, unknown>> {
  return {
    undefined: undefined,
    null: null,
    NaN: Number.NaN,
    Infinity: Number.POSITIVE_INFINITY,
    '-1': -1,
    '0': 0,
    '0.5': 0.5,
    '1.5': 1.5,
    '3': 3,
    '2 ** 53': 2 ** 53,
    true: true,
    text: 'x',
    'empty text': '',
    symbol: Symbol('junk'),
    bigint: 1n,
    function: () => 0,
    object: {},
    'object without prototype': Object.create(null),
    instance: new Own(),
    proxy: new Proxy({}, {}),
    array: [],
    'array of text': ['x'],
    'array of null': [null],
    'array of NaN': [Number.NaN],
    'sparse array': new Array(2),
    date: new Date(0),
    map: new Map(),
    promise: Promise.resolve(),
    buffer: new ArrayBuffer(8),
    view: new DataView(new ArrayBuffer(8)),
    float64: new Float64Array(2),
    uint8: new Uint8Array(3),
    bigint64: new BigInt64Array(2),
    'tensor of another runtime': foreign,
    'disposed tensor': disposed,
    'proxy of a tensor': new Proxy(tensor, {}),
    'object like a tensor': Object.create(Tensor.prototype),
  };
}

/** What a call that should have been refused did instead, one line each. */
export async function sweep(
  name: string,
  entry: Entry,
  {
    junk,
    shared,
    runtime,
  }: { junk: Readonly<Record<string, unknown>>; shared: ReadonlySet<unknown>; runtime: Runtime },
): Promise<string[]> {
  const outcome = async (replaced: Readonly<Record<string, unknown>>): Promise<Outcome> => {
    try {
      const values = Object.entries(entry.args).map(([name, slot]) => argumentOf(slot, replaced, name));
      disposeAll(await (entry.call as (...args: unknown[]) => unknown)(...values), shared);
      // What comes up later is a refusal too.
      await runtime.finish();
      return 'accepted';
    } catch (error) {
      return { error };
    }
  };
  const faults: string[] = [];
  const valid = await outcome({});
  if (valid !== 'accepted') faults.push(`${name}: a valid call failed: ${describe(valid)}`);
  for (const { path, slot } of pathsOf(entry.args)) {
    for (const [kind, value] of Object.entries({ ...junk, ...slot.wrong })) {
      if (slot.takes.includes(kind)) continue;
      const result = await outcome({ [path.join('.')]: value });
      const fault = faultOf(result, namesOf(path.at(-1) as string, slot));
      if (fault) faults.push(`${name}: ${path.join('.')} = ${kind}: ${fault}`);
    }
    if (!slot.fields || !slot.closed) continue;
    const extra = { ...(argumentOf(slot, {}, '') as object), surprise: 1 };
    const fault = faultOf(await outcome({ [path.join('.')]: extra }), ['surprise']);
    if (fault) faults.push(`${name}: ${path.join('.')} with an unknown name: ${fault}`);
  }
  return faults;
}

type Outcome = 'accepted' | { readonly error: unknown };

function argumentOf(slot: Slot, replaced: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(replaced, path)) return replaced[path];
  if (!slot.fields) return slot.make();
  const entries = Object.entries(slot.fields)
    .map(([name, field]) => [name, field, `${path}.${name}`] as const)
    .filter(([, field, inner]) => field.given !== false || Object.keys(replaced).some((at) => at.startsWith(inner)));
  return Object.fromEntries(entries.map(([name, field, inner]) => [name, argumentOf(field, replaced, inner)]));
}

function* pathsOf(slots: Slots, before: readonly string[] = []): Generator<{ path: string[]; slot: Slot }> {
  for (const [name, slot] of Object.entries(slots)) {
    const path = [...before, name];
    yield { path, slot };
    if (slot.fields) yield* pathsOf(slot.fields, path);
  }
}

/** What a message may call the slot: an object also by a field that it lacks, or has too many. */
function namesOf(name: string, { called = '', fields }: Slot): string[] {
  return [name, called, ...(fields ? ['has no', 'takes no', ...Object.keys(fields)] : [])];
}

function faultOf(result: Outcome, names: readonly string[]): string | undefined {
  if (result === 'accepted') return 'accepted';
  const { error } = result;
  if (!(error instanceof SaccadeError)) return describe(result);
  const told = names.some((name) => name !== '' && error.message.toLowerCase().includes(name.toLowerCase()));
  return told ? undefined : `the message names none of ${names.filter(Boolean).join(', ')}: ${error.message}`;
}

function describe(result: Outcome): string {
  if (result === 'accepted') return result;
  return result.error instanceof Error ? `${result.error.name}: ${result.error.message}` : 'thrown: no error';
}

/** Disposes the tensors and indexes that a call returned, however deep. */
function disposeAll(value: unknown, shared: ReadonlySet<unknown>, depth = 0): void {
  if (shared.has(value)) return;
  if (value instanceof Tensor || value instanceof KeyIndex) value.dispose();
  else if (depth < 3 && value !== null && typeof value === 'object' && !ArrayBuffer.isView(value))
    for (const entry of Object.values(value)) disposeAll(entry, shared, depth + 1);
}
