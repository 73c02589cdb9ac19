import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, inject, test } from 'vitest';
import { describeOnBackends, isOnGpu } from '../../test/backends';
import { expectClose } from '../../test/expect';
import { ParseError } from '../errors';
import { createRuntime, map, matmul, mean, type Runtime, subtract, sum, type Tensor } from '../index';
import { readSafetensors, readSafetensorsMetadata, writeSafetensors } from '../io';
import { initial, type ModuleControl, norm, partOf, prefixed, splitBuffers } from '../nn';
import { type HostTensor, hostTensor } from '../tensor/host';
import { uniformGenerator } from '../tensor/random';
import { writeCheckpoint } from './checkpoint';
import { adamw, muon, type Optimizer, readCheckpoint, sgd, type TrainOptions, train, warmupCosine } from './index';

type Batch = { readonly x: Tensor; readonly y: Tensor };

const middle = norm({ kind: 'batch', width: 6 });

/** Two layers that learn y from x, with batch norm between, of which batches are drawn by their number. */
function problem(runtime: Runtime, make: (parameters: Record<string, Tensor>) => Optimizer) {
  const { parameters: own, buffers } = splitBuffers(middle, initial(middle, runtime));
  const parameters = {
    first: runtime.random([5, 6], { seed: 1 }),
    second: runtime.random([6, 3], { seed: 2 }),
    ...prefixed(own, 'norm'),
  };
  const optimizer = make(parameters);
  return {
    parameters,
    buffers: prefixed(buffers, 'norm'),
    optimizer,
    loss: (all: Readonly<Record<string, Tensor>>, { x, y }: Batch, control: ModuleControl = {}) => {
      const h = middle.forward(matmul(x, all.first!), partOf(all, 'norm'), control);
      const error = subtract(
        matmul(
          map((h) => Math.tanh(h), h),
          all.second!,
        ),
        y,
      );
      return mean(map((e) => e * e, error));
    },
    batches: (index: number) => ({
      x: runtime.random([7, 5], { seed: 10 + index }),
      y: runtime.random([7, 3], { seed: 20 + index }),
    }),
    dispose() {
      optimizer.dispose();
      for (const each of Object.values({ ...parameters, ...buffers })) each.dispose();
    },
  };
}

/** Files by name, and the parts of an answer that a training is to give twice. */
function files() {
  const kept: Record<string, Uint8Array> = {};
  const save = (name: string, file: Uint8Array) => {
    kept[name] = file;
  };
  return { kept, save };
}

const STEPS = 7;
const schedule = warmupCosine({ steps: STEPS, warmup: 2 });

/** What a whole training leaves, interrupted or not after the steps named. */
async function trained(runtime: Runtime, more: Partial<TrainOptions<Batch>>, interruptions: readonly number[] = []) {
  const { kept, save } = files();
  for (const [at, end] of [...interruptions, STEPS].entries()) {
    const { dispose, ...own } = problem(runtime, (p) => muon(p, { only: (name) => name === 'first' }));
    const controller = new AbortController();
    await train<Batch>({
      ...own,
      steps: STEPS,
      schedule,
      clip: 0.5,
      signal: controller.signal,
      validate: { every: 3, count: 2, batches: (index) => own.batches(100 + index) },
      checkpoint: { every: 2, save, settings: { seed: 1 } },
      ...(at > 0 && { resume: kept.last! }),
      onStep: ({ step }) => {
        if (step === end && step < STEPS) controller.abort(new Error('stopped'));
      },
      ...more,
    }).catch((error) => {
      if (error.message !== 'stopped') throw error;
    });
    dispose();
  }
  return kept;
}

describeOnBackends('training', (runtime) => {
  test('a hand example: a parabola by gradient descent', async () => {
    using w = runtime().tensor([4], [1]);
    using optimizer = sgd({ w }, { learningRate: 0.25, momentum: 0 });
    const told: number[] = [];
    const { losses, gradientNorms } = await train({
      parameters: { w },
      optimizer,
      steps: 3,
      batches: () => undefined,
      loss: ({ w }) => sum(map((w) => w * w, w!)),
      onStep: ({ step, loss }) => void told.push(step, loss),
    });
    expect(losses).toEqual([16, 4, 1]);
    expect(gradientNorms).toEqual([8, 4, 2]);
    expect(told).toEqual([1, 16, 2, 4, 3, 1]);
    expect([...(await w.read())]).toEqual([0.5]);
  });

  test.skipIf(isOnGpu)(
    'interrupted and resumed it leaves the same files, bit for bit, and nothing in memory',
    async () => {
      await runtime().finish();
      const before = runtime().memory().live;
      const whole = await trained(runtime(), { accumulate: 2 });
      const resumed = await trained(runtime(), { accumulate: 2 }, [1, 4]);
      expect(Object.keys(whole).sort()).toEqual(['best', 'last']);
      // The reference computes on more bits than files hold.
      if (runtime().backend.name !== 'reference') expect(resumed).toEqual(whole);
      const { steps, history, settings } = readCheckpoint(whole.last!);
      expect([steps, settings.seed, history.losses.length]).toEqual([STEPS, 1, STEPS]);
      expect(history.validation.map(({ steps }) => steps)).toEqual([3, 6, 7]);
      const losses = history.validation.map(({ loss }) => loss);
      expect(readCheckpoint(whole.best!).steps).toBe([3, 6, 7][losses.indexOf(Math.min(...losses))]);
      await runtime().finish();
      expect(runtime().memory().live).toBe(before);
    },
  );

  test('gradients of several batches make up a step as those of one large batch', async () => {
    const losses: number[][] = [];
    for (const accumulate of [1, 3]) {
      using w = runtime().tensor([1, -1], [2]);
      using optimizer = adamw({ w });
      const rows = [1, 2, 3, 4, 5, 6].map((x) => [x, -2 * x]);
      const parts = accumulate === 1 ? [rows] : [rows.slice(0, 2), rows.slice(2, 4), rows.slice(4)];
      const history = await train({
        parameters: { w },
        optimizer,
        steps: 4,
        accumulate,
        clip: 1,
        batches: (index) => runtime().tensor(parts[index % parts.length]!.flat(), [6 / accumulate, 2]),
        loss: ({ w }, x) => mean(map((w, x) => (w * x - 1) * (w * x - 1), w!, x)),
      });
      losses.push([...history.losses, ...history.gradientNorms, ...(await w.read())]);
    }
    expectClose(losses[1]!, losses[0]!, 1e-4);
  });

  test('a loss that is not finite ends it before the step, and the op that made it is named', async () => {
    using w = runtime().tensor([1, 2], [2]);
    using optimizer = sgd({ w }, { learningRate: 1 });
    const { kept, save } = files();
    const training = train({
      parameters: { w },
      optimizer,
      steps: 9,
      checkpoint: { every: 1, save },
      batches: (index) => runtime().tensor([2 - index, 1], [2]),
      loss: ({ w }, x) =>
        sum(
          map(
            (root, w) => root * w,
            map((x) => Math.sqrt(x), x),
            map((w) => w * 2, w!),
          ),
        ),
    });
    await expect(training).rejects.toThrow(
      /^the loss of step 4 is of no use, it is NaN: the first NaN is in map \(call 1 of the step, with a result \[2\]\)$/,
    );
    const { steps, parameters } = readCheckpoint(kept.last!);
    expect(steps).toBe(3);
    expect(parameters.w!.data).toEqual(await w.read());
    using gone = runtime().tensor([Number.NaN], [1]);
    using other = sgd({ gone });
    const hopeless = { parameters: { gone }, optimizer: other, steps: 1, batches: () => undefined };
    await expect(train({ ...hopeless, loss: ({ gone }) => sum(gone!) })).rejects.toThrow(
      'the first NaN is in parameters.gone',
    );
  });
});

test('ended at a hundred random moments it keeps every step that was taken, and goes on to the same bits', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const uniform = uniformGenerator(inject('seed'));
  const upTo = (most: number) => Math.floor(most * uniform());

  /** Trains on from what is kept, and ends at the moment of that number, or within the turns after it; whether it came that far. */
  async function isEnded(kept: Record<string, Uint8Array>, moment: number): Promise<boolean> {
    const { dispose, ...own } = problem(runtime, adamw);
    const controller = new AbortController();
    const stopped = new Error('stopped');
    const abort = async () => {
      for (let turns = upTo(8); turns > 0; turns--) await (uniform() < 0.2 ? setImmediate() : undefined);
      controller.abort(stopped);
    };
    let moments = 0;
    const passing = async () => {
      if (++moments === moment) void abort();
      await undefined;
    };
    const during = async <T>(make: () => T) => {
      await passing();
      const made = make();
      await passing();
      return made;
    };
    const training = train<Batch>({
      ...own,
      steps: 4,
      clip: 0.5,
      accumulate: 2,
      signal: controller.signal,
      resume: kept.last,
      batches: (index) => during(() => own.batches(index)),
      loss(parameters, batch) {
        void passing();
        return own.loss(parameters, batch);
      },
      validate: { every: 2, count: 2, batches: (index) => during(() => own.batches(100 + index)) },
      checkpoint: {
        every: 3,
        save: (name, file, steps) =>
          during(() => {
            expect(readCheckpoint(file).steps).toBe(steps);
            kept[name] = file;
          }),
      },
      async onStep() {
        await during(() => {});
        controller.signal.throwIfAborted();
      },
    });
    const reason = await training.then(
      () => undefined,
      (error) => error,
    );
    const { steps } = own.optimizer;
    dispose();
    expect([undefined, stopped]).toContain(reason);
    expect(kept.last ? readCheckpoint(kept.last).steps : 0).toBe(steps);
    return reason !== undefined;
  }

  const whole: Record<string, Uint8Array> = {};
  await isEnded(whole, 0);
  const { live } = runtime.memory();
  for (let ends = 0; ends < 100; ) {
    const kept: Record<string, Uint8Array> = {};
    while (await isEnded(kept, 1 + upTo(30))) ends++;
    expect(kept).toEqual(whole);
  }
  await runtime.finish();
  expect(runtime.memory().live).toBe(live);
});

test('any number of threads leaves the same files', async () => {
  const found: Record<string, Uint8Array>[] = [];
  for (const threads of [1, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    found.push(await trained(runtime, {}, threads === 1 ? [] : [3]));
  }
  expect(found[1]).toEqual(found[0]);
});

test('a batch for which there is no room is refused before the first step, with the estimate', async () => {
  using runtime = await createRuntime({ backend: 'wasm' });
  using w = runtime.random([1, 50_000]);
  using optimizer = sgd({ w });
  const training = (sum?: TrainOptions<Tensor>['sum']) =>
    train({
      parameters: { w },
      optimizer,
      steps: 1,
      batches: () => runtime.random([50_000, 1]),
      loss: ({ w }, x) => mean(map((w, x) => w * x, w!, x)),
      sum,
    });
  await expect(training()).rejects.toThrow(/a step on one of the batches needs about (9\.31|18\.6|27\.9) GiB/);
  // As over two ranks that have the same.
  await expect(training((all) => all.map((x) => map((x) => 2 * x, x)))).rejects.toThrow(
    /needs about (18\.6|37\.3|55\.9) GiB .* there are .* GiB, of all ranks together, some of which lack .* GiB: make/,
  );
});

test('checkpoints that were altered are refused by name, or read as they are', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const { kept, save } = files();
  const { dispose, ...own } = problem(runtime, adamw);
  const validate = { every: 1, count: 1, batches: own.batches };
  await train<Batch>({ ...own, steps: 2, validate, checkpoint: { every: 1, save } });
  const file = kept.last!;
  const [tensors, metadata] = [readSafetensors(file), readSafetensorsMetadata(file)];
  const refuse = (message: string, more: Record<string, HostTensor | undefined>, said: Record<string, string> = {}) => {
    const given = Object.entries({ ...tensors, ...more }).flatMap(([name, host]) => (host ? [[name, host]] : []));
    const altered = writeSafetensors(Object.fromEntries(given), { metadata: { ...metadata, ...said } });
    expect(() => readCheckpoint(altered)).toThrow(message);
  };
  const ofSteps = (name: string) =>
    `checkpoint: ${name} must be f64 of shape [2], as its 2 steps say: the file was alt`;
  refuse(ofSteps('losses'), { losses: hostTensor(BigInt64Array.of(1n, 2n), [2]) });
  refuse(ofSteps('losses'), { losses: hostTensor([1, 2], [2], 'f16') });
  refuse(ofSteps('gradientNorms'), { gradientNorms: hostTensor([1, 2, 3], [3], 'f64') });
  refuse(ofSteps('gradientNorms'), { gradientNorms: undefined });
  refuse('checkpoint: validation must be f64 of shape [3, 2]', { validation: hostTensor([1, 2, 3], [3], 'f64') });
  refuse('checkpoint: losses must be f64 of shape [1000000], as its 1000000 steps say', {}, { steps: '1e6' });
  for (const settings of ['{', '5', '{"seed": {}}', '{"seed": null}'])
    refuse('checkpoint: its settings are none', {}, { settings });

  const header = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const changes = fc.array(fc.tuple(fc.nat({ max: header - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(changes, (changes) => {
      const bytes = file.slice();
      for (const [at, value] of changes) bytes[at] = value;
      try {
        const { steps, history } = readCheckpoint(bytes);
        expect([history.losses.length, history.gradientNorms.length]).toEqual([steps, steps]);
        expect([...history.losses, ...history.gradientNorms].every((each) => typeof each === 'number')).toBe(true);
      } catch (error) {
        if (!(error instanceof ParseError)) throw error;
      }
    }),
    { numRuns: 1000, seed: inject('seed') },
  );
  dispose();
});

test('checkpoints: what they hold comes back, and others are refused by name', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const { kept, save } = files();
  const { dispose, ...own } = problem(runtime, adamw);
  const settings = { seed: 3 };
  await train<Batch>({ ...own, steps: 2, checkpoint: { every: 1, save, settings } });
  const file = kept.last!;
  expect(writeCheckpoint(readCheckpoint(file))).toEqual(file);
  expect(Object.keys(readCheckpoint(file).parameters)).toContain('norm.running_var');

  const refuse = async (message: string, more: Partial<TrainOptions<Batch>>) =>
    expect(
      train<Batch>({ ...own, steps: 3, checkpoint: { every: 1, save, settings }, resume: file, ...more }),
    ).rejects.toThrow(message);
  await refuse('settings.seed of the checkpoint is 3, that of this training 4', {
    checkpoint: { every: 1, save, settings: { seed: 4 } },
  });
  await refuse('settings.accumulate of the checkpoint is 1, that of this training 2', { accumulate: 2 });
  const rejects = async () => {
    throw new Error('nobody hears it');
  };
  await refuse('schedule must not wait, got a promise', { schedule: rejects as never });
  using small = runtime.random([5, 5]);
  const parameters = { ...own.parameters, first: small };
  using optimizer = adamw(parameters);
  await refuse('first must have shape [5, 5], in the checkpoint it has [5, 6]', { parameters, optimizer });
  await refuse('buffers.first is among the parameters, too', { buffers: { first: small } });
  await refuse('checkpoint: the file holds tensors, but training did not write it', { resume: writeSafetensors({}) });
  await refuse('safetensors', { resume: file.slice(0, -1) });
  const text = new TextDecoder('latin1').decode(file).replace('"version":"1"', '"version":"2"');
  await refuse("checkpoint: expected version 1, got '2'", { resume: Uint8Array.from(text, (c) => c.charCodeAt(0)) });

  const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
  const fails = () => Promise.reject(full);
  const onFull = { ...own, steps: 3, checkpoint: { every: 1, save: fails } };
  await expect(train<Batch>({ ...onFull, checkpoint: { ...onFull.checkpoint, settings }, resume: file })).rejects.toBe(
    full,
  );
  await expect(train<Batch>(onFull)).rejects.toThrow('optimizer has taken 3 steps, of which checkpoints would have no');
  dispose();
});
