import { expect, test } from 'vitest';
import { createRuntime } from '../ops/create-runtime';
import type { Contender, Session } from './contender';
import { type Entry, Measurement, roundsOf, type Timed } from './measure';
import { MASKS, type Problem } from './problem';
import { Runtimes } from './runtimes';
import { saccade } from './saccade';

const PROBLEM: Problem = { n: 4, h: 1, d: 4, mask: MASKS.causal };
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
    result: async (signal) => (await session.result(signal)).map((value) => value * 1.01),
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
  let ready = false;
  const later = spoilt((session) => ({
    memory(signal) {
      ready = true;
      return session.memory(signal);
    },
    time(count, signal) {
      if (ready) throw new Error('out of memory');
      return session.time(count, signal);
    },
  }));
  const outcomes = await measure([atOnce, later, right]);
  expect(outcomes[0]).toEqual({ status: 'failed', reason: 'no such module' });
  expect(outcomes[1]).toEqual({ status: 'failed', reason: 'out of memory', threads: 1 });
  expect(outcomes[2]?.status).toBe('ok');
});

test.each([
  ['open', 'opening it'],
  ['time', 'a call'],
  ['result', 'reading its result'],
  ['memory', 'reading its memory'],
])('a contender that hangs in %s is given up at the limit', async (where, what) => {
  const hang = (signal: AbortSignal) =>
    new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const hanging: Contender = {
    name: 'hanging',
    async open({ inputs }, signal) {
      if (where === 'open') return hang(signal);
      return {
        threads: 1,
        time: async (_, signal) => (where === 'time' ? hang(signal) : 1),
        // Of n = 1, where the result is v.
        result: async (signal) => (where === 'result' ? hang(signal) : inputs.v),
        memory: async (signal) => (where === 'memory' ? hang(signal) : 1),
        close() {},
      };
    },
  };
  const entry: Entry = { contender: hanging, problem: { ...PROBLEM, n: 1 } };
  const [outcome] = await new Measurement(runtimes, 3, { limit: 50.5, warmUp: 0, sample: 1 }).run([entry], {});
  expect(outcome).toEqual({ status: 'too slow', reason: `${what} took longer than the limit of 0.0505 s` });
});

test('a slow contender is called once before its rounds, and has fewer of them', async () => {
  let calls = 0;
  const slow = spoilt((session) => ({
    async time(count, signal) {
      calls++;
      await session.time(count, signal);
      return 25_000;
    },
  }));
  const [outcome] = await measure([slow]);
  expect(outcome).toMatchObject({ status: 'ok', times: [25_000] });
  expect(calls).toBe(2);
});

test('a sample has so many calls that the way to a GPU and back does not count', async () => {
  const asked: number[] = [];
  const away = spoilt((session) => ({
    async time(calls, signal) {
      if (asked.length === 0) await session.time(1, signal);
      asked.push(calls);
      return (1 + 0.01 * calls) / calls;
    },
  }));
  const entry: Entry = { contender: away, problem: PROBLEM };
  const [outcome] = await new Measurement(runtimes, 1, { limit: 30_000, warmUp: 20, sample: 50 }).run([entry], {});
  expect(outcome).toMatchObject({ status: 'ok', times: [expect.closeTo(0.01, 3)] });
  expect(asked.at(-1)).toBeGreaterThan(4000);
});

test.each([
  [10, 2000],
  [5000, 4],
  [10_000, 3],
  [15_000, 3],
  [20_000, 2],
  [30_000, 1],
  [90_000, 1],
])('at %i ms a call there is time for %i rounds', (ms, rounds) => {
  expect(roundsOf(ms)).toBe(rounds);
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
  await expect(async () => new Measurement(runtimes, 3).run(entries, { signal: controller.signal })).rejects.toThrow(
    expect.objectContaining({ name: 'AbortError' }),
  );
  expect((await runtimes.get({})).memory().live).toBe(0);
});
