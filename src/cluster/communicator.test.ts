import { expect, test } from 'vitest';
import { onRanks } from '../../test/ranks';
import { checkRanks } from '../../test/ranks-body.mjs';
import * as library from '../index';
import type { Communicator } from './index';

const { BackendError, ParameterError, ShapeError } = library;

const tooLarge = (errors: Readonly<Record<string, number>>) =>
  Object.entries(errors).filter(([, error]) => !(error < 1e-5));

test('gives what one process makes of all tensors, forward and backward', async () => {
  const all = await onRanks(3, (communicator) => checkRanks(communicator, library));
  expect(all).toHaveLength(3);
  for (const errors of all) expect(tooLarge(errors)).toEqual([]);
});

test('one rank alone gives its own tensors', async () => {
  const [errors] = await onRanks(1, (communicator) => checkRanks(communicator, library));
  expect(tooLarge(errors ?? {})).toEqual([]);
});

test('the reference backend exchanges too', async () => {
  const read = (c: Communicator) => c.allGather(c.runtime.tensor([c.rank, 0.5])).read();
  const all = await onRanks(2, read, { backend: 'reference' });
  for (const read of all) expect([...read]).toEqual([0, 0.5, 1, 0.5]);
});

/** What reading the result rejects with on each rank. */
const outcomes = (work: Parameters<typeof onRanks<unknown>>[1], options?: Parameters<typeof onRanks>[2]) =>
  onRanks(
    3,
    async (communicator) => {
      try {
        return await work(communicator);
      } catch (error) {
        return error;
      }
    },
    options,
  );

test('a fault of one rank is that of the results on all, and of what is computed from them', async () => {
  const all = await outcomes(async (c) => {
    const { runtime, rank } = c;
    const bad = library.gather(runtime.zeros([4, 2]), runtime.tensor(Int32Array.of(rank === 1 ? 9 : 1), [1]));
    const gathered = c.allGather(bad);
    return await c.allReduce(library.add(gathered, gathered)).read();
  });
  for (const error of all) expect(String(error)).toMatch(/indices must be from 0 to 3, got 9/);
  expect(all[0]).toBeInstanceOf(BackendError);
  expect((all[0] as Error).message).toMatch(/^rank 1: /);
});

test('other shapes, element types and calls are named on all ranks', async () => {
  const extents = await outcomes((c) => c.allGather(c.runtime.zeros([c.rank === 1 ? 70_000 : 3])).read());
  expect(extents[0]).toBeInstanceOf(ShapeError);
  for (const [rank, error] of extents.entries())
    expect((error as Error).message).toMatch(
      rank === 1 ? /rank 0 came with .*f32 \[3\]/ : /rank 1 came with 'allGather, call 0: f32 \[70000\]'/,
    );
  const types = await outcomes((c) => c.allGather(c.runtime.zeros([3], c.rank === 1 ? 'i32' : 'f32')).read());
  for (const error of types) expect((error as Error).message).toMatch(/i32 \[3\]/);
  const calls = await outcomes((c) =>
    (c.rank === 1 ? c.allReduce(c.runtime.zeros([3])) : c.allGather(c.runtime.zeros([3]))).read(),
  );
  for (const error of calls) expect((error as Error).message).toMatch(/allReduce sum, call 0.*same calls/);
});

test('a rank that does not come, ends or fails is named', async () => {
  let waiting = 2;
  let end = () => {};
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  const late = await outcomes(
    async (c) => {
      if (c.rank === 1) return await over;
      const x = c.runtime.zeros([2 ** 22]);
      const shifted = c.sendRecv(x, (c.rank + 1) % 3, (c.rank + 2) % 3);
      return await shifted.read().finally(() => --waiting === 0 && end());
    },
    { seconds: 1 },
  );
  expect((late[0] as Error).message).toBe('sendRecv, call 0: rank 1 did not take what was sent within 1 s');
  expect((late[2] as Error).message).toBe('sendRecv, call 0: rank 1 did not come within 1 s');
  const gone = await outcomes(async (c) => (c.rank === 1 ? undefined : c.allGather(c.runtime.zeros([3])).read()));
  expect((gone[2] as Error).message).toBe('rank 1 has ended without a part in this call');
  const failed = onRanks(3, async (c) => {
    if (c.rank === 1) throw new Error('no more paper');
    return await c.allGather(c.runtime.zeros([3])).read();
  });
  await expect(failed).rejects.toThrow(/no more paper/);
});

test('refuses arguments by name', async () => {
  await onRanks(2, async (c) => {
    const x = c.runtime.zeros([3, 2]);
    expect(() => c.sendRecv(x, 2, 0)).toThrow(/to of sendRecv must be an integer from 0 to 1, got 2/);
    expect(() => c.allToAll(x, { split: 0 })).toThrow(/2 ranks do not divide the extent 3 along split: say counts/);
    expect(() => c.allToAll(x, { split: 4 })).toThrow(/split of allToAll must be one of the 2 axes/);
    expect(() => c.allGather(x, { counts: [1] })).toThrow(
      /counts of allGather must be an extent for each of the 2 ranks/,
    );
    expect(() => c.allReduce(c.runtime.zeros([2], 'i32'))).toThrow(/x of allReduce must be of floating-point numbers/);
    expect(() => c.broadcast(x, -1)).toThrow(ParameterError);
    await expect(c.split(-1)).rejects.toThrow(/colour of split/);
    c.dispose();
    expect(() => c.allReduce(x)).toThrow(/allReduce: the communicator was disposed/);
  });
});
