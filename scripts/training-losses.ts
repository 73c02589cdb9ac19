/**
 * Writes what the trainings of `saccade bench train` should give, by PyTorch in float64, which `python3` or SACCADE_PYTHON has:
 * node scripts/training-losses.ts. It uses what is built.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const dist = new URL('../dist/', import.meta.url).href;
const { TRAININGS, problemOfTraining } = await import(`${dist}bench/trainings.mjs`);
const { PeerProcess } = await import(`${dist}bench/peer-process.mjs`);
const { writeSafetensors } = await import(`${dist}io/index.mjs`);

const folder = mkdtempSync(join(tmpdir(), 'saccade-losses-'));
const script = new URL('../peers/pytorch_training.py', import.meta.url).pathname;
// One thread, so that a busy machine does not make several wait for each other.
const env = { ...process.env, OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1' };
const { signal } = new AbortController();
const found: Record<string, readonly number[]> = {};
for (const name of Object.keys(TRAININGS)) {
  const problem = problemOfTraining(name);
  const { tensors, settings } = problem.operation.given(problem);
  const inputs = join(folder, 'inputs.safetensors');
  writeFileSync(inputs, writeSafetensors(tensors));
  const python = new PeerProcess(spawn(process.env.SACCADE_PYTHON || 'python3', [script], { env, stdio: 'pipe' }));
  await python.ask('open', { backend: 'wasm', threads: 1, dtype: 'f64', limit: 2 ** 35 }, signal);
  await python.ask('prepare', { inputs, ...settings }, signal);
  found[name] = await python.ask('losses', {}, signal);
  python.kill();
  console.log(name, found[name]);
}
rmSync(folder, { recursive: true });

const lists = Object.entries(found).map(([name, losses]) => `  ${name}: [\n    ${losses.join(',\n    ')},\n  ],\n`);
writeFileSync(
  new URL('../src/bench/training-losses.ts', import.meta.url),
  `/** The losses of the first steps, before their updates, by PyTorch in float64: \`node scripts/training-losses.ts\` writes this. */
export const LOSSES = {
${lists.join('')}} as const;
`,
);
