/** What the declaration of an op says that it takes, as entries for the sweep of `junk.ts`: what fits, and what must not. */
import { isRecord } from '../src/check';
import type { DType, Runtime, Tensor } from '../src/index';
import * as saccade from '../src/index';
import * as masks from '../src/masks';
import * as nn from '../src/nn';
import { f32, type Group, i32, type Setting, type TensorSpec } from '../src/ops/define';
import { SCALINGS } from '../src/ops/rope/rotation';
import * as scores from '../src/scores';
import { typedArray } from '../src/tensor/dtype';
import { sizeOf } from '../src/tensor/shape';
import { EMPTY_OBJECTS as EMPTY, type Entry, type Slot, type Slots } from './junk';

type Spec = TensorSpec | Group | Setting;
interface Declared {
  (given: object, options?: object): unknown;
  readonly declaration: {
    readonly name: string;
    readonly inputs: Readonly<Record<string, Spec>>;
    readonly options?: Readonly<Record<string, Spec>>;
    readonly results?: Readonly<Record<string, TensorSpec>>;
  };
}

/** Extents that an op asks for; all others are 2. */
const EXTENTS: Readonly<Record<string, number>> = { ky: 3, kx: 3, g: 1, h: 2, r: 4, places: 1 };
const extentOf = (letter: string) => EXTENTS[letter] ?? (Number(letter) || 2);
const shapeOf = (axes: string) =>
  axes
    .split(' ')
    .filter(Boolean)
    .map((letter) => (/^\W/.test(letter) ? 2 : extentOf(letter)));

const NUMBERS: Readonly<Record<string, number>> = {
  '-1': -1,
  '0': 0,
  '0.5': 0.5,
  '1.5': 1.5,
  '3': 3,
  '2 ** 53': 2 ** 53,
};
const numbersThat = (holds: (x: number) => boolean) =>
  Object.keys(NUMBERS).filter((name) => holds(NUMBERS[name] as number));

/** Settings that no rule below has. */
const SETTINGS: Readonly<Record<string, Slot>> = {
  'an integer >= 1, or one for each spatial axis': { make: () => 1, takes: ['3'] },
  'an integer >= 0, or one for each spatial axis': { make: () => 0, takes: ['0', '3'] },
  "an integer >= 0, 'same', 'causal', or for each spatial axis one of these or [before, after]": {
    make: () => 1,
    takes: ['0', '3'],
  },
  '[before, after], integers >= 0, for each axis of x': { make: () => [[2, 0]], takes: [] },
  'a positive number': { make: () => 1, takes: numbersThat((x) => x > 0) },
  'any number': { make: () => 1, takes: [...Object.keys(NUMBERS), 'NaN', 'Infinity', 'undefined'] },
  'an array of different axes of x': { make: () => [-1], takes: ['array', 'undefined'] },
  'made by elementwise()': { make: () => undefined, takes: [] },
  'a Mask': { make: () => masks.causal(), takes: [] },
  'a Score': { make: () => scores.softcap(3), takes: [] },
  '[left, right]': { make: () => [1, 1], takes: [] },
  'a number for each row': { make: () => [1, 1], takes: [] },
  'numbers above 0 and up to 1, one for each head': { make: () => [0.5, 0.5], takes: [] },
  'a deferred mask': { make: () => undefined, takes: [] },
  'a number above 0 and below 1': { make: () => 0.5, takes: ['0.5'] },
  '0 or a number from 1.18e-38 to 3.4e38, as float32 holds': {
    make: () => 1,
    takes: ['0', '0.5', '1.5', '3', '2 ** 53'],
  },
};
/** Options that take the place of others: valid calls are without them. */
const INSTEAD: readonly string[] = ['ridgeRows', 'deferred'];
/** Options that others need to be true. */
const NEEDED: readonly string[] = ['causal', 'normalise'];

function ruled(expected: string): readonly [value: unknown, ...takes: string[]] {
  if (expected === 'true or false') return [false, 'true'];
  const [, choices] = expected.match(/^one of ([\w, -]+)$/) ?? [];
  if (expected.startsWith('one of the axes of')) return [0, '-1', '0'];
  if (choices) return [choices.split(', ')[0]];
  const [, kind, least = -Infinity, most = Infinity] =
    expected.match(/^an? (integer|finite number|number)(?:(?: >=| from) (\S+))?(?: to (\S+))?$/) ?? [];
  if (!kind) throw new Error(`no rule for a setting that must be ${expected}`);
  const [from, to] = [least, most].map((limit) => (Number.isNaN(Number(limit)) ? extentOf(`${limit}`) : Number(limit)));
  const isWhole = kind === 'integer';
  const takes = numbersThat((x) => x >= from! && x <= to! && (!isWhole || Number.isSafeInteger(x)));
  return [from === -Infinity ? 1 : Math.max(1, from!) <= to! ? Math.max(1, from!) : from, ...takes];
}

/** The entry of each op, by the name of its function; those without one by their own. */
export function entriesOfOps(
  rooms: readonly Readonly<Record<string, unknown>>[],
  runtime: Runtime,
  control: Slots,
  keep: <T extends Tensor>(tensor: T) => T,
): Readonly<Record<string, Entry>> {
  const tensor = (
    { axes, dtypes: [dtype], most = 1 }: TensorSpec,
    shape = shapeOf(axes),
    as: DType = dtype as DType,
  ): Tensor => {
    const values = typedArray(as, sizeOf(shape)).fill((as === 'i32' ? 0 : most) as never);
    const n = shape.at(-1) as number;
    // Square matrices are the identity, which has an inverse.
    if (/(\w) \1$/.test(axes))
      for (let at = 0; at < values.length; at++) values[at] = Number(at % n === Math.floor(at / n) % n);
    return keep(runtime.tensor(values as never, shape, as));
  };
  /** `bound` are the axes that other tensors have as well. */
  function slot(spec: Spec, bound: readonly string[]): Slot {
    if ('axes' in spec && spec.or?.only) return { make: () => cache.layer(0), takes: [] };
    if ('axes' in spec) return tensorSlot(spec, bound);
    if (!('needed' in spec)) return settingSlot(spec);
    const fields = { ...mapped(spec.needed, undefined, bound), ...mapped(spec.more, optional, bound) };
    return { make: () => undefined, takes: [], fields, closed: true };
  }
  const optional = (each: Slot): Slot => ({ ...each, takes: [...each.takes, 'undefined'] });
  const mapped = (
    specs: Readonly<Record<string, Spec>>,
    map = (each: Slot, _name: string) => each,
    bound: readonly string[] = [],
  ): Slots =>
    Object.fromEntries(
      Object.entries(specs).map(([each, spec]) => [
        each,
        map(slot(spec, bound.concat(lettersBeside(specs, each))), each),
      ]),
    );
  const fieldsOf = (settings: Readonly<Record<string, Setting>>): Slots =>
    mapped(settings, (each, name) => (isNeeded(settings[name] as Setting) ? each : optional(each)));
  const places = tensor(i32('n'));
  const state = { out: tensor(f32('n e')), lse: tensor(f32('n')) };
  const cache = saccade.createKeyValueCache(runtime, { layers: 1, rows: 2, heads: 1, d: 2, capacity: 8 });
  const token = tensor(f32('b n g d'));
  cache.append(0, token, token);
  const block: Slot = { make: () => 3, takes: ['3'] };
  const instead: Slot = { make: () => undefined, takes: ['undefined'], given: false };
  const lists = tensor(i32('1 1 1 k'));
  const chosen = {
    lists: { make: () => lists, takes: [] },
    queryBlock: block,
    keyBlock: block,
  };
  const kinds: Readonly<Record<string, Slot>> = {
    ...SETTINGS,
    'a selection of key blocks': {
      make: () => undefined,
      takes: [],
      fields: { ...chosen, flags: instead, queryGrid: instead, keyGrid: instead },
      closed: true,
    },
    'an array of 1 to 128 { out, lse }': { make: () => [state, state], takes: [] },
    'an even integer from 2 to d': { make: () => 2, takes: [] },
    'a tensor [n] or [b, n] of i32, or an object with offset': { make: () => places, takes: [] },
    'an object of type linear, llama3, yarn or factors': {
      make: () => undefined,
      takes: [],
      get fields() {
        return { type: { make: () => 'yarn', takes: [] }, ...fieldsOf(SCALINGS.yarn.settings) };
      },
      closed: true,
    },
    'an integer from 1 to 256': { make: () => 2, takes: ['3'] },
    'an integer >= 1, or the options of each layer': { make: () => 1, takes: ['3'] },
    'an array of methods that go on from a state': {
      make: () => [{ method: saccade.findMethod('lightning-attention') }],
      takes: [],
    },
    'an index that keyIndex made': instead,
    'a Runtime': { make: () => runtime, takes: [] },
    'an array of extents': { make: () => [2], takes: ['array'] },
    'an array of at least one tensor': { make: () => [state.out, state.out], takes: [] },
  };
  /** By what its declaration tells users that it must be. */
  function settingSlot(spec: Setting & { readonly settings?: Readonly<Record<string, Setting>> }): Slot {
    const { expected, settings } = spec;
    if (settings) return { make: () => undefined, takes: EMPTY, fields: fieldsOf(settings), closed: true };
    const own = kinds[expected];
    if (own) return own;
    const [value, ...takes] = ruled(expected);
    return { make: () => value, takes };
  }
  function tensorSlot(spec: TensorSpec, bound: readonly string[]): Slot {
    const valid = tensor(spec);
    const letters = lettersOf(spec);
    const isShared = (letter: string) => bound.includes(letter) || /^\d/.test(letter);
    const shared = valid.rank - 1 - [...letters].reverse().findIndex(isShared);
    const wider = valid.shape.map((extent, axis) => (axis === valid.rank - 1 ? extent + 1 : extent));
    const isLed = /^\W/.test(spec.axes);
    /** Whether there may be some axes more or fewer. */
    const isOpen = /\.\.\.\w/.test(spec.axes);
    const others: DType[] = ['f32', 'f16', 'bf16', 'i32', 'u8'];
    return {
      make: () => valid,
      takes: [],
      wrong: {
        ...Object.fromEntries(
          others
            .filter((each) => !spec.dtypes.includes(each))
            .map((each) => [each, tensor(spec, [...valid.shape], each)]),
        ),
        ...(/\w/.test(spec.axes) && { 'another rank': tensor(spec, isLed ? [] : isOpen ? [2] : [...valid.shape, 2]) }),
        ...(letters.some(isShared) && {
          'another extent': tensor(
            spec,
            valid.shape.map((extent, axis) => extent + Number(axis === shared)),
          ),
        }),
        ...(!spec.empty && { empty: tensor(spec, [...valid.shape.slice(0, -1), 0]) }),
        ...(valid.rank > 1 &&
          !spec.strided && { strided: keep(tensor(spec, wider).slice(valid.rank - 1, 0, wider.at(-1)! - 1)) }),
      },
    };
  }
  const entries: Record<string, Entry> = {};
  const declared = rooms.flatMap((room) => Object.values(room)).flatMap(declaredIn);
  for (const op of declared) {
    const { name, inputs, options = {}, results = {} } = op.declaration;
    const places = Object.fromEntries(Object.entries(results).filter(([, { fresh }]) => !fresh));
    const names = Object.keys(inputs);
    const isAlone = Object.values(inputs).filter((spec) => 'axes' in spec).length === 1;
    const hasTensors = Object.values({ ...inputs, ...options }).some((spec) => !('check' in spec));
    const required = mapped(inputs, (each) =>
      isAlone && each.wrong ? { ...each, takes: [...each.takes, 'tensor of another runtime'] } : each,
    );
    const bound = lettersBeside(inputs);
    const fields = {
      ...mapped(
        options,
        (each, name) => ({
          ...(hasTensors || !isNeeded(options[name] as Setting) ? optional(each) : each),
          given: !INSTEAD.includes(name),
          ...(NEEDED.includes(name) && { make: () => true }),
        }),
        bound,
      ),
      ...mapped(places, (each) => ({ ...optional(each), given: false }), bound),
      ...control,
    };
    const args = {
      ...required,
      options: { make: () => undefined, takes: ['undefined', ...EMPTY], fields, closed: true },
    };
    const own = { ...nn, ...saccade }[name as 'map'] as unknown as ((...args: unknown[]) => unknown) | undefined;
    const call = (...values: unknown[]) =>
      op(Object.fromEntries(names.map((each, at) => [each, values[at]])), values[names.length] as object);
    const isFirst =
      own && !(name in entries) && !(`nn.${name}` in entries) && names.every((each) => /^\w+$/.test(each));
    entries[isFirst ? (name in saccade ? name : `nn.${name}`) : `${name} of ${names.join(', ')}`] = {
      args,
      call: isFirst ? own : call,
    };
  }
  return entries;
}

/** The axes of a tensor by their letters, but for leading ones that broadcast. */
const lettersOf = ({ axes }: TensorSpec): readonly string[] => axes.split(' ').filter((letter) => letter !== '*');

/** The letters of all tensors but that of one name. */
const lettersBeside = (specs: Readonly<Record<string, Spec>>, name?: string): readonly string[] =>
  Object.entries(specs).flatMap(([each, spec]) => (each !== name && 'axes' in spec ? lettersOf(spec) : []));

/** Whether it has no default. */
function isNeeded(setting: Setting): boolean {
  try {
    setting.check('', undefined, { d: 2 }, {});
    return false;
  } catch {
    return true;
  }
}

/** An export that is a declared op, or those in an object of them. */
const declaredIn = (value: unknown): readonly Declared[] =>
  isDeclared(value) ? [value] : isRecord(value) ? Object.values(value).filter(isDeclared) : [];
const isDeclared = (value: unknown): value is Declared => typeof value === 'function' && 'declaration' in value;
