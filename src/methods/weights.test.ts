import { expect, test } from 'vitest';
import { createRuntime } from '../ops/create-runtime';
import { linearAttention } from '../ops/linear-attention/recurrence';
import { hostTensor } from '../tensor/host';
import { uniform } from '../tensor/random';
import { linearWeights, rowsAt } from './weights';

const [B, N, H, G, D] = [2, 7, 4, 2, 3];
const features = {
  q: hostTensor(uniform(B * N * H * D, 1), [B, N, H, D], 'f32'),
  k: hostTensor(uniform(B * N * G * D, 2), [B, N, G, D], 'f32'),
};
const QUERIES = [0, 3, 6];

test.each([
  ['all keys', { causal: false }, [1, 1, 1, 1]],
  ['causal', { causal: true }, [1, 1, 1, 1]],
  ['decayed', { causal: true, decay: [1, 0.9, 0.5, 0.1] }, [1, 0.9, 0.5, 0.1]],
])('weights are what linear attention multiplies the values by: %s', async (_, options, decay) => {
  using runtime = await createRuntime({ backend: 'reference' });
  const [q, k] = [runtime.fromHost(features.q), runtime.fromHost(features.k)];
  const weights = linearWeights({ q: rowsAt(q, QUERIES), k }, QUERIES, options);
  expect(weights.shape).toEqual([B, QUERIES.length, H, N]);
  const { data } = await weights.toHost();
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
    expect(weight).toBeCloseTo(out.data[((batch * N + query) * H + head) * N + key]!, 6);
  });
});
