import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';
import { dotAt } from '../../tensor/wide';
import { LARGEST, type QUANTIZE, QUERY_GROUP } from './params';

/** As `estimatedBlocks` takes them; contiguous. */
export interface EstimatedBlocksCall {
  readonly q: Tensor;
  readonly center: Tensor;
  readonly k: Tensor;
  readonly limits: Tensor;
  readonly spans: Tensor;
  readonly queryBlock: number;
  readonly keyBlock: number;
  readonly quantize: (typeof QUANTIZE)[number];
  readonly kept: Tensor;
}

/** Every pair by itself, in float64. */
export function estimatedBlocks(call: EstimatedBlocksCall, { numbers, store }: Host): void {
  const { q, k, queryBlock, keyBlock, quantize, kept } = call;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const [, , queryBlocks, keyBlocks] = kept.shape as [number, number, number, number];
  const [center, keys] = [numbers(call.center), numbers(k)];
  const [limits, spans] = [numbers(call.limits), numbers(call.spans)];
  const rows = rounded(numbers(q), [b, n, h, d], quantize, (i) => Math.floor(i / QUERY_GROUP) * 8 + (i % 8));
  const columns = rounded(keys, [b, m, g, d], quantize, (j) => {
    const block = Math.floor(j / keyBlock);
    return 4 * block + (((j - block * keyBlock) % 8) >> 1);
  });
  const result = new Float64Array(kept.size);
  const isAbove = (batch: number, head: number, i: number, block: number) => {
    const row = (batch * n + i) * h + head;
    const past = Math.min((block + 1) * keyBlock, m, i + m - n + 1);
    for (let j = block * keyBlock; j < past; j++) {
      const column = (batch * m + j) * g + Math.floor((head * g) / h);
      const bias = dotAt(center, (batch * h + head) * d, keys, column * d, d);
      const estimate = dotAt(rows.integers, row * d, columns.integers, column * d, d);
      if (rows.scales[row]! * columns.scales[column]! * estimate + bias > limits[row]!) return true;
    }
    return false;
  };
  for (let at = 0; at < kept.size; at++) {
    const block = at % keyBlocks;
    const a = Math.floor(at / keyBlocks) % queryBlocks;
    const head = Math.floor(at / keyBlocks / queryBlocks) % h;
    const batch = Math.floor(at / keyBlocks / queryBlocks / h);
    const [estimated, seen] = [spans[2 * a]!, spans[2 * a + 1]!];
    if (block >= seen) continue;
    const queries = Array.from({ length: Math.min(queryBlock, n - a * queryBlock) }, (_, r) => a * queryBlock + r);
    if (block === 0 || block >= estimated || queries.some((i) => isAbove(batch, head, i, block))) result[at] = 1;
  }
  store(kept, result);
}

/** x [b,n,h,d] as integers times the scale of each row: rows of one group share it. */
function rounded(
  x: Float64Array,
  [b, n, h, d]: readonly [number, number, number, number],
  quantize: EstimatedBlocksCall['quantize'],
  groupOf: (token: number) => number,
): Record<'integers' | 'scales', Float64Array> {
  const scales = new Float64Array(b * n * h).fill(1);
  if (quantize === 'none') return { integers: x, scales };
  const largest = new Map<string, number>();
  const keyOf = (row: number) => {
    const token = Math.floor(row / h) % n;
    return [Math.floor(row / h / n), row % h, quantize === 'thread' ? groupOf(token) : token].join();
  };
  for (let row = 0; row < scales.length; row++) {
    const most = x.subarray(row * d, (row + 1) * d).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    largest.set(keyOf(row), Math.max(most, largest.get(keyOf(row)) ?? 0));
  }
  const integers = new Float64Array(x.length);
  for (let row = 0; row < scales.length; row++) {
    const scale = (largest.get(keyOf(row)) as number) / LARGEST;
    scales[row] = scale;
    if (scale > 0) for (let c = row * d; c < (row + 1) * d; c++) integers[c] = halfToEven(x[c]! / scale);
  }
  return { integers, scales };
}

function halfToEven(x: number): number {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + Math.abs(below % 2) : Math.round(x);
}
