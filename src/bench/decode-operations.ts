/** What a decoder does for a token, beside a read of the bytes that it must read: keys and values, or weights. */
import { createKeyValueCache, type KeyValueCache } from '../cache';
import { causal } from '../masks/band';
import { type Expected, expectedAttention, largestOf } from '../measure/gate';
import { attention } from '../ops/attention';
import type { CacheDType } from '../ops/cache/layout';
import { matmul } from '../ops/matmul';
import { sum } from '../ops/reduce';
import type { Runtime } from '../runtime/runtime';
import { alibi } from '../scores/score';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../tensor/float16';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import type { Operation } from './operation';
import type { Inputs, Problem } from './problem';

/** Query heads for each key/value head of a problem. */
export const SHARED = 4;
/** So many bytes are read before the same come again: what was read last is in no cache. */
const FAR = 2 ** 28;

const slopes = (h: number) => Array.from({ length: h }, (_, head) => 2 ** (-8 * ((head + 1) / h)));

/** So many copies that they do not stay in a cache; each call takes the next. */
export function inTurns<T>(bytes: number, make: () => T): { readonly all: readonly T[]; next(): T } {
  const all = Array.from({ length: Math.max(1, Math.ceil(FAR / bytes)) }, make);
  let calls = 0;
  return { all, next: () => all[calls++ % all.length] as T };
}

export const keyBytes = ({ n, h, d }: Problem) => 2 * n * h * d * 4;

/** Sums of all keys and values. */
export const readOfKeys: Operation = {
  name: 'read of keys and values',
  flops: () => 0,
  size: () => 2,
  bytes: keyBytes,
  expected(_, { k, v }) {
    const numbers = [k, v].map((values) => values.reduce((a, b) => a + b, 0));
    const largest = [k, v].reduce(
      (most, values) =>
        Math.max(
          most,
          values.reduce((a, b) => a + Math.abs(b), 0),
        ),
      0,
    );
    return [{ known: [{ at: 0, numbers }], largest, of: 'sum of |numbers|' }];
  },
  open(runtime, { problem, inputs }) {
    const shape = [problem.n, problem.h, problem.d];
    const sets = inTurns(keyBytes(problem), () => [inputs.k, inputs.v].map((data) => runtime.tensor(data, shape)));
    const sums = [runtime.empty([]), runtime.empty([])];
    return {
      call() {
        for (const [at, x] of sets.next().entries()) sum(x, { axes: [0, 1, 2], out: sums[at] as Tensor<'f32'> });
      },
      result: async () => Float32Array.of(...(await Promise.all(sums.map(async (x) => (await x.read())[0] as number)))),
      tensors: [...sets.all.flat(), ...sums],
    };
  },
};

interface Decoding {
  readonly name: string;
  /** Of the cache; none for plain tensors. */
  readonly dtype?: CacheDType;
  /** Queries of a head; default 1. */
  readonly queries?: number;
  /** Each sees so many keys. */
  readonly window?: number;
  /** A slope for each head, on distances, as a function. */
  readonly isSloped?: boolean;
}

/** A step of 4 query heads for each key/value head, whose queries are the last tokens. */
export function decoding({ name, dtype, queries = 1, window, isSloped }: Decoding): Operation {
  return {
    name,
    flops: ({ n, h, d }) => 4 * queries * SHARED * h * d * Math.min(n, window ?? n),
    size: ({ h, d }) => queries * SHARED * h * d,
    bytes: keyBytes,
    expected(problem, inputs) {
      const { n, h, d } = problem;
      const [k, v] = [inputs.k, inputs.v].map((data) => hostTensor(stored(data, d, dtype), [1, n, h, d]));
      const q = hostTensor(queriesOf(problem, inputs, queries), [1, queries, SHARED * h, d]);
      const all = slopes(SHARED * h);
      const modifier = {
        value: (score: number, i: number, j: number, head: number) =>
          score - (all[head] as number) * Math.abs(i + n - queries - j),
        slope: () => 1,
      };
      const mask = {
        ...causal(),
        sees: (i: number, j: number) => {
          const distance = i + n - queries - j;
          return distance >= 0 && distance < (window ?? n);
        },
      };
      const settings = { mask, scale: 1 / Math.sqrt(d), ...(isSloped && { modifier }) };
      return [
        expectedAttention(
          { q, k: k!, v: v! },
          Array.from({ length: queries }, (_, i) => i),
          settings,
        ),
      ];
    },
    open(runtime, { problem, inputs }) {
      const { n, h, d } = problem;
      const q = runtime.tensor(queriesOf(problem, inputs, queries), [1, queries, SHARED * h, d]);
      const out = runtime.tensor(new Float32Array(q.size).fill(Number.NaN), q.shape);
      const score = isSloped ? alibi(slopes(SHARED * h)) : undefined;
      const options = { out, score, window: window ? ([window - 1, -1] as const) : undefined };
      const result = () => out.read() as Promise<Float32Array>;
      if (dtype) {
        const sets = inTurns(keyBytes(problem), () => cacheOf(runtime, problem, inputs, dtype));
        const call = () => attention(q, sets.next().layer(0), options).lse.dispose();
        return { call, result, tensors: [q, out, ...sets.all] };
      }
      const shape = [1, n, h, d];
      const sets = inTurns(keyBytes(problem), () => [inputs.k, inputs.v].map((data) => runtime.tensor(data, shape)));
      return {
        call() {
          const [k, v] = sets.next() as [Tensor, Tensor];
          attention(q, k, v, { ...options, causal: true }).lse.dispose();
        },
        result,
        tensors: [q, out, ...sets.all.flat()],
      };
    },
  };
}

/** The first numbers of the problem's queries. */
export const queriesOf = ({ h, d }: Problem, { q }: Inputs, queries: number) => q.subarray(0, queries * SHARED * h * d);

export function cacheOf(runtime: Runtime, { n, h, d }: Problem, { k, v }: Inputs, dtype: CacheDType): KeyValueCache {
  const cache = createKeyValueCache(runtime, { layers: 1, heads: h, d, dtype, capacity: n });
  using keys = runtime.tensor(k, [1, n, h, d]);
  using values = runtime.tensor(v, [1, n, h, d]);
  cache.append(0, keys, values);
  return cache;
}

/** Numbers as a cache holds them. */
function stored(x: Float32Array, columns: number, dtype: CacheDType = 'f32'): Float32Array {
  if (dtype === 'f16') return x.map((value) => fromFloat16(toFloat16(value)));
  if (dtype === 'bf16') return x.map((value) => fromBfloat16(toBfloat16(value)));
  if (dtype === 'f32') return x;
  const result = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += columns) {
    const row = x.subarray(at, at + columns);
    const scale = Math.fround(largestOf(row) / 127);
    for (const [c, value] of row.entries()) result[at + c] = scale * Math.round(value / scale);
  }
  return result;
}

/** A prompt of all tokens, in chunks that are appended and then attend: 4 query heads for each key/value head. */
export function prefill(chunk: number | undefined): Operation {
  const last = 8;
  return {
    name: chunk ? `prefill in chunks of ${chunk}` : 'prefill in one call',
    growth: 2,
    flops: ({ n, h, d }) => 2 * SHARED * h * d * n * (n + 1),
    size: ({ h, d }) => last * SHARED * h * d,
    bytes: keyBytes,
    expected(problem, inputs) {
      const { n, h, d } = problem;
      const [k, v] = [inputs.k, inputs.v].map((data) => hostTensor(data, [1, n, h, d]));
      const q = hostTensor(queriesOf(problem, inputs, last), [1, last, SHARED * h, d]);
      const mask = { ...causal(), sees: (i: number, j: number) => j <= i + n - last };
      const all = Array.from({ length: last }, (_, i) => i);
      return [expectedAttention({ q, k: k!, v: v! }, all, { mask, scale: 1 / Math.sqrt(d) })];
    },
    open(runtime, { problem, inputs }) {
      const { n, h, d } = problem;
      const queries = new Float32Array(n * SHARED * h * d);
      for (let at = 0; at < queries.length; at += inputs.q.length)
        queries.set(inputs.q.subarray(0, Math.min(inputs.q.length, queries.length - at)), at);
      const tail = queriesOf(problem, inputs, last);
      queries.set(tail, queries.length - tail.length);
      const [q, k, v] = [queries, inputs.k, inputs.v].map((data, at) =>
        runtime.tensor(data, [1, n, at === 0 ? SHARED * h : h, d]),
      ) as [Tensor, Tensor, Tensor];
      let out = runtime.empty([1, 1, SHARED * h, d]) as Tensor;
      const cache = createKeyValueCache(runtime, { layers: 1, heads: h, d, capacity: n });
      const take = (made: Tensor) => {
        out.dispose();
        out = made;
      };
      return {
        call() {
          if (!chunk) return take(attention(q, k, v, { causal: true }).out);
          cache.truncate(0);
          for (let at = 0; at < n; at += chunk) {
            const [ofQ, ofK, ofV] = [q, k, v].map((x) => x.slice(1, at, Math.min(n, at + chunk))) as [
              Tensor,
              Tensor,
              Tensor,
            ];
            cache.append(0, ofK, ofV);
            take(attention(ofQ, cache.layer(0)).out);
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
  expected: ({ h, d }, { v }) => {
    // A key of zeros sees but itself.
    const numbers = v.subarray(0, h * d);
    return [{ known: [{ at: 0, numbers }], largest: largestOf(numbers), of: 'largest |v|' }];
  },
  open(runtime, { problem: { h, d }, inputs }) {
    const most = 4096;
    const cache = createKeyValueCache(runtime, { layers: LAYERS, heads: h, d, capacity: most });
    const [k, v, q] = [inputs.k, inputs.v, inputs.q].map((data) =>
      runtime.tensor(data.subarray(0, h * d), [1, 1, h, d]),
    ) as [Tensor, Tensor, Tensor];
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
const weightBytes = ({ d }: Problem, dtype: 'f32' | 'bf16' = 'f32') => d * COLUMNS * (dtype === 'f32' ? 4 : 2);
const weightsOf = ({ d }: Problem) => normal(d * COLUMNS, 5).map((x) => fromBfloat16(toBfloat16(x)));

export const readOfWeights: Operation = {
  name: 'read of weights',
  flops: () => 0,
  size: () => 1,
  bytes: weightBytes,
  expected(problem) {
    const weights = weightsOf(problem);
    const numbers = [weights.reduce((a, b) => a + b, 0)];
    return [
      { known: [{ at: 0, numbers }], largest: weights.reduce((a, b) => a + Math.abs(b), 0), of: 'sum of |numbers|' },
    ];
  },
  open(runtime, { problem }) {
    const data = weightsOf(problem);
    const sets = inTurns(weightBytes(problem), () => runtime.tensor(data, [problem.d, COLUMNS]));
    const out = runtime.empty([]);
    return {
      call: () => void sum(sets.next(), { axes: [0, 1], out }),
      result: () => out.read() as Promise<Float32Array>,
      tensors: [...sets.all, out],
    };
  },
};

/** n rows [n, d] times weights [d, 3072]. */
export function fewRows(dtype: 'f32' | 'bf16'): Operation {
  return {
    name: `product of few rows, ${dtype}`,
    flops: ({ n, d }) => 2 * n * d * COLUMNS,
    size: ({ n }) => n * COLUMNS,
    bytes: (problem) => weightBytes(problem, dtype),
    expected(problem, { q }): Expected[] {
      const { n, d } = problem;
      const weights = weightsOf(problem);
      const numbers = new Float64Array(n * COLUMNS);
      for (let row = 0; row < n; row++)
        for (let k = 0; k < d; k++) {
          const x = rounded(q[row * d + k] as number, dtype);
          for (let c = 0; c < COLUMNS; c++) numbers[row * COLUMNS + c]! += x * (weights[k * COLUMNS + c] as number);
        }
      return [{ known: [{ at: 0, numbers }], largest: largestOf(numbers), of: 'largest result' }];
    },
    open(runtime, { problem, inputs }) {
      const { n, d } = problem;
      const tensorOf = (data: Float32Array, shape: readonly number[]) =>
        dtype === 'f32'
          ? runtime.tensor(data, shape)
          : runtime.tensor(Uint16Array.from(data, toBfloat16), shape, 'bf16');
      const data = weightsOf(problem);
      const a = tensorOf(inputs.q.subarray(0, n * d), [n, d]);
      const sets = inTurns(weightBytes(problem, dtype), () => tensorOf(data, [d, COLUMNS]));
      const out = runtime.tensor(new Float32Array(n * COLUMNS).fill(Number.NaN), [n, COLUMNS]);
      return {
        call: () => void matmul(a, sets.next(), { out }),
        result: () => out.read() as Promise<Float32Array>,
        tensors: [a, ...sets.all, out],
      };
    },
  };
}

const rounded = (x: number, dtype: 'f32' | 'bf16') => (dtype === 'f32' ? x : fromBfloat16(toBfloat16(x)));
