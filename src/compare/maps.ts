/**
 * True attention maps without an n x m buffer: exact attention over values that are the indicator of the key's bin
 * gives, for each query, its probability per bin. Some bins of keys at a time, since an indicator of all would be mostly zeros;
 * the host joins those by their log-sum-exps and averages over bins of queries.
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
/** Bins of keys at a time. */
const SEGMENT = 32;

/** Maps of every head of exact full attention for q [b, n, h, d] and k [b, m, g, d], at most 256 x 256. */
export async function attentionMaps(q: Tensor, k: Tensor, { signal, onProgress }: Control): Promise<AttentionMaps> {
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const queriesPerBin = Math.ceil(n / MOST_BINS);
  const keysPerBin = Math.ceil(m / MOST_BINS);
  const [queryBins, keyBins] = [Math.ceil(n / queriesPerBin), Math.ceil(m / keysPerBin)];
  const heads = Array.from({ length: h }, () => new Float64Array(queryBins * keyBins));

  const width = Math.min(SEGMENT, keyBins);
  const most = Math.min(m, width * keysPerBin);
  using bins = q.runtime.tensor(binIndicator(b, most, keysPerBin, width), [b, most, 1, width]);
  const segments = Math.ceil(keyBins / width);
  // One key head at a time, so that the indicator is held once and not for each of them.
  for (let group = 0; group < g; group++) {
    using keys = k.slice(2, group, group + 1);
    for (let start = 0; start < n; start += CHUNK) {
      const rows = Math.min(CHUNK, n - start);
      using chunk = q.slice(1, start, start + rows);
      using queries = chunk.slice(2, (group * h) / g, ((group + 1) * h) / g);
      const parts: Part[] = [];
      for (let segment = 0; segment < segments; segment++) {
        const first = segment * most;
        const count = Math.min(most, m - first);
        using some = keys.slice(1, first, first + count);
        using own = bins.slice(1, 0, count);
        const share = (start + (rows * segment) / segments) / n;
        const progress = (part: number) => onProgress?.((group + share + (part * rows) / segments / n) / g);
        const { out, lse } = attention(queries, some, own, { signal, onProgress: progress });
        using probabilities = out;
        using sums = lse;
        parts.push({
          probabilities: toFloat64(await probabilities.toHost()),
          lse: toFloat64(await sums.toHost()),
        });
      }
      const largest = logSumExp(parts.map(({ lse }) => lse));
      for (const [segment, part] of parts.entries())
        addRows(part, largest, segment * width, start, rows, (group * h) / g);
    }
  }
  return { queryBins, queriesPerBin, keyBins, keysPerBin, heads: heads.map(encodeFloat16) };

  /** Adds probabilities [b, rows, h / g, width] of the bins from `first`, of the queries from `start` and the heads from `head`. */
  function addRows(
    { probabilities, lse }: Part,
    ofAll: Float64Array,
    first: number,
    start: number,
    rows: number,
    head: number,
  ): void {
    const columns = Math.min(width, keyBins - first);
    for (let row = 0; row < (b * rows * h) / g; row++) {
      const query = start + (Math.floor((row * g) / h) % rows);
      const bin = Math.floor(query / queriesPerBin);
      const averaged = b * Math.min(queriesPerBin, n - bin * queriesPerBin);
      const share = Math.exp((lse[row] as number) - (ofAll[row] as number)) / averaged;
      const map = heads[head + (row % (h / g))] as Float64Array;
      for (let c = 0; c < columns; c++) {
        const at = bin * keyBins + first + c;
        map[at] = (map[at] as number) + share * (probabilities[row * width + c] as number);
      }
    }
  }
}

/** What a segment of keys gives: probabilities among these, and the log-sum-exp of each row. */
interface Part {
  readonly probabilities: Float64Array;
  readonly lse: Float64Array;
}

function logSumExp(parts: readonly Float64Array[]): Float64Array {
  return (parts[0] as Float64Array).map((_, row) => {
    const largest = parts.reduce((most, part) => Math.max(most, part[row] as number), Number.NEGATIVE_INFINITY);
    return largest + Math.log(parts.reduce((sum, part) => sum + Math.exp((part[row] as number) - largest), 0));
  });
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
