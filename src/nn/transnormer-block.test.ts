import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { relativeError } from '../../test/describe-method';
import { expectRefusal } from '../../test/expect';
import { scoped } from '../../test/scoped';
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';
import { normal } from '../tensor/random';
import { sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { GatedLinearAttention } from './gated-linear-attention';
import { lrpe, lrpeAngles, lrpeFactors } from './lrpe';
import { countParameters, type Module } from './module';
import { SimpleGlu } from './simple-glu';
import { TransnormerBlock } from './transnormer-block';

type Matrix = number[][];
type Weights = Readonly<Record<string, Float64Array>>;

const silu = (x: number) => x / (1 + Math.exp(-x));
const at = (x: ArrayLike<number>, i: number) => x[i] as number;

/** x w for w [x's width, columns]. */
function times(x: Matrix, w: Float64Array): Matrix {
  return x.map((row) => {
    const columns = w.length / row.length;
    return Array.from({ length: columns }, (_, c) =>
      row.reduce((sum, value, r) => sum + value * at(w, r * columns + c), 0),
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
  const [q, k, v, u] = ['q', 'k', 'v', 'u'].map((name) => times(x, w[name] as Float64Array)) as [
    Matrix,
    Matrix,
    Matrix,
    Matrix,
  ];
  const width = (v[0] as number[]).length / heads;
  const out = v.map((row) => row.map(() => 0));
  for (let t = 0; t < x.length; t++) {
    for (let s = 0; s <= t; s++) {
      for (let h = 0; h < heads; h++) {
        let score = 0;
        for (let c = h * width; c < (h + 1) * width; c++) {
          const turn = w.theta ? Math.cos(at(w.theta, c) * (t - s)) : 1;
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
    w.o as Float64Array,
  );
}

function sglu(x: Matrix, w: Weights): Matrix {
  const product = zip(times(x, w.v as Float64Array), times(x, w.u as Float64Array), (a, b) => a * b);
  return times(product, w.o as Float64Array);
}

const part = (w: Weights, prefix: string): Weights =>
  Object.fromEntries(
    Object.entries(w).flatMap(([name, x]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), x]] : [])),
  );

function block(x: Matrix, w: Weights, heads: number, decay: readonly number[]): Matrix {
  const sum = (a: Matrix, b: Matrix) => zip(a, b, (p, q) => p + q);
  const between = sum(x, gla(rms(x), part(w, 'mixer.'), heads, decay));
  return sum(between, sglu(rms(between), part(w, 'channels.')));
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
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly make: (parameters: Readonly<Record<string, Tensor>>) => Module;
  readonly definition: (x: Matrix, weights: Weights) => Matrix;
}

const extents = { width, heads, hidden, layers: 3 };
const cases: readonly Case[] = [
  {
    title: 'SGLU',
    shapes: SimpleGlu.shapes({ width, hidden }),
    make: (parameters) => new SimpleGlu(parameters),
    definition: sglu,
  },
  ...[false, true].map((turned) => ({
    title: turned ? 'GLA with LRPE' : 'GLA',
    shapes: GatedLinearAttention.shapes({ width, heads, lrpe: turned }),
    make: (parameters: Readonly<Record<string, Tensor>>) => new GatedLinearAttention(parameters, { heads, decay }),
    definition: (x: Matrix, w: Weights) => gla(x, w, heads, decay),
  })),
  ...[0, 1].map((layer) => ({
    title: layer === 0 ? 'the first block' : 'a later block',
    shapes: TransnormerBlock.shapes({ ...extents, layer }),
    make: (parameters: Readonly<Record<string, Tensor>>) => new TransnormerBlock(parameters, { heads, decay }),
    definition: (x: Matrix, w: Weights) => block(x, w, heads, decay),
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
  const names = Object.keys(each.shapes);
  const host = Object.fromEntries(names.map((name, i) => [name, random(each.shapes[name] as number[], i + 2, 0.6)]));
  const x = random(shape, 1);
  const gradOut = random(shape, 99);
  const wanted = expected(each, { ...host, x }, gradOut);

  describeOnBackends('forward and backward', (runtime) => {
    test('agree with the definition and its differences, and keep nothing', async () => {
      const { live } = runtime().memory();
      const parameters = Object.fromEntries(names.map((name) => [name, runtime().fromHost(f32(host[name]!))]));
      const [input, byOut] = [runtime().fromHost(f32(x)), runtime().fromHost(f32(gradOut))];
      const module = each.make(parameters);
      expect(Object.keys(module.parameters).sort()).toEqual([...names].sort());
      const held = runtime().memory().live;
      const out = module.forward(input);
      expect(relativeError(await out.toHost(), wanted.out)).toBeLessThan(1e-5);
      const grads = module.backward(input, byOut);
      expect(Object.keys(grads.parameters).sort()).toEqual([...names].sort());
      for (const [name, gradient] of Object.entries({ ...grads.parameters, x: grads.x })) {
        expect(relativeError(await gradient.toHost(), wanted.grads[name]!), name).toBeLessThan(3e-5);
        gradient.dispose();
      }
      out.dispose();
      expect(runtime().memory().live).toBe(held);
      for (const tensor of [...Object.values(parameters), input, byOut]) tensor.dispose();
      expect(runtime().memory().live).toBe(live);
    });
  });
});

describeOnBackends('TransNormerLLM', (runtime) => {
  test('the product of turned queries and keys depends on the distance alone', async () => {
    await scoped(runtime(), async () => {
      const theta = lrpeAngles(runtime(), 1, 4);
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
      const gla = GatedLinearAttention.initial(runtime(), { width: 8, heads: 2, decay: [1, 0.5] }, 3);
      const large = async (x: Tensor) =>
        runtime().tensor(
          ((await x.read()) as Float32Array).map((value) => 100 * value),
          x.shape,
        );
      const { q, k, v } = gla.parameters;
      // Large enough to outweigh the epsilon of the norm.
      const larger = { q: await large(q), k: await large(k), v: await large(v) };
      const base = new GatedLinearAttention({ ...gla.parameters, ...larger }, gla.settings);
      const scaled = new GatedLinearAttention({ ...base.parameters, v: await large(larger.v) }, gla.settings);
      const x = runtime().random([1, 12, 8], { seed: 4 });
      const [one, other] = [base.forward(x), scaled.forward(x)];
      expect(relativeError(await one.toHost(), await other.toHost())).toBeLessThan(1e-4);

      const model = TransnormerBlock.initial(runtime(), { width: 8, heads: 2, hidden: 22, layer: 0, layers: 2 });
      const changed = runtime().tensor(
        (await x.read()).map((value, i) => (i < 5 * 8 ? value : -value)),
        x.shape,
      );
      const [before, after] = [await model.forward(x).read(), await model.forward(changed).read()];
      expect([...before.subarray(0, 40)]).toEqual([...after.subarray(0, 40)]);
      expect([...before.subarray(40)]).not.toEqual([...after.subarray(40)]);
    });
  });

  test('refuses what does not fit, by name', async () => {
    await scoped(runtime(), async () => {
      const glu = SimpleGlu.initial(runtime(), { width: 4, hidden: 6 });
      const { v, u, o } = glu.parameters;
      expect(() => new SimpleGlu({ v, u })).toThrow("SimpleGlu needs a parameter 'o': expected v, u, o");
      expect(() => new SimpleGlu({ v, u, o, w: o })).toThrow("SimpleGlu has no parameter 'w'");
      expect(() => new SimpleGlu({ v, u, o: v })).toThrow('o must have shape [F, D] with F = 6');
      const gla = GatedLinearAttention.initial(runtime(), { width: 4, heads: 2, lrpe: true });
      const make = (settings: object, more: object = {}) =>
        new GatedLinearAttention({ ...gla.parameters, ...more }, settings as { heads: number });
      expect(() => make({ heads: 3 })).toThrow('heads must divide the width 4, got 3');
      expect(() => make({ heads: 2 }, { theta: v })).toThrow('theta must have shape [2, 2], got [4, 6]');
      const [narrow, flat] = [runtime().random([1, 3, 5]), runtime().random([3, 4])];
      await expectRefusal(runtime(), () => gla.forward(narrow), 'must have shape [D, D] with D = 5');
      await expectRefusal(runtime(), () => gla.forward(flat), 'x must have shape [b, n, D], got [3, 4]');
      expect(() => make({ heads: 2, decay: [0.5] })).toThrow('decay must have one number');
    });
  });
});

describe('parameters', () => {
  const blocks = (layers: number, width: number, hidden: number) => ({ width, hidden, heads: 8, layers });

  test('are 5 D^2 + 3 D F a block, and those of the released models', () => {
    const count = (layer: number, extents = blocks(24, 1024, 2816)) =>
      countParameters(TransnormerBlock.shapes({ ...extents, layer }));
    expect(count(1)).toBe(5 * 1024 ** 2 + 3 * 1024 * 2816);
    // The first block has an angle for each channel.
    expect(count(0) - count(1)).toBe(1024);
    const all = 24 * count(1);
    expect(all).toBe(333_447_168);
    expect(all + 50_272 * 1024).toBe(384_925_696);
    expect(all + 64_000 * 1024).toBe(398_983_168);
  });
});
