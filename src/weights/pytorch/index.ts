/**
 * Checkpoints that `torch.save` writes, in its zip form and in that of before PyTorch 1.6: tensors in plain containers, of
 * which nothing is executed and only the places of tensors are read.
 */
import { show } from '../../check';
import { ParseError } from '../../errors';
import { quote } from '../../io/bytes';
import { crc32 } from '../../io/zip';
import { formatShape, lastElement, sizeOf } from '../../tensor/shape';
import { Cursor, readAhead } from '../read-ahead';
import { type ByteSource, type ReadOptions, sourceOf } from '../source';
import type { StoredTensor, WeightFile } from '../stored';
import { type ArchiveEntry, openArchive } from './archive';
import { contentsOf } from './contents';
import { Dict, type PickleRules, unpickle } from './pickle';
import { type PickledTensor, PYTORCH, type Storage } from './tensors';

/** A pickle's value, and where the storages of its tensors are. */
interface Checkpoint {
  readonly value: unknown;
  /** All elements of a storage. */
  storage(storage: Storage): ByteSource | undefined;
}

const LARGEST_PICKLE = 2 ** 26;
const ZIP = [0x50, 0x4b];

/**
 * A checkpoint. Where a dictionary has the tensors under `state_dict`, `model` or the like they are those of the model, else
 * those of all containers by dotted names, without those of optimizers; what else there is, is named in the metadata.
 *
 * @throws {ParseError} that names the file, and what in it is neither a tensor nor plain
 */
export async function readPytorch(source: ByteSource, options: ReadOptions = {}): Promise<WeightFile> {
  const beginning = await source.read(0, Math.min(ZIP.length, source.size), options);
  const isZip = ZIP.every((byte, at) => beginning[at] === byte);
  const checkpoint = await (isZip ? readZip(source, options) : readLegacy(source, options));
  const { tensors, metadata } = contentsOf(source.name, checkpoint.value);
  const stored = [...tensors].map(([name, tensor]) => [name, storedOf(source, name, tensor, checkpoint)] as const);
  return { format: 'pytorch', metadata, tensors: new Map(stored) };
}

async function readZip(source: ByteSource, options: ReadOptions): Promise<Checkpoint> {
  const archive = await openArchive(source, options);
  const pickles = [...archive.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [name] = pickles;
  if (name === undefined)
    throw new ParseError(
      `${source.name} is a zip archive without a checkpoint of PyTorch: unpack it, and open what is in it`,
    );
  if (pickles.length > 1)
    throw new ParseError(`${source.name}: expected an archive with one data.pkl, got ${pickles.length} of them`);
  const root = name.slice(0, -'data.pkl'.length);
  if (archive.has(`${root}constants.pkl`))
    throw new ParseError(`${source.name} is a program of TorchScript: save the state_dict() of its module`);
  const order = archive.get(`${root}byteorder`);
  if (order) checkOrder(source, new TextDecoder().decode(await order.source.read(0, order.size, options)));
  const { label, size, crc, source: content } = archive.get(name) as ArchiveEntry;
  if (size > LARGEST_PICKLE) throw new ParseError(`${label} takes ${size} bytes, expected at most ${LARGEST_PICKLE}`);
  const bytes = await content.read(0, size, options);
  if (crc32(bytes) !== crc) throw new ParseError(`${label} is damaged: its checksum is another one`);
  const cursor = new Cursor(bytes, source.name);
  return {
    value: unpickle(cursor, PYTORCH, memoryFor(source, cursor)),
    storage: ({ key }) => archive.get(`${root}data/${key}`)?.source,
  };
}

function checkOrder({ name }: ByteSource, order: string): void {
  if (order !== 'little') throw new ParseError(`${name}: elements must be little-endian, got ${quote(order)}`);
}

/** Values of the pickle take no more than what is left of the file's size, and a little. */
const memoryFor = (source: ByteSource, { bytes }: Cursor) => 2 ** 24 + Math.max(0, source.size - bytes.length);

const MAGIC = 0x1950a86a20f9469cfc6cn;
const VERSION = 1001;
const PLAIN: PickleRules = {
  global: () => undefined,
  persistent: () => {
    throw new ParseError('a storage is where none is expected');
  },
};

async function readLegacy(source: ByteSource, options: ReadOptions): Promise<Checkpoint> {
  const { value, keys, storages, end } = await readAhead(source, 0, LARGEST_PICKLE, parseLegacy(source), options);
  const places = new Map<string, ByteSource>();
  let at = end;
  for (const key of keys) {
    const storage = storages.get(key);
    if (!storage || places.has(key)) throw new ParseError(`${source.name}: storage ${quote(key)} is listed, not used`);
    const length = storage.size * storage.bytes;
    if (!(at + COUNT_BYTES + length <= source.size))
      throw new ParseError(`${source.name}: storage ${quote(key)} takes ${length} bytes, ${source.size - at} are left`);
    places.set(key, countedSource(source, storage, at, length));
    at += COUNT_BYTES + length;
  }
  return { value, storage: ({ key }) => places.get(key) };
}

/** Five pickles: a magic number, the version, the system, the value, and the keys of the storages in their order. */
const parseLegacy = (source: ByteSource) => (cursor: Cursor) => {
  const next = (rules: PickleRules) => unpickle(cursor, rules, memoryFor(source, cursor));
  const magic = next(PLAIN);
  if (magic !== MAGIC) throw new ParseError(`${source.name} is a pickle, but no checkpoint of PyTorch`);
  const version = next(PLAIN);
  if (version !== VERSION) throw new ParseError(`${source.name}: expected version ${VERSION}, got ${show(version)}`);
  const system = next(PLAIN);
  const isBig = system instanceof Dict && system.entries.get('little_endian') === false;
  checkOrder(source, isBig ? 'big' : 'little');
  const storages = new Map<string, Storage>();
  const value = next({
    ...PYTORCH,
    persistent(id) {
      const storage = PYTORCH.persistent(id) as Storage;
      storages.set(storage.key, storage);
      return storage;
    },
  });
  const keys = next(PLAIN);
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string'))
    throw new ParseError(`${source.name}: the keys of its storages must be a list of texts`);
  return { value, keys: keys as string[], storages, end: cursor.at };
};

const COUNT_BYTES = 8;

/** Elements behind their count, which is checked when they are read. */
function countedSource(source: ByteSource, { key, size }: Storage, at: number, length: number): ByteSource {
  const start = at + COUNT_BYTES;
  let isChecked = false;
  return sourceOf(source.name, length, async (from, to, options) => {
    if (!isChecked) {
      const count = new Cursor(await source.read(at, start, options), source.name).count('a count');
      if (count !== size)
        throw new ParseError(`${source.name}: storage ${quote(key)} must have ${size} elements, got ${count}`);
      isChecked = true;
    }
    return source.read(start + from, start + to, options);
  });
}

function storedOf(file: ByteSource, name: string, tensor: PickledTensor, checkpoint: Checkpoint): StoredTensor {
  const { storage, offset, shape, strides } = tensor;
  const label = `${file.name}: tensor ${quote(name)}`;
  const source = checkpoint.storage(storage);
  if (!source) throw new ParseError(`${label}: there is no storage ${quote(storage.key)}`);
  const { bytes } = storage;
  if (source.size !== storage.size * bytes)
    throw new ParseError(
      `${label}: storage ${quote(storage.key)} has ${source.size} bytes, ${storage.size} elements of ${storage.type} take ${storage.size * bytes}`,
    );
  const size = sizeOf(shape);
  if (size * bytes > file.size)
    throw new ParseError(`${label} ${formatShape(shape)} repeats elements: make it contiguous before it is saved`);
  const isDense = strides === undefined || size === 0;
  const span = isDense ? size : lastElement(shape, strides, 0) + 1;
  return {
    name,
    type: storage.type,
    shape,
    source,
    start: offset * bytes,
    byteLength: span * bytes,
    strides: isDense ? undefined : strides,
  };
}
