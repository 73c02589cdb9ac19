import { afterEach, expect, test, vi } from 'vitest';
import { withProgress } from './progress';

const terminal = process.stderr.isTTY;
afterEach(() => {
  process.stderr.isTTY = terminal;
  vi.restoreAllMocks();
});

test('passes the result on and is silent about short work where stderr is no terminal', async () => {
  process.stderr.isTTY = false;
  const write = vi.spyOn(process.stderr, 'write');
  const result = await withProgress('work', async ({ onProgress }) => {
    onProgress(0.5);
    return 7;
  });
  expect(result).toBe(7);
  expect(write).not.toHaveBeenCalled();
});

test('writes a line now and then where stderr is no terminal', async () => {
  process.stderr.isTTY = false;
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
  await withProgress('work', async ({ onProgress }) => {
    for (const second of [1, 9, 10, 11, 19, 21]) {
      clock.mockReturnValue(second * 1000);
      onProgress(second / 30, second > 20 ? 'the rest' : undefined);
    }
  });
  expect(write.mock.calls.map(([line]) => line)).toEqual(['work 33%\n', 'work 70%: the rest\n']);
});

test('draws a bar on a terminal', async () => {
  process.stderr.isTTY = true;
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  await withProgress('work', async ({ onProgress }) => onProgress(1));
  expect(write.mock.calls.join('')).toMatch(/work .*100%/);
});

test('shows text above the bar, in the place of the last, and clears it; without a terminal it does not', async () => {
  process.stderr.isTTY = true;
  const { rows, columns } = process.stderr;
  Object.assign(process.stderr, { rows: 4, columns: 10 });
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  await withProgress('work', async (_, show) => {
    show('one\ntwo');
    // The last two take three lines, so that the bar still fits below.
    show('gone\n\u001b[1mtwelve wide!\u001b[22m\nshort');
  });
  Object.assign(process.stderr, { rows, columns });
  const written = write.mock.calls.map(([text]) => String(text));
  const start = written.indexOf('one\ntwo\n');
  expect(written[start - 1]).toBe('\r\u001b[J');
  const second = written.indexOf('\u001b[1mtwelve wide!\u001b[22m\nshort\n');
  expect(written[second - 1]).toBe('\r\u001b[2A\u001b[J');
  expect(written.at(-1)).toBe('\r\u001b[3A\u001b[J');

  process.stderr.isTTY = false;
  write.mockClear();
  await withProgress('work', async (_, show) => show('nothing'));
  expect(write).not.toHaveBeenCalled();
});

test('an interrupt aborts the work, and no listener stays behind', async () => {
  process.stderr.isTTY = false;
  const before = process.listenerCount('SIGINT');
  const work = withProgress('work', ({ signal }) => {
    process.emit('SIGINT');
    return new Promise((_, reject) => reject(signal.reason));
  });
  await expect(work).rejects.toMatchObject({ name: 'AbortError' });
  expect(process.listenerCount('SIGINT')).toBe(before);
});

test('work that did not look at the signal is aborted at its end', async () => {
  process.stderr.isTTY = false;
  await expect(async () => withProgress('work', async () => process.emit('SIGINT'))).rejects.toMatchObject({
    name: 'AbortError',
  });
});
