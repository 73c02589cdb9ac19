/** A name for what the numbers in a cache follow from, other than tokens. */
import { isRecord } from '../../check';
import type { Parameters } from '../../nn/module';
import { PackedWeight } from '../../ops/packed';

/** The SHA-256 of settings and of all bytes of parameters, by their names. */
export async function identityOf(parameters: Parameters, settings: unknown): Promise<string> {
  const { sha256 } = await import('../../weights/sha256');
  const hash = sha256();
  const encoder = new TextEncoder();
  hash.update(encoder.encode(JSON.stringify(settings, asText)));
  for (const [name, weight] of Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const isTransposed = weight instanceof PackedWeight && weight.isTransposed;
    hash.update(encoder.encode(JSON.stringify([name, weight.dtype, weight.shape, isTransposed])));
    for (const part of weight instanceof PackedWeight ? Object.values(weight.parts) : [weight]) {
      if (!part) continue;
      const { buffer, byteOffset, byteLength } = (await part.toHost()).data;
      hash.update(new Uint8Array(buffer, byteOffset, byteLength));
    }
  }
  return hash.digest('hex');
}

/** Methods are known by their names; whatever order the names of a record come in, and what JSON has no word for, counts. */
function asText(_: string, value: unknown): unknown {
  if (typeof value === 'function' || typeof value === 'number') return String(value);
  if (!isRecord(value)) return value;
  if ('forward' in value) return value.name;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
