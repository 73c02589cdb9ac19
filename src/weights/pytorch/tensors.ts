/** What checkpoints of PyTorch hold beside plain values: tensors over storages, of which only the places are known. */
import { show } from '../../check';
import { ParseError } from '../../errors';
import { quote } from '../../io/bytes';
import { bytesPerElement, type HostDType } from '../../tensor/dtype';
import { formatShape, isContiguous, lastElement, type Shape, sizeOf } from '../../tensor/shape';
import type { UnreadType } from '../stored';
import { Dict, Global, type PickleRules } from './pickle';

/** Elements in a file, which tensors view. */
export interface Storage {
  readonly type: HostDType | UnreadType;
  /** Bytes of an element. */
  readonly bytes: number;
  /** What the file calls it. */
  readonly key: string;
  /** In elements. */
  readonly size: number;
  /** The first element of a view. */
  readonly offset: number;
}

/** A view of a storage. */
export class PickledTensor {
  constructor(
    readonly storage: Storage,
    /** In elements of the storage, as strides are. */
    readonly offset: number,
    readonly shape: Shape,
    /** Undefined where elements are in row-major order. */
    readonly strides: readonly number[] | undefined,
  ) {}
}

const STORAGE = /^torch\.(?:cuda\.|storage\.)?(\w+)Storage$/;
/** Booleans are 0 and 1. */
const TYPES: Readonly<Record<string, HostDType>> = {
  ...{ Float: 'f32', Double: 'f64', Half: 'f16', BFloat16: 'bf16' },
  ...{ Long: 'i64', Int: 'i32', Char: 'i8', Byte: 'u8', Bool: 'u8', Untyped: 'u8' },
};
/** Those that are told, but not read, with their bytes: of storages, and of tensors that have an untyped one. */
const UNREAD: Readonly<Record<string, readonly [type: UnreadType, bytes: number]>> = {
  ...{ Short: ['I16', 2], ComplexFloat: ['C64', 8], ComplexDouble: ['C128', 16] },
  ...{ 'torch.uint16': ['U16', 2], 'torch.uint32': ['U32', 4], 'torch.uint64': ['U64', 8] },
  ...{ 'torch.float8_e4m3fn': ['F8_E4M3', 1], 'torch.float8_e5m2': ['F8_E5M2', 1] },
  ...{ 'torch.float8_e4m3fnuz': ['F8_E4M3FNUZ', 1], 'torch.float8_e5m2fnuz': ['F8_E5M2FNUZ', 1] },
  'torch.float8_e8m0fnu': ['F8_E8M0', 1],
};
/** Names of element types, which checkpoints hold as values. */
const DTYPE = /^torch\.(u?int|float|complex|bfloat|bool|half|double|long)\w*$/;

const first = (name: string) => new Global(name, ([value]) => value);

/** The functions and classes that are known. Python 2 has its own in another module. */
const GLOBALS: ReadonlyMap<string, Global> = new Map(
  [
    new Global('collections.OrderedDict', ([pairs = []]) => dictOf(pairs)),
    // A dictionary of counts; given one it is a copy of it.
    new Global('collections.Counter', ([counts = new Dict()]) => counts),
    ...['torch.Size', 'builtins.set', '__builtin__.set', '_codecs.encode', 'builtins.bytearray'].map(first),
    new Global('torch.device', (given) =>
      given.map((part) => (typeof part === 'object' ? show(part) : part)).join(':'),
    ),
    new Global('torch._utils._rebuild_tensor', ([storage, offset, shape, strides]) =>
      tensorOf(storage, offset, shape, strides),
    ),
    new Global('torch._utils._rebuild_tensor_v2', ([storage, offset, shape, strides, , , bits]) => {
      if (bits instanceof Dict && bits.entries.size > 0)
        throw new ParseError('a tensor is negated or conjugated lazily: resolve it before it is saved');
      return tensorOf(storage, offset, shape, strides);
    }),
    new Global('torch._utils._rebuild_tensor_v3', ([storage, offset, shape, strides, , , dtype]) =>
      tensorOf(typed(storage, dtype), offset, shape, strides),
    ),
    ...['torch._utils._rebuild_parameter', 'torch._utils._rebuild_parameter_with_state'].map(first),
  ].map((known) => [known.name, known]),
);

export const PYTORCH: PickleRules = {
  global(name) {
    if (DTYPE.test(name)) return name;
    return GLOBALS.get(name) ?? (STORAGE.test(name) ? new Global(name) : undefined);
  },
  persistent: storageOf,
};

function dictOf(pairs: unknown): Dict {
  const dict = new Dict();
  if (!Array.isArray(pairs)) throw new ParseError(`an OrderedDict is made of ${show(pairs)}, expected pairs`);
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new ParseError(`an OrderedDict is made of ${show(pair)}, expected pairs`);
    dict.entries.set(pair[0], pair[1]);
  }
  return dict;
}

/** ('storage', class, key, device, elements), in old files with what it views of another: (key, first element, elements). */
function storageOf(id: unknown): Storage {
  const [kind, type, key, , size, view] = Array.isArray(id) ? id : [];
  if (kind !== 'storage' || !(type instanceof Global) || typeof key !== 'string' || !isCount(size))
    throw new ParseError(`a storage is described by ${show(id)}`);
  const name = STORAGE.exec(type.name)?.[1] ?? type.name;
  const known = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  const [element, bytes] = known ? [known, bytesPerElement(known)] : unreadType(name);
  if (!element)
    throw new ParseError(`elements of ${quote(type.name)} are not read, only ${Object.keys(TYPES).join(', ')}`);
  const [, offset = 0] = Array.isArray(view) ? view : [];
  if (!isCount(offset)) throw new ParseError(`storage ${quote(key)} is a view from ${show(offset)} on`);
  return { type: element, bytes, key, size, offset };
}

const unreadType = (name: string) => (Object.hasOwn(UNREAD, name) ? (UNREAD[name] as (typeof UNREAD)[string]) : []);

/** Bytes that are elements of a type. */
function typed(storage: unknown, dtype: unknown): unknown {
  const [type, bytes] = unreadType(String(dtype));
  if (!isStorage(storage) || storage.type !== 'u8' || !type || bytes === undefined)
    throw new ParseError(`a tensor of ${show(dtype)} in ${isStorage(storage) ? storage.type : show(storage)}`);
  return { ...storage, type, bytes, size: storage.size / bytes };
}

function isStorage(value: unknown): value is Storage {
  return typeof value === 'object' && value !== null && 'key' in value && 'size' in value;
}

function tensorOf(storage: unknown, offset: unknown, shape: unknown, strides: unknown): PickledTensor {
  if (
    !isStorage(storage) ||
    !isCount(offset) ||
    !isCounts(shape) ||
    !isCounts(strides) ||
    shape.length !== strides.length
  )
    throw new ParseError(
      `a tensor of shape ${show(shape)}, strides ${show(strides)} and offset ${show(offset)} of no storage`,
    );
  const start = storage.offset + offset;
  const end = sizeOf(shape) === 0 ? start : lastElement(shape, strides, start) + 1;
  if (!(end <= storage.size)) {
    const view = `a tensor ${formatShape(shape)} with strides ${formatShape(strides)} from ${start} on`;
    throw new ParseError(`${view} goes beyond the ${storage.size} elements of storage ${quote(storage.key)}`);
  }
  return new PickledTensor(storage, start, shape, isContiguous(shape, strides) ? undefined : strides);
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every(isCount) && Number.isSafeInteger(sizeOf(value));
