import { availableParallelism } from 'node:os';
import { styleText } from 'node:util';
import { Command } from 'commander';
import { Runtimes } from '../bench/runtimes';
import { BackendError, SaccadeError, UnsupportedError } from '../errors';
import { describeMachine, formatMachine, type Machine } from '../machine';
import { exactAttention } from '../methods/dense/attention';
import type { RuntimeOptions } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import { formatTable, right } from '../text/table';
import { jsonOption } from './options';
import { tell } from './write-file';

/** A way to compute: whether this machine has it, and if so how exact and how fast it is. */
interface Way {
  readonly name: string;
  /** Why this machine lacks it, and the remedy. */
  readonly missing?: string;
  /** Largest error of a small attention against the float64 reference. */
  readonly error?: number;
  /** Multiply-add peak in GF/s. */
  readonly peak?: number;
  /** What a GPU is, one fact a line. */
  readonly facts?: readonly string[];
}

interface Diagnosis {
  readonly machine: Machine;
  /** Memory that this process may still take. */
  readonly availableGiB: number;
  readonly ways: readonly Way[];
  /** What is used by default, one fact a line. */
  readonly chosen: readonly string[];
}

const TOLERANCE = 1e-5;
const PROBES = 5;
const WEBGPU = 'WebGPU';

export function doctorCommand(): Command {
  return new Command('doctor').addOption(jsonOption('what was found')).action(async ({ json }: { json?: string }) => {
    const diagnosis = await diagnose();
    await tell(() => report(diagnosis), json, diagnosis);
    refuseUnlessSound(diagnosis.ways);
  });
}

async function diagnose(): Promise<Diagnosis> {
  const runtimes = new Runtimes();
  try {
    const ways: Way[] = [];
    for (const [name, options] of waysToAskFor()) ways.push(await tryOut(name, options, runtimes));
    return {
      machine: await describeMachine(),
      availableGiB: process.availableMemory() / 2 ** 30,
      ways,
      chosen: ways.some(isDefault) ? await runtimes.explain({}) : [],
    };
  } finally {
    await runtimes.dispose();
  }
}

function waysToAskFor(): [name: string, options: RuntimeOptions][] {
  const threads = Math.max(2, availableParallelism());
  return [
    ['SIMD, 1 thread', { simd: 'baseline', threads: 1, native: false }],
    ['relaxed SIMD, 1 thread', { simd: 'relaxed', threads: 1, native: false }],
    [`SIMD, ${threads} threads`, { simd: 'baseline', threads, native: false }],
    [`relaxed SIMD, ${threads} threads`, { simd: 'relaxed', threads, native: false }],
    [`machine code, ${threads} threads`, { native: true, threads }],
    [WEBGPU, { backend: 'webgpu' }],
  ];
}

/** If the platform lacks something, the runtime's error says what, and the remedy. */
async function tryOut(name: string, options: RuntimeOptions, runtimes: Runtimes): Promise<Way> {
  try {
    const error = await attentionError(await runtimes.get(options));
    const facts = options.backend === 'webgpu' ? { facts: await runtimes.explain(options) } : {};
    return { name, error, ...(await bestPeak(options, runtimes)), ...facts };
  } catch (failure) {
    if (failure instanceof SaccadeError) return { name, missing: failure.message };
    throw failure;
  }
}

/** The best of several probes, since other work on the machine only ever slows one down. */
async function bestPeak(options: RuntimeOptions, runtimes: Runtimes): Promise<Pick<Way, 'peak'>> {
  let peak = 0;
  for (let probe = 0; probe < PROBES; probe++) peak = Math.max(peak, (await runtimes.peak(options)) ?? 0);
  return peak > 0 ? { peak } : {};
}

/** Largest error of causal attention at extents that divide nothing. */
async function attentionError(runtime: Runtime): Promise<number> {
  const params = exactAttention.parse({ causal: true });
  using q = runtime.random([1, 101, 4, 33], { seed: 1 });
  using k = runtime.random([1, 131, 2, 33], { seed: 2 });
  using v = runtime.random([1, 131, 2, 35], { seed: 3 });
  const [result] = runtime.scope(() => [exactAttention.forward({ q, k, v }, params).out!.read()]);
  const out = await result!;
  const host = { q: await q.toHost(), k: await k.toHost(), v: await v.toHost() };
  const expected = exactAttention.reference(host, params).out!.data;
  return expected.reduce((worst, value, at) => Math.max(worst, Math.abs(value - (out[at] as number))), 0);
}

function isThere(way: Way): boolean {
  return way.missing === undefined;
}

/** Whether it is there and may be used without being asked for. */
function isDefault(way: Way): boolean {
  return isThere(way) && way.name !== WEBGPU;
}

function report({ machine, availableGiB, ways, chosen }: Diagnosis): string {
  const columns = ['way to compute', right('error of attention'), right('multiply-add peak')];
  const rows = ways.map(({ name, missing, error, peak }) => [
    `${missing === undefined ? styleText('green', '✓') : styleText('red', '✗')} ${name}`,
    error?.toExponential(1) ?? 'missing',
    peak === undefined ? '' : `${peak.toPrecision(3)} GF/s`,
  ]);
  const facts = ways.flatMap((way) => (way.facts ? ['', styleText('bold', way.name), ...way.facts] : []));
  const remedies = ways.flatMap(({ name, missing }) => (missing === undefined ? [] : [`${name}: ${missing}`]));
  return [
    formatMachine(machine),
    `${availableGiB.toFixed(1)} GiB of memory are available`,
    '',
    formatTable(columns, rows),
    ...(chosen.length > 0 ? ['', styleText('bold', 'chosen unless told otherwise'), ...chosen] : []),
    ...facts,
    ...(remedies.length > 0 ? ['', styleText('bold', 'missing'), ...remedies] : []),
  ].join('\n');
}

function refuseUnlessSound(ways: readonly Way[]): void {
  if (!ways.some(isDefault)) throw new UnsupportedError(`this machine cannot compute on its CPU: ${ways[0]?.missing}`);
  const wrong = ways.find((way) => isThere(way) && !((way.error as number) <= TOLERANCE));
  if (wrong) throw new BackendError(`${wrong.name} computes wrongly on this machine: use another, and report it`);
}
