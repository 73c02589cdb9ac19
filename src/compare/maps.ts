/**
 * True attention maps without an n x m buffer: exact attention over values that are the indicator of the key's bin
 * gives, for each query, its probability per bin; averaging over a bin of queries is left to the host.
 */
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

  const indicator = new Float32Array(b * m * g * keyBins);
  for (let row = 0; row < b * m * g; row++) {
    const key = Math.floor(row / g) % m;
    indicator[row * keyBins + Math.floor(key / keysPerBin)] = 1;
  }
  const bins = q.runtime.tensor(indicator, [b, m, g, keyBins]);
  try {
    for (let start = 0; start < n; start += CHUNK) {
      const rows = Math.min(CHUNK, n - start);
      const progress = (share: number) => onProgress?.((start + share * rows) / n);
      addRows(await probabilities(start, rows, { signal, onProgress: progress }), start, rows);
    }
  } finally {
    bins.dispose();
  }
  return { queryBins, queriesPerBin, keyBins, keysPerBin, heads: heads.map(encodeMap) };

  /** Probability per key bin [b, rows, h, keyBins] of the queries from `start`. */
  async function probabilities(start: number, rows: number, control: Control): Promise<Float64Array> {
    const queries = q.slice(1, start, start + rows);
    try {
      const { out, lse } = await attention(queries, k, bins, control);
      lse.dispose();
      const host = await out.toHost();
      out.dispose();
      return toFloat64(host);
    } finally {
      queries.dispose();
    }
  }

  function addRows(shares: Float64Array, start: number, rows: number): void {
    for (let row = 0; row < b * rows * h; row++) {
      const bin = Math.floor((start + (Math.floor(row / h) % rows)) / queriesPerBin);
      const queries = b * Math.min(queriesPerBin, n - bin * queriesPerBin);
      const map = heads[row % h] as Float64Array;
      for (let c = 0; c < keyBins; c++) {
        const at = bin * keyBins + c;
        map[at] = (map[at] as number) + (shares[row * keyBins + c] as number) / queries;
      }
    }
  }
}

function encodeMap(map: Float64Array): string {
  const bytes = new Uint8Array(2 * map.length);
  const view = new DataView(bytes.buffer);
  map.forEach((value, at) => {
    view.setUint16(2 * at, toFloat16(value), true);
  });
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

/** The [queryBins, keyBins] shares of one head of `AttentionMaps`. */
export function decodeMap(head: string): Float32Array {
  const bytes = Uint8Array.from(atob(head), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, at) => fromFloat16(view.getUint16(2 * at, true)));
}
