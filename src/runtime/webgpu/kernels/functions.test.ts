import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { inOrder } from '../../../../test/in-order';
import { OPERATIONS } from '../../../expressions/operations';
import { Device } from '../device';
import { type Kernel, type Region, variants } from '../kernel';
import { Memory } from '../memory';
import { Queue } from '../queue';
import { functions } from './functions';

type Tested =
  | 'precise_exp'
  | 'precise_expm1'
  | 'precise_log'
  | 'precise_tanh'
  | 'precise_log1p'
  | 'precise_softplus'
  | 'sigmoid_slope'
  | 'precise_erf'
  | 'precise_sigmoid'
  | 'precise_sin'
  | 'precise_cos'
  | 'normal_cdf';

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** In float64. */
function defined(operation: 'normalCdf' | 'erf' | 'softplus', x: number): number {
  const out = new Float64Array(1);
  OPERATIONS[operation].loop(out, Float64Array.of(x), out, out, 1);
  return out[0] as number;
}

/** Definition, arguments at which it varies, and the largest error in units in the last place of normal results. */
const RELATIVE: readonly [Tested, (x: number) => number, readonly number[], number][] = [
  ['precise_exp', Math.exp, range(-87, 88), 2],
  ['precise_expm1', Math.expm1, range(-20, 88), 3],
  ['precise_log', Math.log, [...range(0.001, 4), ...range(-87, 88).map(Math.exp), 1e-45, 1e-40], 2],
  ['precise_tanh', Math.tanh, range(-12, 12), 4],
  ['precise_sigmoid', sigmoid, range(-87, 88), 4],
  ['precise_log1p', Math.log1p, [...range(-0.999, 4), ...range(0, 88).map(Math.exp)], 3],
  ['precise_softplus', (x) => defined('softplus', x), range(-87, 88), 4],
  ['sigmoid_slope', (x) => sigmoid(x) * sigmoid(-x), range(-87, 87), 6],
  ['precise_erf', (x) => defined('erf', x), range(-6, 6), 4],
  ['precise_sin', Math.sin, range(-3, 3), 3],
  ['precise_cos', Math.cos, range(-1.4, 1.4), 3],
];

const angles = Array.from({ length: 4001 }, (_, i) => Math.sign(i - 2000) * 1.0104 ** Math.abs(i - 2000));

/** Where the error is bounded as such. */
const ABSOLUTE: readonly [Tested, (x: number) => number, readonly number[], number][] = [
  ['precise_sin', Math.sin, [...range(-100, 100), ...angles, 1e22, 2 ** 100, 3e38], 1.5e-7],
  ['precise_cos', Math.cos, [...range(-100, 100), ...angles, 1e22, 2 ** 100, 3e38], 1.5e-7],
  ['normal_cdf', (x) => defined('normalCdf', x), range(-9, 9), 3e-7],
];

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

/** Results at zero, minus zero, infinity, minus infinity and NaN. */
const SPECIAL: Readonly<Record<Tested, readonly number[]>> = {
  precise_exp: [1, 1, infinity, 0, nan],
  precise_expm1: [0, -0, infinity, -1, nan],
  precise_log: [-infinity, -infinity, infinity, nan, nan],
  precise_tanh: [0, -0, 1, -1, nan],
  precise_sigmoid: [0.5, 0.5, 1, 0, nan],
  precise_log1p: [0, -0, infinity, nan, nan],
  precise_softplus: [Math.fround(Math.LN2), Math.fround(Math.LN2), infinity, 0, nan],
  sigmoid_slope: [0.25, 0.25, 0, 0, nan],
  precise_erf: [0, -0, 1, -1, nan],
  precise_sin: [0, -0, nan, nan, nan],
  precise_cos: [1, 1, nan, nan, nan],
  normal_cdf: [0.5, 0.5, 1, 0, nan],
};

/** Many numbers from one to the other, small ones among them. */
function range(from: number, to: number): number[] {
  const even = Array.from({ length: 4001 }, (_, i) => from + ((to - from) * i) / 4000);
  const small = Array.from({ length: 360 }, (_, i) => 10 ** -(i / 10));
  return [...even, ...small, ...small.map((x) => -x)].filter((x) => x >= from && x <= to);
}

const kernelOf = variants(
  (name: Tested): Kernel => ({
    name,
    invocations: 64,
    operands: { x: { access: 'read' }, out: { access: 'write' } },
    numbers: { size: 'u32' },
    body: `
${functions(name)}
fn run(task: u32, lane: u32) {
  let i = task * 64 + lane;
  if (i < numbers.size) { store_out(i, ${name}(load_x(i))); }
}`,
  }),
);

describe.runIf(inject('hasGpu'))('functions in WGSL', () => {
  let device: Device;
  beforeAll(async () => {
    device = await Device.open({});
  });
  afterAll(() => device.dispose());

  async function evaluate(name: Tested, values: readonly number[]): Promise<[Float32Array, Float32Array]> {
    const size = values.length;
    const memory = new Memory(device);
    const queue = new Queue(device, memory);
    const region = (): Region => ({
      ...{ storage: { buffer: memory.allocate(4 * size) }, dtype: 'f32' },
      ...{ shape: [size], strides: [1], offset: 0 },
    });
    const [x, out] = [region(), region()];
    const inputs = Float32Array.from(values);
    queue.write(x.storage.buffer as never, new Uint8Array(inputs.buffer), 0);
    const plan = () => ({
      dispatches: [
        {
          ...{ kernel: kernelOf(name), operands: { x, out }, numbers: { size } },
          ...{ tasks: Math.ceil(size / 64), operations: 100 * size },
        },
      ],
    });
    await inOrder()(queue.run(plan, {}));
    const bytes = await queue.read(out.storage.buffer as never, 0, 4 * size);
    queue.dispose();
    return [inputs, new Float32Array(bytes.buffer)];
  }

  /** The argument with the largest error over what is allowed there, and that error. */
  async function worst(name: Tested, values: readonly number[], error: (got: number, x: number) => number) {
    const [inputs, results] = await evaluate(name, values);
    const errors = Array.from(inputs, (x, i) => [error(results[i] as number, x), x, results[i]]);
    return errors.reduce((most, next) => ((next[0] as number) > (most[0] as number) ? next : most));
  }

  test.each(RELATIVE)('%s is accurate to units in the last place', async (name, definition, values, most) => {
    const found = await worst(name, values, (got, x) => {
      const want = definition(x);
      const unit = 2 ** (Math.floor(Math.log2(Math.abs(want))) - 23);
      return Math.abs(want) < 2 ** -126 ? 0 : Math.abs(got - want) / unit;
    });
    expect(found[0], `at ${found[1]}, ${found[2]}`).toBeLessThanOrEqual(most);
  });

  test.each(ABSOLUTE)('%s is accurate', async (name, definition, values, most) => {
    const found = await worst(name, values, (got, x) => Math.abs(got - (x === 0 ? definition(1e-30) : definition(x))));
    expect(found[0], `at ${found[1]}, ${found[2]}`).toBeLessThanOrEqual(most);
  });

  test.each(Object.entries(SPECIAL))('%s is right at zeros, infinities and NaN', async (name, expected) => {
    const [, results] = await evaluate(name as Tested, [0, -0, infinity, -infinity, nan]);
    expect([...results]).toEqual(expected);
  });
});
