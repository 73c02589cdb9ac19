/** Indexes as tensors of a file, and back: an index is of its keys, and of no others. */
import { checkRecord } from '../../check';
import { ParameterError } from '../../errors';
import { checkHost, type HostTensor, hostTensor, toFloat64 } from '../../tensor/host';
import { formatShape, type Shape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkTensors } from '../check';
import { DTYPES_OF_INDEX, type TensorsOfIndex } from './call';
import { KeyIndex, shapesOfIndex } from './key-index';

const KINDS = ['graph', 'ivf'] as const;

/** A number that depends on all elements, by FNV-1a over their bits. */
function hashOf(data: ArrayLike<number> & ArrayBufferView): number {
  const words = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let hash = 0x811c9dc5;
  for (const byte of words) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

/** The hash of the keys of an index. */
async function keysHash(k: Tensor, first: number, past: number): Promise<number> {
  using keys = k.runtime.scope(() => k.slice(1, first, past));
  return past > first ? hashOf((await keys.toHost()).data as Float32Array) : 0;
}

/**
 * An index as tensors, which `writeSafetensors` writes beside the cache of its keys, k [b, m, g, d].
 *
 * @throws {ParameterError} keys that are fewer than those of the index
 */
export async function saveKeyIndex(index: KeyIndex, k: Tensor): Promise<Record<string, HostTensor>> {
  if (!(index instanceof KeyIndex)) throw new ParameterError('index must be one that keyIndex made');
  checkKeys(k, index.past);
  const about = [KINDS.indexOf(index.kind), index.first, index.past, await keysHash(k, index.first, index.past)];
  const saved: Record<string, HostTensor> = { about: hostTensor(Int32Array.from(about), [about.length], 'i32') };
  for (const [name, tensor] of Object.entries(index.tensors)) if (tensor) saved[name] = await tensor.toHost();
  return saved;
}

/**
 * The index that `saveKeyIndex` gave the tensors of, on the runtime of its keys k [b, m, g, d].
 *
 * @throws {ParameterError} tensors that are none of an index, or of an index of other keys
 */
export async function loadKeyIndex(k: Tensor, saved: Readonly<Record<string, HostTensor>>): Promise<KeyIndex> {
  checkRecord('saved', saved);
  const about = namedIn(saved, 'about');
  const [code = -1, first = 0, past = 0, hash] = toFloat64(about);
  checkKeys(k, past);
  const kind = KINDS[code] as KeyIndex['kind'];
  const [b, , g, d] = k.shape as [number, number, number, number];
  const [edges, entries] = [namedIn(saved, 'edges'), namedIn(saved, 'entries')];
  const [, , capacity = 0, degree = 0] = edges.shape;
  const shapes = shapesOfIndex(kind, { b, g, d, capacity, degree, starts: entries.shape[2] ?? 0 });
  const tensors: Record<'edges' | 'entries', HostTensor> & Record<string, HostTensor> = { edges, entries };
  const isAs = ([name, shape]: [string, Shape]) => {
    const host = namedIn(saved, name);
    tensors[name] = host;
    return sameShape(host.shape, shape) && host.dtype === DTYPES_OF_INDEX[name as keyof TensorsOfIndex];
  };
  const isKnown = kind !== undefined && first >= 0 && past >= first && capacity >= past - first;
  if (!isKnown || !Object.entries(shapes).every(isAs))
    throw new ParameterError(`saved must be an index of keys of shape ${formatShape(k.shape)}, got other tensors`);
  if ((await keysHash(k, first, past)) !== hash)
    throw new ParameterError('saved is the index of other keys: make one of these by keyIndex');
  checkPlaces(tensors, kind, first, past);
  const { runtime } = k;
  const made = Object.entries(tensors).map(([name, host]) => [name, runtime.fromHost(host as HostTensor<'i32'>)]);
  return new KeyIndex(runtime, kind, first, past, Object.fromEntries(made));
}

function namedIn(saved: Readonly<Record<string, HostTensor>>, name: string): HostTensor {
  const host = saved[name];
  if (host === undefined) throw new ParameterError(`saved must have '${name}', as saveKeyIndex gives it`);
  checkHost(`${name} of saved`, host);
  return host;
}

/** Throws unless all that edges and entries lead to are keys of the index, and cells end. */
function checkPlaces(
  { edges, entries }: { readonly edges: HostTensor; readonly entries: HostTensor },
  kind: KeyIndex['kind'],
  first: number,
  past: number,
): void {
  const [b, g, capacity, degree] = edges.shape as [number, number, number, number];
  const [all, starts] = [toFloat64(edges), toFloat64(entries)];
  const isKey = (key: number) => key === -1 || (Number.isInteger(key) && key >= first && key < past);
  const refuse = () => {
    throw new ParameterError('edges and entries of saved must lead to keys of the index');
  };
  if (!starts.every(isKey)) refuse();
  const cells = starts.length / (b * g);
  for (let head = 0; head < b * g; head++) {
    const own = all.subarray(head * capacity * degree, (head * capacity + past - first) * degree);
    if (!own.every(isKey)) refuse();
    if (kind === 'graph') continue;
    let left = past - first;
    for (let key of starts.subarray(head * cells, (head + 1) * cells))
      for (; key >= 0; key = own[key - first] as number) if (--left < 0) refuse();
  }
}

function checkKeys(k: Tensor, past: number): void {
  checkTensors({ k });
  if (k.rank !== 4 || (k.shape[1] as number) < past)
    throw new ParameterError(`k must be [b, m, g, d] with the ${past} keys of the index, got ${formatShape(k.shape)}`);
}
