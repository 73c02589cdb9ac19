/**
 * True attention maps without an n x m buffer: exact attention over values that are the indicator of the key's bin
 * gives, for each query, its probability per bin; the host averages over bins of queries.
 */
import { show } from '../check';
import { ParameterError } from '../errors';
import { attention } from '../ops/attention';
import type { Control } from '../runtime/backend';
import { fromFloat16, toFloat16 } from '../tensor/float16';
import { toFloat64 } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import type { AttentionMaps } from './comparison';

const MOST_BINS = 256;
/** Queries whose probabilities are held at once. */
const CHUNK = 4096;

/** Maps of every head of exact full attention for q [b, n, h, d] and k [b, m, g, d], at most 256 x 256. */
export async function attentionMaps(q: Tensor, k: Tensor, { signal, onProgress }: Control): Promise<AttentionMaps> {
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const queriesPerBin = Math.ceil(n / MOST_BINS);
  const keysPerBin = Math.ceil(m / MOST_BINS);
  const [queryBins, keyBins] = [Math.ceil(n / queriesPerBin), Math.ceil(m / keysPerBin)];
  const heads = Array.from({ length: h }, () => new Float64Array(queryBins * keyBins));

  using bins = q.runtime.tensor(binIndicator(b, m, keysPerBin, keyBins), [b, m, 1, keyBins]);
  // One key head at a time, so that the indicator is held once and not for each of them.
  for (let group = 0; group < g; group++) {
    using keys = k.slice(2, group, group + 1);
    for (let start = 0; start < n; start += CHUNK) {
      const rows = Math.min(CHUNK, n - start);
      using chunk = q.slice(1, start, start + rows);
      using queries = chunk.slice(2, (group * h) / g, ((group + 1) * h) / g);
      const progress = (share: number) => onProgress?.((group + (start + share * rows) / n) / g);
      const { out, lse } = attention(queries, keys, bins, { signal, onProgress: progress });
      using probabilities = out;
      lse.dispose();
      addRows(toFloat64(await probabilities.toHost()), start, rows, (group * h) / g);
    }
  }
  return { queryBins, queriesPerBin, keyBins, keysPerBin, heads: heads.map(encodeFloat16) };

  /** Adds probabilities [b, rows, h / g, keyBins], of the queries from `start` and the heads from `head`. */
  function addRows(probabilities: Float64Array, start: number, rows: number, head: number): void {
    for (let row = 0; row < (b * rows * h) / g; row++) {
      const query = start + (Math.floor((row * g) / h) % rows);
      const bin = Math.floor(query / queriesPerBin);
      const averaged = b * Math.min(queriesPerBin, n - bin * queriesPerBin);
      const map = heads[head + (row % (h / g))] as Float64Array;
      for (let c = 0; c < keyBins; c++) {
        const at = bin * keyBins + c;
        map[at] = (map[at] as number) + (probabilities[row * keyBins + c] as number) / averaged;
      }
    }
  }
}

/** [b, m, 1, keyBins]: 1 where the key is in the bin, else 0. */
function binIndicator(b: number, m: number, keysPerBin: number, keyBins: number): Float32Array {
  const indicator = new Float32Array(b * m * keyBins);
  for (let row = 0; row < b * m; row++) indicator[row * keyBins + Math.floor((row % m) / keysPerBin)] = 1;
  return indicator;
}

/** Base64 of float16 bits, little-endian. */
export function encodeFloat16(map: Float64Array): string {
  const bytes = new Uint8Array(2 * map.length);
  const view = new DataView(bytes.buffer);
  map.forEach((value, at) => {
    view.setUint16(2 * at, toFloat16(value), true);
  });
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

function binaryOf(head: string): string {
  try {
    if (typeof head === 'string' && atob(head).length % 2 === 0) return atob(head);
  } catch {
    // No base64: reported below.
  }
  throw new ParameterError(`head must be base64 of float16 numbers, got ${show(head)}`);
}

/** The shares of one head of `AttentionMaps`, [queryBins, keyBins], or of `Glances`. */
export function decodeMap(head: string): Float32Array {
  const bytes = Uint8Array.from(binaryOf(head), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, at) => fromFloat16(view.getUint16(2 * at, true)));
}
