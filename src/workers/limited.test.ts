import { expect, test } from 'vitest';
import { LimitedWorker } from './limited';

/** A script like those that are bundled: answers calls of functions of its own. */
const SCRIPT = `
const { parentPort } = process.getBuiltinModule('node:worker_threads');
let begun, calls = 0;
const functions = {
  begin: (value) => { begun = value; },
  count: () => [begun, ++calls],
  fail: () => { throw new Error('no'); },
  loop: () => { for (;;); },
  fill: () => { for (const all = []; ; ) all.push(JSON.stringify('text'.repeat(1e5) + all.length)); },
};
parentPort.on('message', ({ name, args }) => {
  try { parentPort.postMessage({ result: functions[name](...args) }); }
  catch (error) { parentPort.postMessage({ failure: error.message }); }
});`;
const open = () =>
  new LimitedWorker(
    async () => SCRIPT,
    () => ({ name: 'begin', args: ['anew'] }),
  );

test('calls take turns, and errors leave the worker as it was', async () => {
  const worker = open();
  const all = [worker.call('count', [], 9), worker.call('fail', [], 9), worker.call('count', [], 9)];
  const settled = await Promise.allSettled(all);
  expect(settled.map((each) => (each.status === 'fulfilled' ? each.value : each.reason.message))).toEqual([
    ...[['anew', 1], 'no', ['anew', 2]],
  ]);
  worker.end();
});

test.each([
  ['loop', 'it takes more than 0.2 s', 0.2],
  ['fill', 'it takes more than 1024 MB', 100],
])('what never ends is ended, and what waits goes on: %s', async (name, message, seconds) => {
  const worker = open();
  const endless = worker.call(name, [], seconds);
  const next = worker.call('count', [], 9);
  await expect(endless).rejects.toThrow(message);
  expect(await next).toEqual(['anew', 1]);
  worker.end();
});
