import { expect, test, vi } from 'vitest';
import { timeInterleaved } from './timing';

const SLOW = [1000, 1000];
const runtime = { finish: async () => {} };

test('repeats alternate between the calls', async () => {
  const order: string[] = [];
  const calls = ['a', 'b'].map((name) => () => void order.push(name));
  const [a, b] = await timeInterleaved(runtime, calls, SLOW, { seconds: 0, least: 3, most: 9 }, {});
  expect(order.join('')).toBe('ababab');
  expect([a?.length, b?.length]).toEqual([3, 3]);
});

test('stops at the most repeats, however much time is left', async () => {
  const call = () => {};
  const samples = await timeInterleaved(runtime, [call, call], SLOW, { seconds: 1e6, least: 3, most: 5 }, {});
  expect(samples.map(({ length }) => length)).toEqual([5, 5]);
});

test('stops amid a round once the time is over, but not before each call has its least', async () => {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const calls = [1, 2, 3].map(() => () => {
    now += 1000;
  });
  const plan = { seconds: 7, least: 2, most: 9 };
  const repeats = async () =>
    (await timeInterleaved(runtime, calls, [1e3, 1e3, 1e3], plan, {})).map(({ length }) => length);
  expect(await repeats()).toEqual([3, 2, 2]);
  plan.seconds = 1;
  expect(await repeats()).toEqual([2, 2, 2]);
  vi.restoreAllMocks();
});

test('a call too short for the clock is repeated within a sample', async () => {
  let count = 0;
  const call = () => void count++;
  await timeInterleaved(runtime, [call], [0.1], { seconds: 0, least: 1, most: 1 }, {});
  expect(count).toBe(50);
});

test('what a call only starts is waited for in its own sample', async () => {
  let pending = Promise.resolve();
  const late = { finish: () => pending };
  const slow = () => {
    pending = new Promise((resolve) => setTimeout(resolve, 30));
  };
  const [first, second] = await timeInterleaved(late, [slow, () => {}], SLOW, { seconds: 0, least: 2, most: 2 }, {});
  expect(Math.min(...first!)).toBeGreaterThan(25);
  expect(Math.min(...second!)).toBeLessThan(25);
});

test('an abort is heard between calls that are computed at once', async () => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error('stopped')), 1);
  const call = () => {};
  const plan = { seconds: 1e6, least: 1e6, most: 1e6 };
  await expect(timeInterleaved(runtime, [call], SLOW, plan, { signal: stop.signal })).rejects.toThrow('stopped');
});
