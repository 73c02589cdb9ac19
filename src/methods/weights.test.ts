import { expect, test } from 'vitest';
import { linearAttention } from '../ops/linear-attention/recurrence';
import { hostTensor } from '../tensor/host';
import { uniform } from '../tensor/random';
import { linearWeights } from './weights';

const [B, N, H, G, D] = [2, 7, 4, 2, 3];
const features = {
  q: hostTensor(uniform(B * N * H * D, 1), [B, N, H, D]),
  k: hostTensor(uniform(B * N * G * D, 2), [B, N, G, D]),
};
const QUERIES = [0, 3, 6];
const rowsOfQueries = Float32Array.from({ length: B * QUERIES.length * H * D }, (_, at) => {
  const [batch, query] = [Math.floor(at / (3 * H * D)), QUERIES[Math.floor(at / (H * D)) % 3]!];
  return Number(features.q.data[(batch * N + query) * H * D + (at % (H * D))]);
});

test.each([
  ['all keys', { causal: false }, [1, 1, 1, 1]],
  ['causal', { causal: true }, [1, 1, 1, 1]],
  ['decayed', { causal: true, decay: [1, 0.9, 0.5, 0.1] }, [1, 0.9, 0.5, 0.1]],
])('weights are what linear attention multiplies the values by: %s', (_, options, decay) => {
  const { data, shape } = linearWeights(
    { q: hostTensor(rowsOfQueries, [B, QUERIES.length, H, D]), k: features.k },
    QUERIES,
    options,
  )!;
  expect(shape).toEqual([B, QUERIES.length, H, N]);
  const identity = Float64Array.from({ length: B * N * G * N }, (_, at) =>
    at % N === Math.floor(at / (G * N)) % N ? 1 : 0,
  );
  const { out } = linearAttention({
    ...features,
    v: hostTensor(identity, [B, N, G, N], 'f64'),
    causal: options.causal,
    decay,
  });
  data.forEach((weight, at) => {
    const [key, head] = [at % N, Math.floor(at / N) % H];
    const [query, batch] = [QUERIES[Math.floor(at / N / H) % 3]!, Math.floor(at / N / H / 3)];
    expect(weight).toBeCloseTo(out.data[((batch * N + query) * H + head) * N + key]!, 12);
  });
});

test('where a weight is negative there are none', () => {
  const q = hostTensor(Float32Array.of(1, -1), [1, 2, 1, 1]);
  const k = hostTensor(Float32Array.of(1, 1), [1, 2, 1, 1]);
  const first = hostTensor(Float32Array.of(1), [1, 1, 1, 1]);
  expect(linearWeights({ q: first, k }, [0], { causal: false })).toBeDefined();
  expect(linearWeights({ q, k }, [0, 1], { causal: false })).toBeUndefined();
});
