import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test, vi } from 'vitest';
import { nextTurn } from './next-turn';

test('waits for no timer, and lets other events have their turn', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate'] });
  try {
    const aborting = new AbortController();
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => aborting.abort();
    port2.postMessage('abort');
    let turns = 0;
    for (; turns < 1000 && !aborting.signal.aborted; turns++) await nextTurn();
    port1.close();
    expect(aborting.signal.aborted).toBe(true);
    expect(turns).toBeLessThan(1000);
  } finally {
    vi.useRealTimers();
  }
});

test('keeps a process of Node alive as long as it is waited for, and no longer', async () => {
  const script = `import { nextTurn } from ${JSON.stringify(new URL('next-turn.ts', import.meta.url).href)};
    for (let turn = 0; turn < 9; turn++) await nextTurn();
    process.stdout.write('done');`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
  expect(stdout).toBe('done');
});
