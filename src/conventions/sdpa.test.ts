import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose, expectRefusal } from '../../test/expect';
import { expectGradients } from '../../test/tape-gradients';
import { type DType, type SdpaLayout, type SdpaOptions, sdpa, type Tensor } from '../index';
import { normal } from '../tensor/random';

const LAYOUTS: readonly SdpaLayout[] = ['bhnd', 'bnhd', 'bn(hd)'];
const [B, N, M, H, G, D, E] = [2, 5, 7, 4, 2, 3, 6] as const;

/** Numbers by batch, head, row and column, whatever the layout. */
const VALUES = {
  q: normal(B * H * N * D, 1),
  k: normal(B * G * M * D, 2),
  v: normal(B * G * M * E, 3),
};
const SHAPES = { q: [B, H, N, D], k: [B, G, M, D], v: [B, G, M, E] } as const;

/** [b, h, n, d] in another layout. */
function laidOut(values: Float32Array, [b, h, n, d]: readonly [number, number, number, number], layout: SdpaLayout) {
  if (layout === 'bhnd') return { data: values, shape: [b, h, n, d] };
  const data = values.map((_, at) => {
    const [batch, row] = [Math.floor(at / (n * h * d)), Math.floor(at / (h * d)) % n];
    const head = Math.floor(at / d) % h;
    return values[((batch * h + head) * n + row) * d + (at % d)] as number;
  });
  return { data, shape: layout === 'bnhd' ? [b, n, h, d] : [b, n, h * d] };
}

const inputsIn = (layout: SdpaLayout) => {
  const of = (name: 'q' | 'k' | 'v') => laidOut(VALUES[name], SHAPES[name], layout);
  return { q: of('q'), k: of('k'), v: of('v') };
};

/** softmax(score) v, element by element, in [b, h, n, e] and [b, h, n]; a score of -Infinity is not seen. */
function expected(score: (product: number, b: number, h: number, i: number, j: number) => number) {
  const out = new Float32Array(B * H * N * E);
  const lse = new Float32Array(B * H * N);
  for (let row = 0; row < B * H * N; row++) {
    const [b, h, i] = [Math.floor(row / (H * N)), Math.floor(row / N) % H, row % N];
    const keys = (b * G + Math.floor((h * G) / H)) * M;
    const scores = Array.from({ length: M }, (_, j) => {
      let product = 0;
      for (let c = 0; c < D; c++) product += VALUES.q[row * D + c]! * VALUES.k[(keys + j) * D + c]!;
      return score(product / Math.sqrt(D), b, h, i, j);
    });
    const sum = scores.reduce((total, each) => total + Math.exp(each), 0);
    lse[row] = Math.log(sum);
    for (let c = 0; c < E && sum > 0; c++)
      out[row * E + c] = scores.reduce(
        (total, each, j) => total + (Math.exp(each) / sum) * VALUES.v[(keys + j) * E + c]!,
        0,
      );
  }
  return { out, lse };
}

const NO = Number.NEGATIVE_INFINITY;
const SEEN = Uint8Array.from({ length: B * M }, (_, at) => (at % 3 === 1 ? 0 : 1));
const BIAS = normal(H * N * M, 4);

const CASES: Readonly<Record<string, { options: Omit<SdpaOptions, 'layout'>; score: Parameters<typeof expected>[0] }>> =
  {
    plain: { options: { dropout_p: 0 }, score: (s) => s },
    'scale, and an undefined mask': {
      options: { scale: 0.3, attn_mask: undefined },
      score: (s) => s * Math.sqrt(D) * 0.3,
    },
    'causal from the top left': { options: { is_causal: true }, score: (s, _b, _h, i, j) => (j <= i ? s : NO) },
    'causal from the bottom right': {
      options: { unidirectional: 1 },
      score: (s, _b, _h, i, j) => (j <= i + M - N ? s : NO),
    },
    'a window of three': {
      options: { local_window_size: 3 },
      score: (s, _b, _h, i, j) => (j <= i + M - N && j > i + M - N - 3 ? s : NO),
    },
    'padding, causal': {
      options: { attn_mask: { data: SEEN, shape: [B, 1, 1, M] }, unidirectional: true },
      score: (s, b, _h, i, j) => (SEEN[b * M + j] && j <= i + M - N ? s : NO),
    },
    'a float mask for all batches, under a cap': {
      options: { attn_mask: { data: BIAS, shape: [H, N, M] }, softcap: 2 },
      score: (s, _b, h, i, j) => 2 * Math.tanh(s / 2) + BIAS[(h * N + i) * M + j]!,
    },
    'a bias of each key': {
      options: { attention_bias: { data: BIAS.slice(0, M), shape: [M] } },
      score: (s, _b, _h, _i, j) => s + BIAS[j]!,
    },
  };

describeOnBackends('sdpa', (runtime) => {
  test.each(Object.keys(CASES))('agrees with the definition in every layout: %s', async (name) => {
    const { options, score } = CASES[name]!;
    const whole = expected(score);
    for (const layout of LAYOUTS) {
      const settings = { layout, num_heads: H, kv_num_heads: G, ...options };
      const { q, k, v } = inputsIn(layout);
      const before = runtime().memory().live;
      const { out, lse } = await sdpa(q, k, v, { ...settings, runtime: runtime() });
      expect(runtime().memory().live).toBe(before);
      const wanted = laidOut(whole.out, [B, H, N, E], layout);
      expect(out.shape).toEqual(wanted.shape);
      expectClose(out.data as Float32Array, wanted.data, 1e-5);
      const wantedLse = laidOut(whole.lse, [B, H, N, 1], layout);
      expect(lse.shape).toEqual(layout === 'bhnd' ? [B, H, N] : [B, N, H]);
      expectClose(lse.data as Float32Array, wantedLse.data, 1e-5);
    }
  });

  test('tensors give tensors, also for masks, whose gradients are those of differences', async () => {
    const of = ({ q, k, v, mask }: Record<string, Tensor>, options: Partial<SdpaOptions>) =>
      sdpa(q!, k!, v!, { layout: 'bhnd', enable_gqa: true, attn_mask: mask, ...options });
    const shapes = { q: [1, 2, 3, 2], k: [1, 1, 4, 2], v: [1, 1, 4, 3] };
    const tolerance = 5e-4;
    await expectGradients(runtime(), {
      fn: (x) => of(x, { softcap: 3 }).out,
      inputs: { ...shapes, mask: [2, 1, 4] },
      tolerance,
    });
    const table = { dtype: 'u8', shape: [3, 4], data: Uint8Array.of(1, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1, 1) } as const;
    await expectGradients(runtime(), {
      fn: (x) => of(x, { is_causal: true }).out,
      inputs: { ...shapes, mask: table },
      tolerance,
    });
  });

  test('a row that sees no key gives zeros', async () => {
    const shape = [1, 1, 2, 2];
    const x = { data: Float32Array.of(1, 2, 3, 4), shape };
    const attn_mask = { data: Uint8Array.of(0, 0, 1, 0), shape: [2, 2] };
    const { out, lse } = await sdpa(x, x, x, { layout: 'bhnd', attn_mask, runtime: runtime() });
    expect([...out.data]).toEqual([0, 0, 1, 2]);
    expect(lse.data[0]).toBe(NO);
  });

  test('a mask that is written over later is as it was', async () => {
    using x = runtime().tensor([1, 2, 3, 4], [1, 2, 1, 2]);
    const data = Uint8Array.of(1, 0, 1, 0);
    const { out, lse } = sdpa(x, x, x, { layout: 'bnhd', attn_mask: { data, shape: [2, 2] } });
    data.fill(1);
    expect([...(await out.read())]).toEqual([1, 2, 1, 2]);
    out.dispose();
    lse.dispose();
  });

  test('refuses what the layout contradicts, by name, and frees everything', async () => {
    using q = runtime().random([1, 4, 5, 6]);
    using k = runtime().random([1, 2, 5, 6]);
    using packed = runtime().random([1, 5, 24]);
    using integers = runtime().tensor(new Int32Array(25), [5, 5]);
    const refuse = (options: object, message: string, [a, b]: readonly Tensor<DType>[] = [q, q]) =>
      expectRefusal(runtime(), () => sdpa(a as Tensor, b as Tensor, b as Tensor, options as SdpaOptions), message);
    await refuse({}, 'layout must be said, one of bhnd, bnhd, bn(hd)');
    await refuse({ layout: 'nbhd' }, "layout must be one of bhnd, bnhd, bn(hd), got 'nbhd'");
    await refuse({ layout: 'bhnd' }, 'k [1, 2, 5, 6] must have the 4 heads of q [1, 4, 5, 6]', [q, k]);
    await refuse({ layout: 'bnhd', num_heads: 4 }, "num_heads is 4, but in layout 'bnhd' q [1, 4, 5, 6]");
    await refuse({ layout: 'bhnd', kv_num_heads: 4 }, 'kv_num_heads is 4, but in layout', [q, k]);
    await refuse({ layout: 'bn(hd)', num_heads: 4 }, 'q must have shape [b, n, hd], got [1, 4, 5, 6]');
    await refuse({ layout: 'bhnd' }, 'q must have shape [b, h, n, d], got [1, 5, 24]', [packed, packed]);
    await refuse({ layout: 'bn(hd)' }, "num_heads must be said for layout 'bn(hd)'", [packed, packed]);
    await refuse({ layout: 'bn(hd)', num_heads: 5 }, 'the width 24 of q [1, 5, 24] must be a multiple', [
      packed,
      packed,
    ]);
    await refuse({ layout: 'bhnd', dropout_p: 0.1 }, 'dropout_p must be 0, as there is no dropout, got 0.1');
    await refuse({ layout: 'bhnd', attn_mask: integers }, 'attn_mask must be u8, or floats');
    await refuse(
      { layout: 'bnhd', attn_mask: { data: new Uint8Array(25), shape: [5, 5] } },
      'attn_mask must broadcast to [b, h, n, m] = [1, 5, 4, 4], got [5, 5]',
    );
    await refuse({ layout: 'bhnd', local_window_size: 0 }, 'local_window_size must be an integer >= 1, got 0');
    await refuse({ layout: 'bhnd', causal: true }, "sdpa has no option 'causal'");
    const array = { data: new Float32Array(4), shape: [1, 2, 1, 2] };
    await expect(sdpa(array, q as never, array, { layout: 'bnhd' })).rejects.toThrow('k must be { data, shape } as q');
    await expect(
      sdpa(array, array, { ...array, shape: [1, 2, 1, 3] }, { layout: 'bnhd', runtime: runtime() }),
    ).rejects.toThrow('shape [1, 2, 1, 3] needs 6 elements, got 4');
  });
});
