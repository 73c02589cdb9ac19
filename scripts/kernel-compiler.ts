/** A thread that compiles a module of kernels for each message, and answers with what it was made of. */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import asc from 'assemblyscript/asc';
import { type Answer, hashOf, type Module } from './compile-kernels.ts';

const { root } = workerData as { readonly root: string };

parentPort?.on('message', async ({ source, options, output }: Module) => {
  const read: Record<string, string | null> = {};
  const readFile = (name: string, folder: string) => {
    const path = join(folder, name);
    const text = readOrNull(path);
    read[relative(root, path)] = text === null ? null : hashOf(text);
    return text;
  };
  const { error, stderr } = await asc.main([source, ...options, '--baseDir', root, '-o', output], { readFile });
  const answer: Answer = error
    ? { fault: `${source} does not compile:\n${stderr}` }
    : { read, made: hashOf(readFileSync(join(root, output))) };
  parentPort?.postMessage(answer);
});

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
