import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exactAttention, powerAttention } from '../methods';
import { readMethod, readMethods } from './methods';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-methods-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function moduleOf(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

test('names are methods of the library, each once', async () => {
  expect(await readMethods('attention, power-attention,attention')).toEqual([exactAttention, powerAttention]);
  await expect(readMethod('atention')).rejects.toThrow('method must be one of attention, kernel-ridge');
});

test('paths are modules whose default export is a method', async () => {
  const method = `{ name: 'mine', inputs: {}, outputs: {}, params: {}, parse() {}, forward() {}, reference() {}, cost() {}, variants() {}, continuation() {} }`;
  expect(await readMethod(await moduleOf('mine.mjs', `export default ${method};`))).toMatchObject({ name: 'mine' });
});

test('what is no such module is refused by name', async () => {
  const refuse = async (path: string, message: string) =>
    expect(readMethod(path)).rejects.toThrow(`${path} ${message}`);
  await refuse(join(folder, 'none.mjs'), 'cannot be loaded: ');
  await refuse(await moduleOf('fails.mjs', "throw new Error('not today');"), 'cannot be loaded: not today');
  const none = await moduleOf('none-of-it.mjs', 'export default { name: 5 };');
  await expect(readMethod(none)).rejects.toThrow(
    `the default export of ${none} must be a method: one of saccade/methods, or what findMethod or defineMethod returns, got an object`,
  );
});
