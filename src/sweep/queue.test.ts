/** The queue on a NATS server: what comes of jobs whose workers fail, vanish or are of another build. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { has } from '../../test/has';
import { startNats, type TestNats } from '../../test/nats';
import { idOf, type Job, NEEDS } from './job';
import type { CaseReport } from './outcome';
import { SweepQueue } from './queue';
import { work } from './work';

const machine = {
  cpu: 'x',
  cores: 2,
  platform: 'linux',
  runtime: 'Node',
  saccade: '0',
  date: '2026-01-01T00:00:00.000Z',
};
const report = {
  format: 'saccade quality',
  version: 1,
  command: 'saccade bench quality',
  machine,
  runtime: [],
  setting: 'small',
  tasks: [],
  complete: true,
  runs: [],
} as const satisfies CaseReport;
const cases = [1, 2, 3].map((at) => ({ words: ['bench', 'quality', '--seeds', String(at)], needs: 'cpu' as const }));
const open = (sweep: string, build = 'one') => SweepQueue.open(connection, { sweep, build });
const worker = {
  machine: 'here',
  kinds: NEEDS,
  untilDone: true,
  run: async (): Promise<unknown> => report,
  say: () => {},
};

const hasNats = has('nats');
let folder: string;
let nats: TestNats;
let connection: NatsConnection;
beforeAll(async () => {
  if (!hasNats || inject('onGpu')) return;
  folder = await mkdtemp(join(tmpdir(), 'saccade-queue-'));
  nats = await startNats({ store: folder });
  connection = await connect(nats.address);
});
afterAll(async () => {
  await connection?.close();
  await nats?.kill();
  if (folder) await rm(folder, { recursive: true });
});

const natsTest = test.skipIf(!hasNats);

natsTest('jobs are added once, done once, and known after that', async () => {
  const queue = await open('once');
  expect(await queue.submit(cases, { ackWait: 10 })).toEqual({ added: 3, waiting: 0, done: 0, failed: 0 });
  expect(await queue.submit(cases, { ackWait: 20 })).toEqual({ added: 0, waiting: 3, done: 0, failed: 0 });
  expect(await queue.waiting()).toEqual({ jobs: [{ build: 'one', needs: 'cpu', jobs: 3 }], running: 0 });
  expect(await work(queue, worker)).toEqual({ done: 3, failed: 0 });
  const { outcomes, refused } = await queue.content();
  expect(outcomes.map(({ words }) => words.at(-1)).sort()).toEqual(['1', '2', '3']);
  expect(outcomes[0]).toMatchObject({ machine: 'here', tries: 1, report, build: 'one' });
  expect(refused).toBe(0);
  expect(await queue.submit(cases, { ackWait: 10 })).toEqual({ added: 0, waiting: 0, done: 3, failed: 0 });
});

natsTest('a job that fails three times is given up and kept with its error, until it is wanted again', async () => {
  const queue = await open('poison');
  await queue.submit(cases.slice(0, 1), { ackWait: 10 });
  const poisoned = async () => {
    throw new Error('no such\nluck');
  };
  expect(await work(queue, { ...worker, run: poisoned })).toEqual({ done: 0, failed: 3 });
  const [outcome] = (await queue.content()).outcomes;
  expect(outcome).toMatchObject({ error: 'no such luck', tries: 3, machine: 'here' });
  expect(await queue.submit(cases.slice(0, 1), { ackWait: 10 })).toMatchObject({ added: 0, failed: 1 });
  expect(await queue.submit(cases.slice(0, 1), { ackWait: 10, again: true })).toMatchObject({ added: 1 });
  expect(await work(queue, { ...worker, run: async () => ({ format: 'saccade quality' }) })).toMatchObject({
    failed: 3,
  });
  expect((await queue.content()).outcomes[0]?.error).toMatch(/^its report is wrong: version: /);
});

natsTest('a job whose workers vanish goes to the next one, and is given up after three', async () => {
  const queue = await open('vanish');
  await queue.submit(cases.slice(0, 1), { ackWait: 1 });
  for (const tries of [1, 2, 3]) {
    let taken = undefined as Awaited<ReturnType<typeof queue.take>>;
    while (!taken) taken = await queue.take(['cpu'], `machine ${tries}`);
    expect(taken.tries).toBe(tries);
  }
  expect((await queue.content()).begun).toMatchObject([{ machine: 'machine 3', tries: 3 }]);
  expect(await work(queue, worker)).toEqual({ done: 0, failed: 0 });
  const [outcome] = (await queue.content()).outcomes;
  expect(outcome).toMatchObject({ tries: 3, error: expect.stringContaining('its worker on machine 3 ended') });
});

natsTest('an interrupted worker gives its job back, which is no try', async () => {
  const queue = await open('back');
  await queue.submit(cases.slice(0, 1), { ackWait: 60 });
  const controller = new AbortController();
  const run = async () => {
    controller.abort();
    throw new Error('stopped');
  };
  await expect(work(queue, { ...worker, run, signal: controller.signal })).rejects.toThrow('stopped');
  expect(await work(queue, worker)).toEqual({ done: 1, failed: 0 });
  expect((await queue.content()).outcomes[0]?.tries).toBe(1);
});

natsTest('jobs of another build stay for others, and a worker says so', async () => {
  const queue = await open('builds', 'two');
  await queue.submit(cases, { ackWait: 10 });
  const other = await open('builds', 'one');
  await expect(work(other, worker)).rejects.toThrow(
    '3 jobs wait for saccade two, and this worker is one: install that build, or submit the cases from this one',
  );
  expect(await work(queue, worker)).toEqual({ done: 3, failed: 0 });
});

natsTest('jobs whose consumer was removed are done, and jobs that nobody submitted are not waited for', async () => {
  const queue = await open('orphans');
  await queue.submit(cases, { ackWait: 10 });
  const { consumers } = queue.manager;
  for await (const { stream_name, name } of consumers.list('saccade-orphans-jobs'))
    await consumers.delete(stream_name, name);
  const job: Job = { words: ['bench', 'quality', '--seeds', '9'], build: 'one' };
  await jetstream(connection).publish('saccade.orphans.job.nowhere.cpu.any.x', JSON.stringify(job));
  expect(await work(queue, worker)).toEqual({ done: 3, failed: 0 });
});

natsTest('jobs for named machines are done by each of these, and wait for nobody else', async () => {
  const queue = await open('named');
  const machines = ['here', 'there'];
  expect(await queue.submit(cases, { ackWait: 10, machines })).toMatchObject({ added: 6 });
  expect(await queue.submit(cases.slice(0, 1), { ackWait: 10 })).toMatchObject({ added: 1 });
  expect(await work(queue, worker)).toEqual({ done: 4, failed: 0 });
  expect((await queue.waiting()).jobs).toEqual([{ build: 'one', needs: 'cpu', only: 'there', jobs: 3 }]);
  expect(await work(queue, { ...worker, machine: 'there' })).toEqual({ done: 3, failed: 0 });
  const done = (await queue.content()).outcomes.map(({ words, machine, only }) => [words.at(-1), machine, only]);
  expect(done.filter(([, machine, only]) => only !== undefined && machine !== only)).toEqual([]);
  expect(new Set(done.map(([seed, machine]) => `${seed} ${machine}`)).size).toBe(6);
  expect(await queue.submit(cases, { ackWait: 10, machines: ['there'] })).toMatchObject({ added: 0, done: 3 });
});

natsTest('what strangers put into the streams is no job and no result', async () => {
  const queue = await open('strangers');
  await queue.submit(cases.slice(0, 1), { ackWait: 10 });
  const js = jetstream(connection);
  const job: Job = { words: ['bench', 'quality', '--seeds', '9'], build: 'one' };
  const outcome = { ...job, machine: 'm', tries: 1, date: machine.date, report };
  const results: readonly (readonly [id: string, value: unknown])[] = [
    ['a', 'no object'],
    ['b', outcome],
    [idOf(job), { ...outcome, error: 'and a report' }],
    [idOf({ ...job, build: 'x' }), { ...outcome, build: 'x', report: { ...report, tasks: 'many' } }],
    [idOf({ ...job, build: 'y' }), { ...outcome, build: 'y', words: ['bench', 'attention'] }],
  ];
  for (const [id, value] of results) await js.publish(`saccade.strangers.result.${id}`, JSON.stringify(value));
  const fine = { ...outcome, build: 'z', machine: 'a\u001b[2Jb' };
  await js.publish(`saccade.strangers.result.${idOf(fine)}`, JSON.stringify(fine));
  const { outcomes, refused } = await queue.content();
  expect(refused).toBe(results.length);
  expect(outcomes.map(({ machine }) => machine)).toEqual(['a\\u001b[2Jb']);
  expect(await work(queue, worker)).toEqual({ done: 1, failed: 0 });
});
