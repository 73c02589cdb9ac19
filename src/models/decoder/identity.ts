/** A name for what the numbers in a cache follow from, other than tokens. */
import { isRecord } from '../../check';
import type { Parameters } from '../../nn/module';
import { PackedWeight } from '../../ops/packed';
import type { Tensor } from '../../tensor/tensor';
import { sha256 } from '../../weights/sha256';

/** A weight is known by so many blocks, spread evenly from its first number to its last, of so many numbers. */
const BLOCKS = 8;
const BLOCK = 512;

/**
 * The SHA-256 of settings and, by name, of the types, shapes and 8 blocks of 512 numbers of each parameter: tells models and steps
 * of training apart, which differ all over, but not weights that differ only between these blocks.
 */
export async function identityOf(parameters: Parameters, settings: unknown): Promise<string> {
  const hash = sha256();
  const encoder = new TextEncoder();
  hash.update(encoder.encode(JSON.stringify(settings, asText)));
  for (const [name, weight] of Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const isTransposed = weight instanceof PackedWeight && weight.isTransposed;
    hash.update(encoder.encode(JSON.stringify([name, weight.dtype, weight.shape, isTransposed])));
    for (const part of weight instanceof PackedWeight ? Object.values(weight.parts) : [weight]) {
      if (!part) continue;
      for (const { buffer, byteOffset, byteLength } of await blocksOf(part))
        hash.update(new Uint8Array(buffer, byteOffset, byteLength));
    }
  }
  return hash.digest('hex');
}

/** Read at once, since a GPU takes its time for each. */
async function blocksOf(weight: Tensor) {
  using numbers = weight.reshape([weight.size]);
  const { size } = numbers;
  const count = size <= BLOCKS * BLOCK ? 1 : BLOCKS;
  const extent = count === 1 ? size : BLOCK;
  const blocks = Array.from({ length: count }, async (_, at) => {
    const from = Math.floor((at * (size - extent)) / Math.max(1, count - 1));
    using block = numbers.slice(0, from, from + extent);
    return (await block.toHost()).data;
  });
  return Promise.all(blocks);
}

/** Methods are known by their names; whatever order the names of a record come in, and what JSON has no word for, counts. */
function asText(_: string, value: unknown): unknown {
  if (typeof value === 'function' || typeof value === 'number') return String(value);
  if (!isRecord(value)) return value;
  if ('forward' in value) return value.name;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
