import { expect, test } from 'vitest';
import { createRuntime } from '../runtime/runtime';
import type { Contender, Session } from './contender';
import { type Entry, Measurement, type Timed } from './measure';
import type { Problem } from './problem';
import { Runtimes } from './runtimes';
import { saccade } from './saccade';

const PROBLEM: Problem = { n: 4, h: 1, d: 4, mask: 'causal' };
const runtimes = new Runtimes(() => createRuntime({ backend: 'reference' }));
const right = saccade(runtimes, {});

/** A contender that is right except for what `change` makes of its session. */
function spoilt(change: (session: Session) => Partial<Session>): Contender {
  return {
    name: 'spoilt',
    async open(task, signal) {
      const session = await right.open(task, signal);
      return { ...session, ...change(session) };
    },
  };
}

function measure(contenders: readonly Contender[], limit = 30_000) {
  const entries: Entry[] = contenders.map((contender) => ({ contender, problem: PROBLEM }));
  return new Measurement(runtimes, 3, { limit, warmUp: 5, sample: 1 }).run(entries, {});
}

test('a right contender has a time for each round', async () => {
  const [outcome] = await measure([right]);
  expect(outcome).toMatchObject({
    status: 'ok',
    threads: 1,
    times: [expect.any(Number), expect.any(Number), expect.any(Number)],
  });
});

test('a wrong contender is shown as wrong, and the others are measured', async () => {
  const wrong = spoilt((session) => ({
    result: async () => (await session.result()).map((value) => value * 1.01),
  }));
  const [first, second] = await measure([wrong, right]);
  expect(first).toEqual({ status: 'wrong', reason: expect.stringContaining('differs from the float64 reference') });
  expect(second?.status).toBe('ok');
});

test('a contender that fails says why, whenever it fails', async () => {
  const atOnce: Contender = {
    name: 'absent',
    open: () => Promise.reject(new Error('no such\n  module')),
  };
  let calls = 0;
  const later = spoilt((session) => ({
    time(count, signal) {
      if (++calls > 2 && count > 1) throw new Error('out of memory');
      return session.time(count, signal);
    },
  }));
  const outcomes = await measure([atOnce, later, right]);
  expect(outcomes[0]).toEqual({ status: 'failed', reason: 'no such module' });
  expect(outcomes[1]).toEqual({ status: 'failed', reason: 'out of memory', threads: 1 });
  expect(outcomes[2]?.status).toBe('ok');
});

test('a call beyond the limit is given up', async () => {
  const hanging = spoilt(() => ({
    time: (_, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  }));
  const [outcome] = await measure([hanging], 50);
  expect(outcome).toEqual({ status: 'too slow', reason: 'the first call took longer than the limit of 0.05 s' });
});

test('what would take too long by its time on a shorter problem is not begun', async () => {
  let opened = 0;
  const slow = spoilt(() => {
    opened++;
    return { time: async () => 400 };
  });
  const wrongForever = spoilt(() => ({}));
  const measurement = new Measurement(runtimes, 1, { limit: 1000, warmUp: 0, sample: 1 });
  const at = (n: number) => measurement.run([{ contender: { ...slow, name: 'slow' }, problem: { ...PROBLEM, n } }], {});
  expect((await at(4))[0]?.status).toBe('wrong');
  expect((await at(8))[0]).toEqual({
    status: 'too slow',
    reason: 'about 2 s a call by its time at n = 4, the limit is 1 s',
  });
  expect(opened).toBe(1);
  expect((await measurement.run([{ contender: wrongForever, problem: { ...PROBLEM, n: 8 } }], {}))[0]?.status).toBe(
    'ok',
  );
});

test('every session is closed, also those of contenders that failed', async () => {
  let open = 0;
  const counted = (change: Partial<Session>) =>
    spoilt((session) => {
      open++;
      return {
        ...change,
        close: () => {
          open--;
          session.close();
        },
      };
    });
  await measure([counted({}), counted({ result: () => Promise.reject(new Error('lost')) })]);
  expect(open).toBe(0);
  expect((await runtimes.get({})).memory().live).toBe(0);
});

test('the memory of one contender does not count for another on the same runtime', async () => {
  const [alone] = await measure([right]);
  const together = await measure([right, right]);
  expect(alone).toHaveProperty('memory');
  for (const outcome of together) expect(outcome).toHaveProperty('memory', (alone as Timed).memory);
});

test('an aborted benchmark rejects with the reason and closes what is open', async () => {
  const controller = new AbortController();
  const aborting = spoilt(() => ({
    time: () => {
      controller.abort();
      return Promise.reject(new Error('killed'));
    },
  }));
  const entries = [right, aborting].map((contender) => ({ contender, problem: PROBLEM }));
  await expect(new Measurement(runtimes, 3).run(entries, { signal: controller.signal })).rejects.toThrow(
    expect.objectContaining({ name: 'AbortError' }),
  );
  expect((await runtimes.get({})).memory().live).toBe(0);
});
