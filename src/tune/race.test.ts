import { expect, test, vi } from 'vitest';
import { type Racer, race } from './race';

const COURSE = { sample: 10, heats: 2, finals: 5 };

/** Takes `ms` a call, times a factor that alternates from sample to sample. */
function racer(ms: number, swing = 1): Racer & { calls: number[] } {
  const calls: number[] = [];
  const run = async (count: number) => {
    calls.push(count);
    return calls.length % 2 ? ms : ms * swing;
  };
  return Object.assign(run, { calls });
}

const run = (racers: readonly Racer[]) => race(racers, COURSE, () => {});

test('the fastest wins, and ratios are those to the first', async () => {
  const { ms, standings, winner } = await run([racer(2), racer(1.5), racer(1), racer(3)]);
  expect(winner).toBe(2);
  expect(standings.map(({ ratio }) => ratio)).toEqual([1, 0.75, 0.5, 1.5]);
  expect(ms).toBe(2);
});

test('the first stays where nothing beats it by more than the noise', async () => {
  expect((await run([racer(2), racer(1.97), racer(2)])).winner).toBe(0);
  expect((await run([racer(2)])).winner).toBe(0);
  // Most samples of the second are faster by a fifth, the others slower by more.
  const { standings, winner } = await run([racer(2), racer(1.6, 1.8)]);
  expect(standings[1]?.noise).toBeGreaterThan(0.2);
  expect(winner).toBe(0);
});

test('luck in the heats decides nothing', async () => {
  const lucky: Racer = vi
    .fn(async () => 3)
    .mockResolvedValueOnce(0.1)
    .mockResolvedValueOnce(0.1);
  const { standings, winner } = await run([racer(2), lucky]);
  expect(standings[1]?.ratio).toBe(1.5);
  expect(winner).toBe(0);
});

test('short calls are batched, slow candidates not waited for, and only the fastest race again', async () => {
  const [first, slow, ...others] = [racer(0.5), racer(5), racer(0.4), racer(0.3), racer(0.2), racer(0.45)];
  const { winner } = await run([first!, slow!, ...others]);
  expect(winner).toBe(4);
  // Two to learn the pace, and a sample of 10 ms is 20 calls.
  expect(first?.calls).toEqual([1, 1, ...new Array(7).fill(20)]);
  expect(slow?.calls).toEqual([20]);
  expect(others.map(({ calls }) => calls.length)).toEqual([7, 7, 7, 2]);
});

test('what takes no time by a coarse clock is called ten thousand times', async () => {
  const first = racer(0);
  await run([first]);
  expect(Math.max(...first.calls)).toBe(10_000);
});

test('a failure ends the race', async () => {
  await expect(async () => run([racer(1), () => Promise.reject(new Error('gone'))])).rejects.toThrow('gone');
});
