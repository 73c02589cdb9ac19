/** What pictures are attended to by besides methods: fewer keys for all queries, and kernels that weigh by place alone. */
import * as valibot from 'valibot';
import { ParameterError } from '../errors';
import { full } from '../masks/band';
import { spreadOver } from '../measure/gate';
import { defineMethod, type Method } from '../methods/define';
import { attention } from '../ops/attention';
import { softmaxAttention } from '../ops/attention/softmax';
import { conv } from '../ops/conv';
import { contiguous } from '../ops/copy';
import { gather } from '../ops/gather';
import { multiply } from '../ops/map';
import { matmul } from '../ops/matmul';
import { mean, sum } from '../ops/reduce';
import { softmax } from '../ops/softmax';
import { topK } from '../ops/top-k';
import { type HostTensor, hostTensor, pickRows, toFloat64 } from '../tensor/host';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { softmaxWeights } from './entropy';

const KEPT = [0.5, 0.25];

/** Keys that the mean query of each head sees most, over all heads; no query is pruned, so that there is a result for each. */
const prunedTokens = defineMethod({
  name: 'pruned-tokens',
  short: 'pruned tokens',
  family: 'sparse',
  summary: 'exact attention to the tokens that the mean query sees most',
  paper: '2209.13802',
  inputs: { q: 'b n h d', k: 'b n h d', v: 'b n h e' },
  outputs: { out: 'b n h e', lse: 'b n h' },
  params: valibot.strictObject({ share: valibot.pipe(valibot.number(), valibot.gtValue(0), valibot.maxValue(1)) }),
  isCausal: () => false,
  forward({ q, k, v }, { share }) {
    const [b, n, h, d] = q.shape as [number, number, number, number];
    if (b !== 1) throw new ParameterError(`q must be of one picture, got ${b}`);
    return q.runtime.scope(() => {
      // [h, 1, d] on [h, d, n].
      const asking = mean(contiguous(q as Tensor<'f32'>), { axes: [1] }).reshape([h, 1, d]);
      const scores = matmul(asking, contiguous(k.permute([0, 2, 1, 3]) as Tensor<'f32'>).reshape([h, n, d]), {
        transposeB: true,
      });
      const shares = sum(softmax(multiply(scores, q.runtime.tensor([1 / Math.sqrt(d)], []))), { axes: [0] });
      const { indices } = topK(shares, countOf(n, share));
      const chosen = (x: Tensor) =>
        gather(contiguous(x as Tensor<'f32'>).reshape([n, -1]), indices.reshape([-1])).reshape([
          1,
          -1,
          h,
          x.shape[3] as number,
        ]);
      return attention(q, chosen(k), chosen(v));
    });
  },
  reference({ q, k, v }, { share }) {
    const [, n, h, d] = q.shape as [number, number, number, number];
    const scale = 1 / Math.sqrt(d);
    const queries = toFloat64(q);
    const asking = new Float64Array(h * d);
    queries.forEach((value, at) => {
      asking[at % (h * d)]! += value / n;
    });
    const one = { q: hostTensor(asking, [1, 1, h, d], 'f64'), k };
    const { data } = softmaxWeights(one, { mask: full(), scale, queries: [0], n });
    const shares = new Float64Array(n);
    for (let head = 0; head < h; head++) {
      const row = data.subarray(head * n, (head + 1) * n);
      const total = row.reduce((all, weight) => all + weight, 0);
      row.forEach((weight, key) => {
        shares[key]! += weight / total;
      });
    }
    const order = [...shares.keys()].sort((i, j) => shares[j]! - shares[i]! || i - j);
    const kept = new Set(order.slice(0, countOf(n, share)));
    return softmaxAttention({ q, k, v }, scale, (_, key) => kept.has(key));
  },
  cost: ({ b, n, h, d, e }, { share }) => ({
    flops: 2 * b * h * n * (d + e) * countOf(n, share),
    bytes: 8 * b * n * h * (d + e),
    state: 0,
  }),
  variants: () => KEPT.map((share) => ({ share })),
});

const countOf = (n: number, share: number) => Math.max(1, Math.round(share * n));

const QUERIES = 48;

/** A kernel for each head, found at each call: the mean weights of its attention, of some queries, by where keys lie from them. */
const meanKernel = defineMethod({
  name: 'mean-kernel',
  short: 'large kernel',
  family: 'large-kernels',
  summary: 'a convolution of the values by the mean weights that some queries give each place around them',
  paper: '2202.09741',
  inputs: { q: 'b ...space h d', k: 'b ...space h d', v: 'b ...space h e' },
  outputs: { out: 'b ...space h e' },
  params: valibot.strictObject({ side: valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1)) }),
  isCausal: () => false,
  forward({ q, k, v }, { side }) {
    const [b, rows, columns, h, e] = v.shape as [number, number, number, number, number];
    return v.runtime.scope(() => {
      const values = contiguous(v as Tensor<'f32'>).reshape([b, rows, columns, h * e]);
      const kernels = kernelsOf(q, k, side);
      const each = contiguous(kernels.reshape([h, 1, side * side]).expand([h, e, side * side]));
      const out = conv(values, each.reshape([h * e, 1, side, side]), { groups: h * e, padding: 'same' });
      return { out: out.reshape(v.shape) };
    });
  },
  reference({ q, k, v }, { side }) {
    const [b, rows, columns, h] = v.shape as [number, number, number, number];
    const flat = (x: HostTensor) => ({ ...x, shape: [b, rows * columns, h, x.shape[4] as number] });
    const { queries, places } = placesOf([rows, columns], side);
    const picked = { q: pickRows(flat(q), queries), k: flat(k) };
    const scale = 1 / Math.sqrt(q.shape[4] as number);
    const weights = softmaxWeights(picked, { mask: full(), scale, queries, n: rows * columns }).data;
    const kernels = new Float64Array(h * side ** 2);
    queries.forEach((_, at) => {
      for (let head = 0; head < h; head++) {
        const row = weights.subarray((at * h + head) * rows * columns, (at * h + head + 1) * rows * columns);
        const total = row.reduce((all, weight) => all + weight, 0);
        for (let tap = 0; tap < side ** 2; tap++)
          kernels[head * side ** 2 + tap]! +=
            (row[places[at * side ** 2 + tap] as number] as number) / total / queries.length;
      }
    });
    return { out: filtered(v, kernels, side) };
  },
  cost: (letters, { side }) => {
    const { b, h, d, e, space0 = 1, space1 = 1 } = letters as Readonly<Record<string, number>>;
    const n = space0 * space1;
    return { flops: 2 * b! * n * h! * (e! * side ** 2 + d! * QUERIES), bytes: 8 * b! * n * h! * (d! + e!), state: 0 };
  },
  variants: (letters) => {
    const { space0 = 1, space1 = 1 } = letters as Readonly<Record<string, number>>;
    return [7, 13, 31].filter((side) => side < Math.min(space0, space1)).map((side) => ({ side }));
  },
});

/** Queries spread over a picture, as far from its edges as kernels reach, and the keys that the taps of a kernel around each meet. */
function placesOf([rows, columns]: readonly [number, number], side: number) {
  const reach = Math.floor(side / 2);
  const inner = [rows, columns].map((extent) => Math.max(1, extent - 2 * reach)) as [number, number];
  const queries = spreadOver(sizeOf(inner), QUERIES).map((at) => {
    const [row, column] = [Math.floor(at / inner[1]), at % inner[1]];
    return (row + reach) * columns + column + reach;
  });
  const taps = Array.from({ length: side ** 2 }, (_, tap) => [Math.floor(tap / side) - reach, (tap % side) - reach]);
  const places = queries.flatMap((query) => taps.map(([down = 0, right = 0]) => query + down * columns + right));
  return { queries, places };
}

/** [h, side, side]. */
function kernelsOf(q: Tensor, k: Tensor, side: number): Tensor<'f32'> {
  const [b, rows, columns, h, d] = q.shape as [number, number, number, number, number];
  if (b !== 1) throw new ParameterError(`q must be of one picture, got ${b}`);
  const { queries, places } = placesOf([rows, columns], side);
  const { runtime } = q;
  return runtime.scope(() => {
    const byHead = (x: Tensor) => contiguous(x.permute([1, 0, 2]) as Tensor<'f32'>);
    const flat = (x: Tensor) => contiguous(x as Tensor<'f32'>).reshape([rows * columns, h * d]);
    const asking = gather(flat(q), runtime.tensor(queries, [queries.length], 'i32')).reshape([queries.length, h, d]);
    const scores = matmul(byHead(asking), byHead(flat(k).reshape([rows * columns, h, d])), { transposeB: true });
    const weights = softmax(multiply(scores, runtime.tensor([1 / Math.sqrt(d)], [])));
    // A row for each query and key, with the heads side by side.
    const table = contiguous(weights.reshape([h, -1]).permute([1, 0]) as Tensor<'f32'>);
    const at = places.map((place, index) => Math.floor(index / side ** 2) * rows * columns + place);
    const met = gather(table, runtime.tensor(at, [at.length], 'i32')).reshape([queries.length, side ** 2, h]);
    return contiguous(mean(met, { axes: [0] }).permute([1, 0]) as Tensor<'f32'>).reshape([h, side, side]);
  });
}

/** Each channel of v [b, rows, columns, h, e] filtered by the kernel of its head, with zeros around. */
function filtered(v: HostTensor, kernels: Float64Array, side: number): HostTensor<'f64'> {
  const [b, rows, columns, h, e] = v.shape as [number, number, number, number, number];
  const values = toFloat64(v);
  const reach = Math.floor(side / 2);
  const out = new Float64Array(values.length);
  for (let at = 0; at < b * rows * columns; at++) {
    const [row, column] = [Math.floor(at / columns) % rows, at % columns];
    for (let tap = 0; tap < side ** 2; tap++) {
      const [y, x] = [row + Math.floor(tap / side) - reach, column + (tap % side) - reach];
      if (y < 0 || y >= rows || x < 0 || x >= columns) continue;
      const from = (at + (y - row) * columns + x - column) * h * e;
      for (let c = 0; c < h * e; c++)
        out[at * h * e + c]! += kernels[Math.floor(c / e) * side ** 2 + tap]! * values[from + c]!;
    }
  }
  return hostTensor(out, v.shape, 'f64');
}

/** What is compared on pictures beside the methods of the registry. */
export const pictureMethods = [prunedTokens, meanKernel] as unknown as readonly Method[];
