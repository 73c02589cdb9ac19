import * as valibot from 'valibot';
import { describe, expect, test } from 'vitest';
import { expectRefusal } from '../../test/expect';
import { createRuntime, matmul, mean, multiply, relu, type Tensor } from '../index';
import { readSafetensors, writeSafetensors } from '../io';
import { norm, partOf, prefixed, splitBuffers, TrainingPass } from '../nn';
import { differentiate } from '../tape';
import { hostTensor } from '../tensor/host';
import { bindShapes } from '../tensor/shape';
import { defineModel, universalSentenceEncoder } from '.';
import { models } from './registry';

const middle = norm({ kind: 'batch', width: 4 });

/** Classes of pixels that are bright, with batch norm, and the places of those that count. */
const bright = defineModel({
  name: 'bright',
  summary: 'classes of pixels, and which are bright',
  inputs: { x: 'b 3 n' },
  outputs: { logits: 'b n classes', auxiliary: 'b n', places: 'count' },
  sometimes: ['auxiliary'],
  promised: ['places'],
  params: valibot.strictObject({ classes: valibot.optional(valibot.pipe(valibot.number(), valibot.integer()), 2) }),
  network: ({ classes }) => ({
    parameters: {
      'stem.weight': { shape: [3, 4], initial: { std: 1 } },
      ...prefixed(middle.parameters, 'norm'),
      'head.weight': { shape: [4, classes], initial: { std: 1 } },
    },
    ignored: /^aux_head\./,
    forward({ x }, weights, control) {
      const { runtime } = x;
      return runtime.scope(() => {
        const places = x.read().then((values) => {
          const found = [...values.keys()].filter((at) => (values[at] as number) > 1);
          return runtime.tensor(found, [found.length], 'i32');
        });
        const h = middle.forward(
          matmul(x.permute([0, 2, 1]), weights['stem.weight']!),
          partOf(weights, 'norm'),
          control,
        );
        const logits = matmul(relu(h), weights['head.weight']!);
        return { logits, places, ...(control.training && { auxiliary: mean(h, { axes: [2] }) }) };
      });
    },
  }),
  sample: () => ({ params: {}, inputs: { x: hostTensor([1, 2, 3, 0, 0, 0], [1, 3, 2]) } }),
});

describe('a model that is defined', () => {
  test('infers, trains with heads of its own, and promises what the data decides', async () => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const model = bright.create({ classes: 3 });
    const { parameters, buffers } = splitBuffers(model, model.initialize(runtime, { seed: 2 }));
    const x = runtime.fromHost(bright.sample().inputs.x);
    const inferred = model.forward({ x }, { ...parameters, ...buffers });
    expect(inferred.logits.shape).toEqual([1, 2, 3]);
    expect(inferred.auxiliary).toBeUndefined();
    expect([...(await (await inferred.places).read())]).toEqual([1, 2]);
    const training = new TrainingPass();
    const { gradients } = differentiate((p) => {
      const { logits, auxiliary } = model.forward({ x }, { ...p, ...buffers }, { training });
      expect(auxiliary!.shape).toEqual([1, 2]);
      return mean(multiply(logits, logits));
    }, parameters);
    training.apply(buffers);
    expect(Object.keys(gradients)).toEqual(['stem.weight', 'norm.weight', 'norm.bias', 'head.weight']);
    expect(await buffers['norm.running_mean']!.read()).not.toEqual(new Float32Array(4));
  });

  test("loads PyTorch's checkpoints, with counts, prefixes and heads of training", async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const model = bright.create({});
    const own = Object.entries(model.parameters).map(([name, { shape }], at) => [
      `module.${name}`,
      hostTensor(
        Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => at),
        shape,
      ),
    ]);
    const file = {
      ...Object.fromEntries(own),
      'module.norm.num_batches_tracked': hostTensor([7], [], 'i64'),
      'aux_head.weight': hostTensor([1], [1]),
    };
    const loaded = model.load(runtime, readSafetensors(writeSafetensors(file as never)));
    expect(Object.keys(loaded)).toEqual(Object.keys(model.parameters));
    expect([...(await loaded['norm.running_var']!.read())]).toEqual([4, 4, 4, 4]);
    const { 'module.head.weight': _, ...rest } = file;
    expect(() => model.load(runtime, rest as never)).toThrow('weights have no tensor head.weight');
    expect(() => model.load(runtime, { ...file, 'tail.weight': hostTensor([1], [1]) } as never)).toThrow(
      "weights have a tensor 'tail.weight' too many",
    );
  });

  test('refuses what does not fit by name', async () => {
    using runtime = await createRuntime({ backend: 'reference' });
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime, call, message);
    const model = bright.create({});
    const weights = model.initialize(runtime);
    const [x, integers] = [runtime.random([1, 3, 2]), runtime.tensor([1, 2, 3], [1, 3, 1], 'i32')];
    await refuse(() => bright.create({ classes: 1.5 }), 'param classes of bright: expected integer, got 1.5');
    await refuse(() => bright.create({ clases: 1 } as never), "bright has no param 'clases': expected classes");
    await refuse(() => model.forward({} as never, weights), 'x must be a Tensor, got undefined');
    await refuse(() => model.forward({ x, y: x } as never, weights), "bright has no input 'y': expected x");
    await refuse(() => model.forward({ x: x.reshape([3, 2]) }, weights), 'x must have shape [b, 3, n], got [3, 2]');
    await refuse(() => model.forward({ x: integers }, weights), 'x must hold floating-point numbers, got i32');
    await refuse(() => model.forward({ x }, weights, { onProgress() {} } as never), "control has no 'onProgress'");
    expect(() => defineModel({ ...bright, sample: undefined } as never)).toThrow('sample of bright must be a function');
  });
});

test.each(models.map((model) => [model.name, model] as const))('%s: its sample runs, as declared', async (_, model) => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const { params, inputs } = model.sample();
  const created = model.create(params as never);
  const tensors = Object.fromEntries(Object.entries(inputs).map(([name, host]) => [name, runtime.fromHost(host)]));
  const parameters = created.initialize(runtime);
  const results = created.forward(tensors as never, parameters) as Record<string, Tensor>;
  const shapes = Object.entries({ ...tensors, ...results }).map(([name, { shape }]) => [name, shape]);
  expect(() => bindShapes({ ...model.inputs, ...model.outputs }, Object.fromEntries(shapes))).not.toThrow();
  for (const each of Object.values(results)) for (const value of await each.read()) expect(value).not.toBeNaN();
});

test.each(models.flatMap((model) => (model.published ? [[model.name, model] as const] : [])))(
  '%s: the weights that come along are of the params that are said, and are read',
  async (_, { name, create, published }) => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    const { tensors } = await published!.load();
    const model = create(published!.params as never);
    expect(Object.keys(model.load(runtime, tensors))).toEqual(Object.keys(model.parameters));
    for (const [tensor, { data }] of Object.entries(tensors))
      expect((data as Float32Array).every(Number.isFinite), `${tensor} of ${name}`).toBe(true);
  },
);

test('sentences of one meaning are closer than others', async () => {
  using runtime = await createRuntime();
  const model = universalSentenceEncoder;
  const created = model.create({});
  const { tensors } = await model.published!.load();
  const parameters = created.load(runtime, tensors);
  const tokens = runtime.fromHost(model.sample().inputs.tokens);
  const { embedding } = created.forward({ tokens }, parameters);
  const [likeness] = model.pictures!({ embedding: { shape: embedding.shape, data: await embedding.read() } });
  const { rows, data, labels } = likeness!;
  expect([rows, likeness!.columns, labels!.length]).toEqual([6, 6, 6]);
  for (let row = 0; row < rows; row++) {
    const of = Array.from({ length: rows }, (_, column) => data[row * rows + column] as number);
    expect(of[row]).toBeCloseTo(1, 5);
    // Sentences come in pairs.
    const others = of.filter((_, column) => column >> 1 !== row >> 1);
    expect(of[row ^ 1]).toBeGreaterThan(Math.max(...others) + 0.3);
  }
});
