/** What a decoder does for a token, compared with just reading the bytes it needs: keys and values, or weights. */
import { createKeyValueCache, type KeyValueCache } from '../cache';
import { causal } from '../masks/band';
import { type Expected, expectedAttention, largestOf } from '../measure/gate';
import { type AttentionOptions, attention } from '../ops/attention';
import type { CacheDType } from '../ops/cache/layout';
import { matmul } from '../ops/matmul';
import { sum } from '../ops/reduce';
import type { Runtime } from '../runtime/runtime';
import { alibi } from '../scores/score';
import { convert, type HostTensor, hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { known } from './expected';
import { tensorOperation } from './operation';
import type { Inputs, Operation, Problem, Task } from './problem';

/** Query heads for each key/value head of a problem. */
export const SHARED = 4;

const slopesOf = (h: number) => Array.from({ length: h }, (_, head) => 2 ** (-8 * ((head + 1) / h)));

export const keyBytes = ({ n, h, d }: Problem) => 2 * n * h * d * 4;

/** Keys and values [1, n, h, d]. */
function keysOf(runtime: Runtime, { problem: { n, h, d }, inputs: { k, v } }: Task) {
  return { k: runtime.tensor(k, [1, n, h, d]), v: runtime.tensor(v, [1, n, h, d]) };
}

/** Sums of numbers; errors are measured by the sum of their magnitudes. */
function expectedSums(...arrays: readonly Float32Array[]): [Expected] {
  const magnitude = (x: Float32Array) => x.reduce((sum, value) => sum + Math.abs(value), 0);
  const numbers = arrays.map((x) => x.reduce((sum, value) => sum + value, 0));
  return [{ known: [{ at: 0, numbers }], largest: Math.max(...arrays.map(magnitude)), of: 'sum of |numbers|' }];
}

/** Sums of all keys and values. */
export const readOfKeys = tensorOperation({
  name: 'read of keys and values',
  bytes: keyBytes,
  expected: (_, { k, v }) => expectedSums(k, v),
  outputs: () => ({ ofKeys: [], ofValues: [] }),
  operands: () => ({}),
  streamed: (runtime, task) => () => keysOf(runtime, task),
  run({ k, v, ofKeys, ofValues }) {
    sum(k, { axes: [0, 1, 2, 3], out: ofKeys });
    sum(v, { axes: [0, 1, 2, 3], out: ofValues });
  },
});

interface Decoding {
  readonly name: string;
  /** The cache's; none for plain tensors. */
  readonly dtype?: CacheDType;
  /** Queries of a head; default 1. */
  readonly queries?: number;
  /** Keys that each of them sees; default: all. */
  readonly window?: number;
  /** Whether scores fall with the distance, by a slope for each head, given as a function. */
  readonly isSloped?: boolean;
}

/** A step with 4 query heads for each key/value head, whose queries are the last tokens. */
export function decoding({ name, dtype, queries = 1, window, isSloped }: Decoding): Operation {
  return tensorOperation({
    name,
    flops: ({ n, h, d }) => 4 * queries * SHARED * h * d * Math.min(n, window ?? n),
    bytes: keyBytes,
    expected(problem, inputs) {
      const { n, h, d } = problem;
      const stored = (x: Float32Array) => asStored(hostTensor(x, [1, n, h, d]), dtype);
      const slopes = slopesOf(SHARED * h);
      const distance = (i: number, j: number) => i + n - queries - j;
      const modifier = {
        value: (score: number, i: number, j: number, head: number) =>
          score - (slopes[head] as number) * Math.abs(distance(i, j)),
        slope: () => 1,
      };
      const sees = (i: number, j: number) => distance(i, j) >= 0 && distance(i, j) < (window ?? n);
      const qkv = { q: lastQueries(problem, inputs, queries), k: stored(inputs.k), v: stored(inputs.v) };
      const settings = { mask: { ...causal(), sees }, scale: 1 / Math.sqrt(d), ...(isSloped && { modifier }) };
      return [expectedAttention(qkv, [...Array(queries).keys()], settings)];
    },
    outputs: ({ h, d }) => ({ out: [1, queries, SHARED * h, d] }),
    operands: (runtime, { problem, inputs }) => ({
      q: runtime.fromHost(lastQueries(problem, inputs, queries)),
      score: isSloped ? alibi(slopesOf(SHARED * problem.h)) : undefined,
    }),
    streamed: (runtime, task) => () => {
      if (dtype) {
        const cache = cacheOf(runtime, task, dtype);
        return { cache, attend: (q: Tensor, options: Settings) => attention(q, cache.layer(0), options) };
      }
      const { k, v } = keysOf(runtime, task);
      return { k, v, attend: (q: Tensor, options: Settings) => attention(q, k, v, { ...options, causal: true }) };
    },
    run: ({ q, score, attend, out }) =>
      attend(q, { out, score, ...(window && { window: [window - 1, -1] }) }).lse.dispose(),
  });
}

type Settings = Pick<AttentionOptions, 'out' | 'score' | 'window'>;

/** The first numbers of the problem's queries, as `queries` tokens [1, queries, 4 h, d]. */
export const lastQueries = ({ h, d }: Problem, { q }: Inputs, queries: number): HostTensor<'f32'> =>
  hostTensor(q.subarray(0, queries * SHARED * h * d), [1, queries, SHARED * h, d], 'f32');

export function cacheOf(runtime: Runtime, task: Task, dtype: CacheDType): KeyValueCache {
  const { n, h, d } = task.problem;
  const cache = createKeyValueCache(runtime, { layers: 1, heads: h, d, dtype, capacity: n });
  const { k, v } = keysOf(runtime, task);
  cache.append(0, k, v);
  k.dispose();
  v.dispose();
  return cache;
}

/** The numbers that a cache of that dtype holds: rows of 8 bits have a scale each. */
function asStored(x: HostTensor, dtype: CacheDType = 'f32'): HostTensor {
  if (dtype !== 'i8') return convert(x, dtype);
  const columns = x.shape.at(-1) as number;
  const result = Float64Array.from(x.data as Float32Array);
  for (let at = 0; at < result.length; at += columns) {
    const row = result.subarray(at, at + columns);
    const scale = Math.fround(largestOf(row) / 127);
    row.forEach((value, c) => {
      row[c] = scale * Math.round(value / scale);
    });
  }
  return hostTensor(result, x.shape);
}

/** A prompt of all tokens, in chunks that are appended to a cache and then attend: 4 query heads for each key/value head. */
export function prefill(chunk: number | undefined): Operation {
  /** Queries that are checked. */
  const last = 8;
  return {
    name: chunk ? `prefill in chunks of ${chunk}` : 'prefill in one call',
    growth: 2,
    flops: ({ n, h, d }) => 2 * SHARED * h * d * n * (n + 1),
    size: ({ h, d }) => last * SHARED * h * d,
    bytes: keyBytes,
    expected(problem, inputs) {
      const { n, h, d } = problem;
      const qkv = {
        q: lastQueries(problem, inputs, last),
        k: hostTensor(inputs.k, [1, n, h, d]),
        v: hostTensor(inputs.v, [1, n, h, d]),
      };
      const mask = { ...causal(), sees: (i: number, j: number) => j <= i + n - last };
      return [expectedAttention(qkv, [...Array(last).keys()], { mask, scale: 1 / Math.sqrt(d) })];
    },
    open(runtime, task) {
      const { problem, inputs } = task;
      const { n, h, d } = problem;
      // The problem's queries, repeated, with the checked ones at the end.
      const queries = Float32Array.from({ length: n * SHARED * h * d }, (_, at) => inputs.q[at % inputs.q.length]!);
      const tail = lastQueries(problem, inputs, last).data;
      queries.set(tail, queries.length - tail.length);
      const q = runtime.tensor(queries, [1, n, SHARED * h, d]);
      const { k, v } = keysOf(runtime, task);
      const cache = createKeyValueCache(runtime, { layers: 1, heads: h, d, capacity: n });
      let out: Tensor = runtime.empty([1, 1, SHARED * h, d]);
      const take = (made: Tensor) => {
        out.dispose();
        out = made;
      };
      return {
        call() {
          if (!chunk) return take(attention(q, k, v, { causal: true }).out);
          cache.truncate(0);
          for (let at = 0; at < n; at += chunk) {
            const part = (x: Tensor) => x.slice(1, at, Math.min(n, at + chunk));
            cache.append(0, part(k), part(v));
            take(attention(part(q), cache.layer(0)).out);
          }
        },
        async result() {
          const rows = out.shape[1] as number;
          using end = out.slice(1, rows - last, rows);
          return (await end.read()) as Float32Array;
        },
        get tensors() {
          return [q, k, v, out, cache];
        },
      };
    },
  };
}

/** Layers to which a token is appended. */
const LAYERS = 24;

export const appending: Operation = {
  name: `append of a token to ${LAYERS} layers`,
  flops: () => 0,
  size: ({ h, d }) => h * d,
  bytes: ({ h, d }) => 4 * LAYERS * h * d * 4,
  // All tokens have the same value.
  expected: ({ h, d }, { v }) => [known(v.subarray(0, h * d), 'largest |v|')],
  open(runtime, { problem: { h, d }, inputs }) {
    const most = 4096;
    const cache = createKeyValueCache(runtime, { layers: LAYERS, heads: h, d, capacity: most });
    const token = (x: Float32Array) => runtime.tensor(x.subarray(0, h * d), [1, 1, h, d]);
    const [q, k, v] = [token(inputs.q), token(inputs.k), token(inputs.v)];
    return {
      call() {
        if (cache.lengths[0] === most) cache.truncate(0);
        for (let layer = 0; layer < LAYERS; layer++) cache.append(layer, k, v);
      },
      async result() {
        const { out, lse } = attention(q, cache.layer(LAYERS - 1));
        lse.dispose();
        using result = out;
        return (await result.read()) as Float32Array;
      },
      tensors: [k, v, q, cache],
    };
  },
};

/** Columns of the weights, [d, 3072]. */
const COLUMNS = 3072;
type WeightDType = 'f32' | 'bf16' | 'f16';
const weightBytes = ({ d }: Problem, dtype: WeightDType = 'f32') => d * COLUMNS * (dtype === 'f32' ? 4 : 2);
/** Numbers that bf16 and f16 hold exactly, nearly all. */
const weightsOf = ({ d }: Problem, shape = [d, COLUMNS]) =>
  convert(convert(hostTensor(normal(d * COLUMNS, 5), shape), 'bf16'), 'f32');

export const readOfWeights = tensorOperation({
  name: 'read of weights',
  bytes: weightBytes,
  expected: (problem) => expectedSums(weightsOf(problem).data),
  outputs: () => ({ out: [] }),
  operands: () => ({}),
  streamed(runtime, { problem }) {
    const weights = weightsOf(problem);
    return () => ({ weights: runtime.fromHost(weights) });
  },
  run: ({ weights, out }) => sum(weights, { axes: [0, 1], out }),
});

interface Skinny {
  readonly dtype: WeightDType;
  /** Whether the weights are [3072, d], as those of layers are; default false. */
  readonly transposeB?: boolean;
}

/** n rows [n, d] times weights [d, 3072]. */
export function skinnyProduct({ dtype, transposeB = false }: Skinny): Operation {
  return tensorOperation({
    name: `product of few rows, ${dtype}${transposeB ? ', transposed' : ''}`,
    flops: ({ n, d }) => 2 * n * d * COLUMNS,
    bytes: (problem) => weightBytes(problem, dtype),
    outputs: ({ n }) => ({ out: [n, COLUMNS] }),
    operands: (runtime, { problem: { n, d }, inputs: { q } }) => ({
      a: runtime.fromHost(convert(hostTensor(q.subarray(0, n * d), [n, d]), dtype)),
    }),
    streamed(runtime, { problem }) {
      const shape = transposeB ? [COLUMNS, problem.d] : [problem.d, COLUMNS];
      const weights = convert(weightsOf(problem, shape), dtype);
      return () => ({ weights: runtime.fromHost(weights) });
    },
    run: ({ a, weights, out }) => matmul(a, weights, { transposeB, out }),
  });
}
