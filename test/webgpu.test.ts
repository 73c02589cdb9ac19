/** What the GPU's backend does to a Node process: memory of the heap, forgotten runtimes, the end. */
import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { has } from './has';

const index = pathToFileURL(join(resolve(import.meta.dirname, '..'), 'dist/index.mjs'));

/** What a program prints that has a runtime, two tensors in it, and `gc`; rejects if it ends badly or hangs. */
async function run(program: string): Promise<string> {
  const source = `
    import { add, createRuntime } from '${index}';
    const runtime = await createRuntime({ backend: 'webgpu' });
    const [a, b] = [runtime.tensor([1, 2, 3], [3]), runtime.tensor([4, 5, 6], [3])];
    ${program}`;
  const args = ['--expose-gc', '--input-type=module', '--eval', source];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 30_000 });
  return stdout.trim();
}

describe.runIf(has('gpu'))('a process that computes on the GPU', () => {
  test('ends by itself: disposed or not, with calls pending or none', async () => {
    const done = "console.log('done');";
    const programs = [
      `runtime.dispose(); ${done}`,
      `console.log(String(await add(a, b).read())); ${done}`,
      `add(a, b).read().then((values) => console.log(String(values))); ${done}`,
      `add(a, b).read().then(() => console.log('no'), ({ name }) => console.log(name)); runtime.dispose(); ${done}`,
    ];
    expect(await Promise.all(programs.map(run))).toEqual(['done', '5,7,9\ndone', 'done\n5,7,9', 'done\nDisposedError']);
  });

  test('needs no more of the heap after many calls', async () => {
    const grown = await run(`
      const used = async () => {
        await runtime.finish();
        gc();
        return process.memoryUsage().heapUsed;
      };
      const repeat = async (times) => {
        for (let i = 0; i < times; i += 100) {
          for (let call = 0; call < 100; call++) add(a, b).dispose();
          await runtime.finish();
        }
      };
      await repeat(1000);
      const before = await used();
      await repeat(10_000);
      console.log((await used()) - before);
      runtime.dispose();`);
    expect(Number(grown)).toBeLessThan(2 ** 18);
  });

  test('survives runtimes that are forgotten', async () => {
    const printed = await run(`
      for (let i = 0; i < 4; i++) {
        const sum = await (async () => {
          const forgotten = await createRuntime({ backend: 'webgpu' });
          const x = forgotten.tensor([i], [1]);
          return add(x, x).read();
        })();
        for (let j = 0; j < 3; j++) {
          gc();
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        console.log(sum[0], (await add(a, b).read())[0]);
      }
      runtime.dispose();`);
    expect(printed).toBe('0 5\n2 5\n4 5\n6 5');
  });
});
