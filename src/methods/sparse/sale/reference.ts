import { softmaxAttention } from '../../../ops/attention/softmax';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { at, dot, rowOf, zeros } from '../../reference';

interface Inputs {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
}

interface Params {
  readonly threshold: number | readonly number[];
  readonly queryBlock: number;
  readonly keyBlock: number;
  readonly local: number;
  readonly segment: number;
  readonly quantize: 'thread' | 'token' | 'none';
  readonly denseBelow: number;
  readonly scale?: number | undefined;
}

/** Each score by itself, as the sheet has it, then softmax over the pairs of kept blocks. */
export function reference({ q, k, v }: Inputs, params: Params): Record<string, HostTensor<'f64'>> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const g = k.shape[2] as number;
  const { queryBlock, keyBlock, scale = 1 / Math.sqrt(d) } = params;
  const kept = zeros([b, h, Math.ceil(n / queryBlock), Math.ceil(n / keyBlock)]);
  const [, , rows, columns] = kept.shape as [number, number, number, number];
  const [queries, keys] = [toFloat64(q), toFloat64(k)];
  for (let batch = 0; batch < b; batch++) {
    for (let head = 0; head < h; head++) {
      const threshold = typeof params.threshold === 'number' ? params.threshold : at(params.threshold, head);
      const tokens = (x: Float64Array, heads: number, own: number) =>
        Array.from({ length: n }, (_, i) => rowOf(x, (batch * n + i) * heads + own, d));
      const problem = {
        q: tokens(queries, h, head),
        k: tokens(keys, g, Math.floor((head * g) / h)),
        threshold: n <= params.denseBelow ? 0 : threshold,
        scale,
      };
      const first = (batch * h + head) * rows * columns;
      for (const [block, isKept] of blocksOf(problem, params).entries()) kept.data[first + block] = isKept ? 1 : 0;
    }
  }
  const sees = (i: number, j: number, head: number, batch: number) => {
    const row = (batch * h + head) * rows + Math.floor(i / queryBlock);
    return j <= i && kept.data[row * columns + Math.floor(j / keyBlock)] === 1;
  };
  return { ...softmaxAttention({ q, k, v }, scale, sees), kept };
}

interface Head {
  readonly q: readonly Float64Array[];
  readonly k: readonly Float64Array[];
  readonly threshold: number;
  readonly scale: number;
}

function blocksOf({ q, k, threshold, scale }: Head, params: Params): boolean[] {
  const { queryBlock, keyBlock, local, segment, quantize } = params;
  const n = q.length;
  const [centerQ, centerK] = [centerOf(q), centerOf(k)];
  const smoothQ = q.map((row) => row.map((x, c) => x - at(centerQ, c)));
  const smoothK = k.map((row) => row.map((x, c) => x - at(centerK, c)));
  const groupOfQuery = (i: number) => (quantize === 'thread' ? (i >> 4) * 8 + (i & 7) : i);
  const groupOfKey = (j: number) => {
    const within = j % keyBlock;
    return quantize === 'thread' ? 4 * (j - within) + ((within % 8) >> 1) : j;
  };
  const roundedQ = quantize === 'none' ? smoothQ : rounded(smoothQ, groupOfQuery);
  const roundedK = quantize === 'none' ? smoothK : rounded(smoothK, groupOfKey);
  const kept: boolean[] = [];
  for (let a = 0; a * queryBlock < n; a++) {
    const rows = Array.from({ length: Math.min(queryBlock, n - a * queryBlock) }, (_, r) => a * queryBlock + r);
    const nb = Math.min(Math.ceil(n / keyBlock), Math.ceil(((a + 1) * queryBlock) / keyBlock));
    const [seg, nl, wo] = [segment / keyBlock, local / keyBlock, nb - 1];
    const nseg = Math.ceil(wo / seg);
    const rem = wo - nseg * seg;
    const nloc = seg * Math.ceil((nl - rem) / seg) + rem;
    const isReserved = (block: number) => block === 0 || block >= nb - nloc;
    const limits = rows.map((i) => {
      const scores = smoothK.flatMap((key, j) => {
        const isSeen = j <= i && isReserved(Math.floor(j / keyBlock));
        return isSeen ? [dot(q[i] as Float64Array, key)] : [];
      });
      const most = scores.reduce((a, b) => Math.max(a, b));
      return most + Math.log(scores.reduce((sum, s) => sum + Math.exp(scale * (s - most)), 0) * threshold) / scale;
    });
    for (let block = 0; block * keyBlock < n; block++) {
      const isAbove = rows.some((i, r) => {
        for (let j = block * keyBlock; j < Math.min((block + 1) * keyBlock, i + 1); j++) {
          const estimate = dot(roundedQ[i] as Float64Array, roundedK[j] as Float64Array);
          if (estimate + dot(centerQ, smoothK[j] as Float64Array) > at(limits, r)) return true;
        }
        return false;
      });
      kept.push(block < nb && (threshold < 1e-5 || isReserved(block) || isAbove));
    }
  }
  return kept;
}

const centerOf = (rows: readonly Float64Array[]) =>
  (rows[0] as Float64Array).map((_, c) => rows.reduce((sum, row) => sum + at(row, c), 0) / rows.length);

/** Integers from -7 to 7 times the scale that the rows of a group share; a group of zeros stays 0. */
function rounded(rows: readonly Float64Array[], groupOf: (row: number) => number): Float64Array[] {
  const largest = new Map<number, number>();
  for (const [i, row] of rows.entries())
    largest.set(
      groupOf(i),
      row.reduce((most, x) => Math.max(most, Math.abs(x)), largest.get(groupOf(i)) ?? 0),
    );
  return rows.map((row, i) => {
    const scale = (largest.get(groupOf(i)) as number) / 7;
    return scale === 0 ? new Float64Array(row.length) : row.map((x) => scale * roundHalfToEven(x / scale));
  });
}

function roundHalfToEven(x: number): number {
  const nearest = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 ? 2 * Math.round(x / 2) : nearest;
}
