/** What calls that return at once promise, whatever comes between them and their results. */
import { describe, expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectRefusal, outcomeOf } from '../../test/expect';
import { scoped } from '../../test/scoped';
import {
  add,
  attention,
  attentionBackward,
  batchNorm,
  concat,
  contiguous,
  conv,
  createRuntime,
  gatedDeltaRule,
  gather,
  layerNorm,
  linearAttention,
  matmul,
  multiply,
  type Runtime,
  relu,
  type Tensor,
} from '../index';
import type { Op } from '../runtime/op';

/** More than a runtime lets wait. */
const MANY = 120_000;
const OUTSIDE = 'indices must be from 0 to 1, got 5 at element 0 of indices';

/** Rows of a table with two, by an index that is outside it. */
function faulty(runtime: Runtime, out?: Tensor<'f32'>): Tensor<'f32'> {
  using table = runtime.tensor([1, 2], [2, 1]);
  using indices = runtime.tensor(Int32Array.of(5), [1]);
  return gather(table, indices, { out });
}

const reasonOf = (read: Promise<unknown>) =>
  read.then(
    () => expect.fail('it was to reject'),
    (reason) => reason,
  );

describeOnBackends('calls', (runtime) => {
  const x = (...numbers: number[]) => runtime().tensor(numbers, [numbers.length]);

  test('a fault is one error, however often it is read; finish() tells of those that nobody read, once', async () => {
    using read = faulty(runtime());
    const first = await reasonOf(read.read());
    expect(first.message).toBe(OUTSIDE);
    expect(await reasonOf(read.read())).toBe(first);
    await runtime().finish();
    faulty(runtime()).dispose();
    await expect(runtime().finish()).rejects.toThrow(OUTSIDE);
    await runtime().finish();
  });

  test('a fault passes to what is computed from it, and to nothing else', async () => {
    const { live } = runtime().memory();
    await scoped(runtime(), async () => {
      const bad = faulty(runtime());
      const one = x(1);
      const others = [add(one, one), relu(one)];
      const third = multiply(relu(add(bad, one)), one);
      const [reason, ...same] = await Promise.all([third, bad].map((each) => reasonOf(each.read())));
      expect(reason.message).toBe(OUTSIDE);
      expect(same).toEqual([reason]);
      expect(same[0]).toBe(reason);
      for (const [at, other] of others.entries()) expect([...(await other.read())]).toEqual([2 - at]);
      await runtime().finish();
    });
    expect(runtime().memory().live).toBe(live);
  });

  test('a fault covers what its call wrote, until that is written again, by one call or by several', async () => {
    await scoped(runtime(), async () => {
      const memory = runtime().tensor([1, 2, 3, 4, 5, 6, 7, 8], [4, 2]);
      const one = runtime().tensor([1], [1, 1]);
      const place = (row: number, column: number) => memory.slice(0, row, row + 1).slice(1, column, column + 1);
      faulty(runtime(), place(1, 0) as Tensor<'f32'>);
      const [first, second] = [memory.slice(1, 0, 1), memory.slice(1, 1, 2)] as [Tensor<'f32'>, Tensor<'f32'>];
      for (const bad of [memory, first, memory.slice(0, 1, 3), memory.permute([1, 0]), add(memory, one)])
        await expect(bad.read()).rejects.toThrow(OUTSIDE);
      expect([...(await second.read())]).toEqual([2, 4, 6, 8]);
      expect([...(await add(second, one).read())]).toEqual([3, 5, 7, 9]);
      expect([...(await memory.slice(0, 2, 4).read())]).toEqual([5, 6, 7, 8]);
      expect([...(await first.slice(0, 2, 4).read())]).toEqual([5, 7]);
      relu(one, { out: place(1, 0) as Tensor<'f32'> });
      expect([...(await memory.read())]).toEqual([1, 2, 1, 4, 5, 6, 7, 8]);

      const table = runtime().tensor([1, 2], [2, 1]);
      const indices = runtime().tensor(Int32Array.of(5, 0, 1), [3]);
      const column = runtime().tensor([1, 2, 3, 4], [4, 1]);
      gather(table, indices, { out: column.slice(0, 0, 3) });
      for (const row of [1, 0, 2]) {
        await expect(column.read()).rejects.toThrow(OUTSIDE);
        relu(one, { out: column.slice(0, row, row + 1) });
      }
      expect([...(await column.read())]).toEqual([1, 1, 1, 4]);
      await runtime().finish();
    });
  });

  test('of several faults in one tensor the lowest place is told', async () => {
    using table = runtime().empty([2, 1]);
    const numbers = new Int32Array(100_000);
    for (const at of [99_999, 70_001, 70_000]) numbers[at] = -at;
    using indices = runtime().tensor(numbers, [numbers.length]);
    await expect(outcomeOf(gather(table, indices))).rejects.toThrow('got -70000 at element 70000 of indices');
  });

  test('a read sees the values of its place in the order', async () => {
    using out = x(0, 0);
    using a = x(1, 2);
    using b = x(10, 20);
    const reads = [out.read()];
    for (const each of [a, b, a]) {
      add(each, each, { out });
      reads.push(out.read());
    }
    expect((await Promise.all(reads)).map((read) => [...read])).toEqual([
      [0, 0],
      [2, 4],
      [20, 40],
      [2, 4],
    ]);
  });

  test('what onProgress calls takes effect after the call that it hears of', async () => {
    await scoped(runtime(), async () => {
      const [one, three, out] = [x(1), x(3), x(0)];
      const inside: Tensor<'f32'>[] = [];
      const reads: Promise<Float32Array>[] = [];
      const onProgress = () => {
        if (inside.length > 0) return;
        inside.push(add(out, one), multiply(three, three, { out }));
        reads.push(out.read());
      };
      add(one, one, { out, onProgress });
      await one.read();
      expect([...(await out.read())]).toEqual([9]);
      expect([...(await (inside[0] as Tensor).read())]).toEqual([3]);
      expect((await Promise.all(reads)).map((read) => [...read])).toEqual([[9]]);
    });
  });

  test('a fault of what onProgress writes to the memory of the call is not lost', async () => {
    using one = runtime().tensor([1], [1, 1]);
    using out = runtime().empty([1, 1]);
    let calls = 0;
    const onProgress = () => {
      if (calls++ === 0) faulty(runtime(), out);
    };
    add(one, one, { out, onProgress });
    await one.read();
    await expect(out.read()).rejects.toThrow(OUTSIDE);
    expect(calls).toBeGreaterThan(0);
  });

  test('what cannot be called throws at once and leaves nothing', async () => {
    using other = await createRuntime({ backend: 'reference' });
    const foreign = other.tensor([1], [1]);
    using one = x(1);
    const gone = x(1);
    gone.dispose();
    const aborted = AbortSignal.abort(new RangeError('enough'));
    for (const [call, message] of [
      [() => add(one, foreign), 'b lives on another runtime than a'],
      [() => add(one, gone), 'b: the tensor of shape [1] was disposed'],
      [() => add(one, one, { out: gone }), 'out: the tensor of shape [1] was disposed'],
      [() => add(one, one, { signal: aborted }), 'enough'],
    ] as const) {
      expect(call).toThrow(message);
      await expectRefusal(runtime(), call, message);
    }
    await expect(gone.read()).rejects.toThrow('read(): the tensor of shape [1] was disposed');
    await runtime().finish();
  });
});

/** Some tenths of a second on two threads. */
function long(runtime: Runtime, signal?: AbortSignal): Tensor {
  const { out } = runtime.scope(() => {
    const q = runtime.random([1, 3000, 4, 64]);
    return { out: attention(q, q, q, { signal }).out };
  });
  expect(out.storage.isInUse).toBe(true);
  return out;
}

/** Calls of many kinds on inputs of their own, which are disposed at once. */
function severalCalls(runtime: Runtime): Promise<unknown>[] {
  const results: object = runtime.scope(() => {
    const x = runtime.random([2, 5, 3, 4], { seed: 1 });
    const gates = runtime.tensor(new Float32Array(30).fill(-0.5), [2, 5, 3]);
    const [gain, bias] = [2, 3].map((seed) => runtime.random([4], { seed })) as [Tensor, Tensor];
    const taps = runtime.random([4, 1, 3, 3], { seed: 4 });
    const rows = x.reshape([30, 4]);
    const { out, lse } = attention(x, x, x);
    return {
      ...{ out, lse },
      gradV: attentionBackward(x, x, x, { out, lse, gradOut: x }).gradV,
      linear: linearAttention(x, x, x).out,
      delta: gatedDeltaRule(x, x, x, gates, gates).out,
      norm: layerNorm(rows, { gain, bias }),
      ...batchNorm(rows, gain, bias),
      conv: conv(x, taps, { groups: 4 }),
      product: matmul(x, rows.permute([1, 0])),
      copy: contiguous(x.permute([3, 2, 1, 0])),
      both: concat([x, x], 1),
    };
  });
  const tensors = Object.values(results as Record<string, Tensor>);
  const reads = tensors.map((tensor) => tensor.read());
  for (const tensor of tensors) tensor.dispose();
  return reads;
}

describe.each([1, 2])('behind a long call, on wasm with threads: %i', (threads) => {
  const open = () => createRuntime({ backend: 'wasm', threads });

  test('calls whose inputs and results were disposed give what they give in front of it', async () => {
    using runtime = await open();
    const expected = await Promise.all(severalCalls(runtime));
    const before = long(runtime);
    const reads = severalCalls(runtime);
    expect(before.storage.isInUse).toBe(true);
    before.dispose();
    expect(await Promise.all(reads)).toEqual(expected);
    expect(runtime.memory().live).toBe(0);
  });

  test('data of what a pending call reads or writes is refused until it is computed', async () => {
    using runtime = await open();
    using before = long(runtime);
    using x = runtime.tensor([1], [1]);
    x.data[0] = 2;
    using sum = add(x, x);
    for (const tensor of [before, x, sum])
      expect(() => tensor.data).toThrow('data: a call that uses the tensor is pending: await runtime.finish()');
    await runtime.finish();
    x.data[0] = 3;
    expect([...sum.data]).toEqual([4]);
  });

  test('a call that is cancelled has the reason, as has what follows from it; others are computed', async () => {
    using runtime = await open();
    const controller = new AbortController();
    const cancelled = long(runtime, controller.signal);
    const one = runtime.tensor([1], [1]);
    const waiting = add(one, one, { signal: controller.signal });
    const after = add(waiting, one);
    const apart = relu(one);
    const reads = [cancelled, waiting, after].map((each) => reasonOf(each.read()));
    const reason = new RangeError('enough');
    setTimeout(() => controller.abort(reason), 5);
    for (const read of reads) expect(await read).toBe(reason);
    expect([...(await apart.read())]).toEqual([1]);
    await runtime.finish();
    for (const tensor of [cancelled, waiting, after, apart, one]) tensor.dispose();
    expect(runtime.memory().live).toBe(0);
  });

  test('a runtime that is disposed makes pending reads and finish() reject, and later ones', async () => {
    const runtime = await open();
    const before = long(runtime);
    const one = runtime.tensor([1], [1]);
    const sum = add(one, one);
    const pending = [before.read(), sum.read(), one.read(), runtime.finish()];
    runtime.dispose();
    for (const read of pending) expect(await reasonOf(read)).toMatchObject({ name: 'DisposedError' });
    expect(await reasonOf(sum.read())).toMatchObject({ name: 'DisposedError' });
    expect(await reasonOf(runtime.finish())).toMatchObject({ name: 'DisposedError' });
  });

  test('more calls than may wait, without a read, are computed in order, in bounded memory', async () => {
    using runtime = await open();
    using one = runtime.tensor([1], [1]);
    const before = long(runtime);
    let sum = runtime.tensor([0], [1]);
    const { live } = runtime.memory();
    runtime.backend.resetPeak();
    for (let call = 0; call < MANY; call++) {
      const next = add(sum, one);
      sum.dispose();
      sum = next;
    }
    before.dispose();
    expect(runtime.memory().peak - live).toBeLessThan(2 ** 21);
    expect([...(await sum.read())]).toEqual([MANY]);
    sum.dispose();
    expect(runtime.memory().live).toBe(4);
  });
});

test('long calls without an end are computed in order while the calling thread waits for them', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  using x = runtime.random([1, 700, 4, 64], { seed: 1 });
  using one = runtime.tensor([1], [1]);
  const expected = await outcomeOf(attention(x, x, x));
  const reads: Promise<unknown>[] = [];
  for (let round = 0; round < 6; round++) {
    reads.push(outcomeOf(attention(x, x, x)));
    for (let call = 0; call < 2000; call++) add(one, one).dispose();
  }
  for (const read of reads) expect(await read).toEqual(expected);
});

test('a chain of large results that wait for their turns takes the memory of some', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  using x = runtime.random([1, 700, 4, 64], { seed: 1 });
  using one = runtime.tensor([1], [1]);
  let sum = runtime.tensor(new Float32Array(2 ** 20), [2 ** 20]);
  await outcomeOf(attention(x, x, x));
  const before = outcomeOf(attention(x, x, x));
  runtime.backend.resetPeak();
  for (let call = 0; call < 60; call++) {
    const next = add(sum, one);
    sum.dispose();
    sum = next;
  }
  expect((await sum.read()).every((value) => value === 60)).toBe(true);
  expect(runtime.memory().peak).toBeLessThan(100 * 2 ** 20);
  sum.dispose();
  await before;
});

test('too many calls behind what nobody can wait for are one clear error', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  using one = runtime.tensor([1], [1]);
  const { live } = runtime.memory();
  let open = () => {};
  const reference = () =>
    new Promise<() => void>((resolve) => {
      open = () => resolve(() => {});
    });
  const waits: Op<object> = {
    name: 'waits',
    reference,
    cpu: () => ({ jobs: () => [] }),
    webgpu: async () => () => ({ dispatches: [] }),
  };
  runtime.calls.run(waits, { make: () => ({}) }, [], [], {});
  const flood = () => {
    for (;;) add(one, one).dispose();
  };
  expect(flood).toThrow('100000 calls are waiting, more than a runtime keeps: await finish() or a read() now and then');
  const waiting = [one.read(), runtime.finish()];
  open();
  await Promise.all(waiting);
  await expect.poll(() => runtime.memory().live, { timeout: 30_000 }).toBe(live);
  expect([...(await one.read())]).toEqual([1]);
});

describeOnBackends('many calls without a read', (runtime) => {
  test('are computed in order', async () => {
    const count = { reference: MANY, wasm: 5000, webgpu: 2000 }[runtime().backend.name];
    const { live } = runtime().memory();
    let sum = runtime().tensor([0], [1]);
    using one = runtime().tensor([1], [1]);
    for (let call = 0; call < count; call++) {
      const next = add(sum, one);
      sum.dispose();
      sum = next;
    }
    expect([...(await sum.read())]).toEqual([count]);
    sum.dispose();
    expect(runtime().memory().live).toBe(live + 4);
  });
});
