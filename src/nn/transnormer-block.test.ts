import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { relativeError } from '../../test/describe-method';
import { scoped } from '../../test/scoped';
import { releasedDecays } from '../methods/linear/lightning-attention/schedules';
import { pullback } from '../tape';
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';
import { normal } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { gatedLinearAttention } from './gated-linear-attention';
import { lrpe, lrpeAngles, lrpeFactors } from './lrpe';
import { simpleGlu } from './mlp';
import { countParameters, initial, type Module } from './module';
import { transnormerBlock } from './transnormer-block';

type Matrix = number[][];
type Weights = Readonly<Record<string, Float64Array>>;

const silu = (x: number) => x / (1 + Math.exp(-x));
const at = (x: ArrayLike<number>, i: number) => x[i] as number;

/** x w^T for w [columns, x's width], whose rows begin at `from`. */
function times(x: Matrix, w: Float64Array, from = 0, columns?: number): Matrix {
  return x.map((row) => {
    const count = columns ?? w.length / row.length;
    return Array.from({ length: count }, (_, c) =>
      row.reduce((sum, value, r) => sum + value * at(w, (from + c) * row.length + r), 0),
    );
  });
}

const zip = (a: Matrix, b: Matrix, join: (x: number, y: number) => number): Matrix =>
  a.map((row, t) => row.map((x, c) => join(x, at(b[t] as number[], c))));

const rms = (x: Matrix): Matrix =>
  x.map((row) => {
    const root = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / row.length + 1e-6);
    return row.map((value) => value / root);
  });

/** The sum over the pairs of tokens, as the definition says: decay^(t - s) times the sum of q_j k_j cos(theta_j (t - s)). */
function gla(x: Matrix, w: Weights, heads: number, decay: readonly number[]): Matrix {
  const all = (x[0] as number[]).length;
  const [q, k, v, u] = [0, 1, 2, 3].map((i) => times(x, w['qkvu_proj.weight'] as Float64Array, i * all, all)) as [
    Matrix,
    Matrix,
    Matrix,
    Matrix,
  ];
  const theta = w['lrpe.theta'];
  const width = all / heads;
  const out = v.map((row) => row.map(() => 0));
  for (let t = 0; t < x.length; t++) {
    for (let s = 0; s <= t; s++) {
      for (let h = 0; h < heads; h++) {
        let score = 0;
        for (let c = h * width; c < (h + 1) * width; c++) {
          const turn = theta ? Math.cos(at(theta, c) * (t - s)) : 1;
          score += silu(at(q[t] as number[], c)) * silu(at(k[s] as number[], c)) * turn;
        }
        score *= at(decay, h) ** (t - s);
        for (let c = h * width; c < (h + 1) * width; c++)
          (out[t] as number[])[c] = at(out[t] as number[], c) + score * at(v[s] as number[], c);
      }
    }
  }
  return times(
    zip(rms(out), u, (a, b) => a * b),
    w['out_proj.weight'] as Float64Array,
  );
}

function sglu(x: Matrix, w: Weights): Matrix {
  const [first, second, last] = ['l1', 'l2', 'l3'].map((name) => w[`${name}.weight`]) as Float64Array[];
  return times(
    zip(times(x, first!), times(x, second!), (a, b) => a * b),
    last!,
  );
}

const part = (w: Weights, prefix: string): Weights =>
  Object.fromEntries(
    Object.entries(w).flatMap(([name, x]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), x]] : [])),
  );

function block(x: Matrix, w: Weights, heads: number, decay: readonly number[]): Matrix {
  const sum = (a: Matrix, b: Matrix) => zip(a, b, (p, q) => p + q);
  const between = sum(x, gla(rms(x), part(w, 'token_mixer.'), heads, decay));
  return sum(between, sglu(rms(between), part(w, 'channel_mixer.')));
}

const [b, n, width, heads, hidden] = [2, 7, 6, 2, 5];
const decay = [0.9, 0.5];

function random(shape: readonly number[], seed: number, factor = 1): HostTensor<'f64'> {
  return hostTensor(
    Float64Array.from(normal(sizeOf(shape), seed), (x) => factor * x),
    shape,
    'f64',
  );
}

interface Case {
  readonly title: string;
  readonly module: Module;
  readonly definition: (x: Matrix, weights: Weights) => Matrix;
}

const cases: readonly Case[] = [
  { title: 'SGLU', module: simpleGlu({ width, hidden }), definition: sglu },
  ...[false, true].map((rotated) => ({
    title: rotated ? 'GLA with LRPE' : 'GLA',
    module: gatedLinearAttention({ width, heads, decay, lrpe: rotated }),
    definition: (x: Matrix, w: Weights) => gla(x, w, heads, decay),
  })),
  ...[0, 1].map((layer) => ({
    title: layer === 0 ? 'the first block' : 'a later block',
    module: transnormerBlock({ width, heads, hidden, layer, layers: 3 }),
    definition: (x: Matrix, w: Weights) => block(x, w, heads, releasedDecays(heads, { layer, layers: 3 })),
  })),
];

const shape = [b, n, width];
const rowsOf = (x: Float64Array, batch: number): Matrix =>
  Array.from({ length: n }, (_, t) => [...x.subarray((batch * n + t) * width, (batch * n + t + 1) * width)]);

/** The definition over all batches, and by differences the gradients of its product with gradOut. */
function expected({ definition }: Case, host: Readonly<Record<string, HostTensor<'f64'>>>, gradOut: HostTensor<'f64'>) {
  const { x, ...parameters } = Object.fromEntries(
    Object.entries(host).map(([name, { data }]) => [name, data]),
  ) as Weights;
  const compute = () =>
    Float64Array.from([0, 1].flatMap((batch) => definition(rowsOf(x as Float64Array, batch), parameters).flat()));
  const loss = () => compute().reduce((sum, value, i) => sum + value * at(gradOut.data, i), 0);
  const grads = Object.entries(host).map(([name, { data, shape }]) => {
    const slopes = data.map((value, i) => {
      data[i] = value + 1e-5;
      const above = loss();
      data[i] = value - 1e-5;
      const below = loss();
      data[i] = value;
      return (above - below) / 2e-5;
    });
    return [name, hostTensor(slopes, shape, 'f64')] as const;
  });
  return { out: hostTensor(compute(), shape, 'f64'), grads: Object.fromEntries(grads) };
}

const f32 = (host: HostTensor) =>
  hostTensor(Float32Array.from(toFloat64(host)), host.shape, 'f32') as HostTensor<'f32'>;

describe.each(cases)('$title', (each) => {
  const shapes = Object.entries(each.module.parameters);
  const host = Object.fromEntries(shapes.map(([name, { shape }], i) => [name, random(shape, i + 2, 0.6)]));
  const x = random(shape, 1);
  const gradOut = random(shape, 99);
  const wanted = expected(each, { ...host, x }, gradOut);

  describeOnBackends('forward and gradients', (runtime) => {
    test('agree with the definition and its differences, and keep nothing', async () => {
      const { live } = runtime().memory();
      await scoped(runtime(), async () => {
        const parameters = Object.fromEntries(shapes.map(([name]) => [name, runtime().fromHost(f32(host[name]!))]));
        const inputs = { x: runtime().fromHost(f32(x)), parameters };
        const byOut = runtime().fromHost(f32(gradOut));
        const { results, pull } = pullback(({ x, parameters }) => each.module.forward(x, parameters), inputs);
        expect(relativeError(await results.toHost(), wanted.out)).toBeLessThan(1e-5);
        const gradients = pull(byOut);
        for (const [name, gradient] of Object.entries({ ...gradients.parameters, x: gradients.x })) {
          expect(relativeError(await gradient.toHost(), wanted.grads[name]!), name).toBeLessThan(3e-5);
        }
      });
      expect(runtime().memory().live).toBe(live);
    });
  });
});

describeOnBackends('TransNormerLLM', (runtime) => {
  test('the product of rotated queries and keys depends on the distance alone', async () => {
    await scoped(runtime(), async () => {
      const theta = runtime().tensor(lrpeAngles(4), [1, 4]);
      const [q, k] = [random([4], 1), random([4], 2)];
      const everywhere = ({ data }: HostTensor<'f64'>) =>
        runtime().tensor(
          Float32Array.from({ length: 9 * 4 }, (_, i) => at(data, i % 4)),
          [1, 9, 1, 4],
        );
      const factors = lrpeFactors(theta, 9);
      const parts = async (x: Tensor) => {
        const { cos, sin } = lrpe(x, factors);
        return [await cos.read(), await sin.read()] as Float32Array[];
      };
      const [queries, keys] = [await parts(everywhere(q)), await parts(everywhere(k))];
      const angles = await theta.read();
      for (let t = 0; t < 9; t++) {
        for (let s = 0; s < 9; s++) {
          let [product, wanted] = [0, 0];
          for (let j = 0; j < 4; j++) {
            for (const which of [0, 1])
              product += at(queries[which] as Float32Array, t * 4 + j) * at(keys[which] as Float32Array, s * 4 + j);
            wanted += at(q.data, j) * at(k.data, j) * Math.cos(at(angles, j) * (t - s));
          }
          expect(product).toBeCloseTo(wanted, 5);
        }
      }
    });
  });

  test('the length of v does not matter to the mixer, and the future does not to the block', async () => {
    await scoped(runtime(), async () => {
      const gla = gatedLinearAttention({ width: 8, heads: 2, decay: [1, 0.5] });
      const { 'qkvu_proj.weight': weight, ...others } = initial(gla, runtime(), 3);
      const values = await weight!.read();
      const x = runtime().random([1, 12, 8], { seed: 4 });
      // The rows of v are the third eight; all are large enough to outweigh the epsilon of the norm.
      const forward = (factor: number) => {
        const scaled = values.map((value, i) => 100 * value * (i >= 128 && i < 192 ? factor : 1));
        return gla.forward(x, { ...others, 'qkvu_proj.weight': runtime().tensor(scaled, [32, 8]) });
      };
      expect(relativeError(await forward(1).toHost(), await forward(100).toHost())).toBeLessThan(1e-4);

      const model = transnormerBlock({ width: 8, heads: 2, hidden: 22, layer: 0, layers: 2 });
      const parameters = initial(model, runtime());
      const changed = runtime().tensor(
        (await x.read()).map((value, i) => (i < 5 * 8 ? value : -value)),
        x.shape,
      );
      const [before, after] = [
        await model.forward(x, parameters).read(),
        await model.forward(changed, parameters).read(),
      ];
      expect([...before.subarray(0, 40)]).toEqual([...after.subarray(0, 40)]);
      expect([...before.subarray(40)]).not.toEqual([...after.subarray(40)]);
    });
  });
});

test('settings that are none are refused by name', () => {
  const gla = (more: object) => () => gatedLinearAttention({ width: 4, heads: 2, ...more });
  expect(gla({ heads: 3 })).toThrow('heads must divide the width 4, got 3');
  expect(gla({ decay: [0.5] })).toThrow('decay must have one number for each of the 2 heads, got 1');
  expect(gla({ decay: [0.5, 2] })).toThrow('decay must be numbers in (0, 1], got 2 at element 1');
  expect(gla({ lrpe: 1 })).toThrow('lrpe must be true or false, got 1');
  expect(() => simpleGlu({ width: 4, hidden: 0 })).toThrow('hidden must be an integer >= 1, got 0');
  const block = (more: object) => () =>
    transnormerBlock({ width: 4, heads: 2, hidden: 3, layer: 0, layers: 2, ...more });
  expect(block({ layer: 2 })).toThrow('layer must be an integer from 0 to 1, got 2');
  expect(block({ schedule: 'none' })).toThrow("schedule must be one of paper, released, got 'none'");
  expect(block({ depth: 2 })).toThrow("config has no 'depth': expected width, heads, hidden");
});

describe('parameters', () => {
  const blocks = (layers: number, width: number, hidden: number) => ({ width, hidden, heads: 8, layers });

  test('are 5 D^2 + 3 D F a block, and those of the released models', () => {
    const count = (layer: number, extents = blocks(24, 1024, 2816)) =>
      countParameters(transnormerBlock({ ...extents, layer }));
    expect(count(1)).toBe(5 * 1024 ** 2 + 3 * 1024 * 2816);
    // The first block has an angle for each channel.
    expect(count(0) - count(1)).toBe(1024);
    const all = 24 * count(1);
    expect(all).toBe(333_447_168);
    expect(all + 50_272 * 1024).toBe(384_925_696);
    expect(all + 64_000 * 1024).toBe(398_983_168);
  });
});
