/**
 * The recipe of the model of pictures and words that comes with the library, of what is built: node scripts/trained-regions.ts [FOLDER]
 * [--steps 2600] [--predictor-steps 2000]. It fetches Fashion-MNIST (MIT) from Debian, trains the model and then its predictor by
 * `saccade train --task regions`, and rounds the weights to 8 bits. Called again it goes on from the last checkpoint.
 */
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fashionMnist } from './fashion-mnist.ts';

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  options: { steps: text, 'predictor-steps': text },
  allowPositionals: true,
});
const folder = resolve(positionals[0] ?? 'regions');
const root = resolve(import.meta.dirname, '..');
const { main } = await import(new URL('../dist/cli/main.mjs', import.meta.url).href);

mkdirSync(folder, { recursive: true });
const data = fashionMnist(join(folder, 'data'));
const viewer = await trained('viewer', values.steps ?? '2600');
const whole = await trained('regions', values['predictor-steps'] ?? '2000', '--weights', viewer);
const into = join(root, 'src/pipelines/regions/trained');
rmSync(join(into, 'model.safetensors'), { force: true });
await saccade('quantize', '--type', 'q8', '--in', join(whole, 'model.safetensors'), '--out', into);
cpSync(join(whole, 'config.json'), join(into, 'config.json'));

/** Trains into a folder of that name, unless that is done, and gives its path. */
async function trained(name: string, steps: string, ...more: string[]): Promise<string> {
  const out = join(folder, name);
  if (existsSync(join(out, 'model.safetensors'))) return out;
  const isBegun = existsSync(join(out, 'last.safetensors'));
  const given = ['--task', 'regions', '--data', data, '--batch', '8', '--every', '200', '--steps', steps, ...more];
  await saccade('train', '--out', out, '--threads', '1', ...(isBegun ? ['--resume'] : given));
  return out;
}

async function saccade(...args: string[]): Promise<void> {
  const code = await main(args);
  if (code !== 0) throw new Error(`saccade ${args.join(' ')} ended with ${code}`);
}
