/** Measures methods beside exact attention at a few lengths, for the page that helps to choose (scripts/measure-methods.ts). */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describeMachine, machineFile } from '../src/machine';
import { methods } from '../src/methods/registry';
import type { BackendName } from '../src/runtime/backend';
import { formatRatio, formatTime } from '../src/text/format';
import { type StoredTimes, TIMES } from './build/choose-page';
import { type MethodTime, timesOf } from './site/method-time';
import { chooseFrom } from './site/tasks/choose';
import { runHere } from './site/tasks/run';
import { know, type Setting } from './site/tasks/setting';

const LENGTHS = [1024, 4096];
const DIMENSION = 64;
const CONTROL = { signal: undefined, report: () => undefined };

// Runs when it is imported, since Vite cannot import modules later.
const [backend, ...names] = process.argv.slice(2) as [BackendName, ...string[]];
const wrong = names.find((name) => !methods.some((method) => method.name === name));
if (!['wasm', 'webgpu'].includes(backend) || wrong !== undefined) {
  const expected = wrong === undefined ? 'the backend, wasm or webgpu, first' : 'methods of the registry';
  console.error(`expected ${expected}, got ${wrong ?? backend ?? 'nothing'}`);
  process.exit(1);
}
know(methods);
const machine = await describeMachine();
const file = resolve(TIMES, machineFile(machine));
for (const causal of [false, true]) {
  for (const tokens of LENGTHS) {
    const wish = { tokens, dimension: DIMENSION, causal, training: true, grid: !causal, device: backend };
    for (const { setting, refused } of await chooseFrom({ wish, times: [] }, CONTROL)) {
      if (!refused && (names.length === 0 || names.includes(setting.method))) await measure(setting, causal);
    }
  }
}

async function measure(setting: Setting, causal: boolean): Promise<void> {
  const { rows } = await runHere({ setting, backends: [backend] }, CONTROL);
  const [{ failure, explain }] = rows;
  if (failure) throw new Error(`${setting.method}: ${failure}`);
  const times = timesOf(setting, causal, rows);
  for (const { method, tokens, time, speedup } of times)
    console.log(
      `${method}, ${causal ? 'causal' : 'full'}, ${tokens} tokens: ${formatTime(time)}, ${formatRatio(speedup)}`,
    );
  const gpu = backend === 'webgpu' && { gpu: /^adapter: (.*)$/m.exec(explain!)![1] };
  store({ machine, ...gpu, times });
}

/** Replaces older ones. */
function store({ times, ...rest }: StoredTimes): void {
  const earlier = existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as StoredTimes);
  const key = ({ method, causal, tokens, backend }: MethodTime) => JSON.stringify([backend, method, causal, tokens]);
  const measured = new Set(times.map(key));
  const others = earlier ? earlier.times.filter((time) => !measured.has(key(time))) : [];
  const all = [...others, ...times].sort((a, b) => key(a).localeCompare(key(b), 'en', { numeric: true }));
  writeFileSync(file, `${JSON.stringify({ ...earlier, ...rest, times: all }, null, 2)}\n`);
}
