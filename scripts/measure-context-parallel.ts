/**
 * Times of attention over ranks, each mechanism beside one process with as many threads and beside the model of cost, whose constants
 * are measured here too: node scripts/measure-context-parallel.ts [TOKENS] [RANKS...] [--json FILE]. Run it on a quiet machine, after
 * npm run build. Default: 16384 tokens, 2 ranks. Of the newest run in docs/ranks, named after its machine, the guide has a table.
 */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, Worker } from 'node:worker_threads';
import type { Communicator } from '../src/cluster';
import type { Runtime, Tensor } from '../src/index';
import type { RanksRow, RanksRun } from './ranks-run';

const dist = new URL('../dist/', import.meta.url).href;
const { attention, createRuntime, pullback }: typeof import('../src/index') = await import(`${dist}index.mjs`);
const { asRank, contextParallel, runRanks }: typeof import('../src/cluster') = await import(`${dist}cluster/index.mjs`);
const { MECHANISMS, simulateContextParallel }: typeof import('../src/simulate') = await import(
  `${dist}simulate/index.mjs`
);

const { describeMachine }: typeof import('../src/machine') = await import(`${dist}machine.mjs`);

const [HEADS, KEY_HEADS, D] = [8, 8, 64];
const REPETITIONS = 5;

interface Times {
  /** Seconds of both passes, by mechanism. */
  readonly passes: Readonly<Record<string, number>>;
  readonly link: { readonly seconds: number; readonly bytesPerSecond: number };
}

const inputs = (runtime: Runtime, tokens: number) =>
  [HEADS, KEY_HEADS, KEY_HEADS].map((heads, seed) => runtime.random([1, tokens, heads, D], { seed })) as Three;
type Three = [Tensor, Tensor, Tensor];

/** The least seconds of forward and backward pass. */
async function timed(
  runtime: Runtime,
  tensors: Three,
  attend: (...qkv: Three) => { readonly out: Tensor },
  ready: () => Promise<void>,
): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let at = 0; at <= REPETITIONS; at++) {
    await ready();
    const start = performance.now();
    const { results, pull } = pullback((all: Three) => ({ out: attend(...all).out }), tensors);
    const gradients = pull({ out: results.out } as never) as unknown as Three;
    await runtime.finish();
    await ready();
    // The first one loads kernels and makes the maps of masks.
    if (at > 0) least = Math.min(least, (performance.now() - start) / 1000);
    for (const tensor of [results.out, ...gradients]) tensor.dispose();
  }
  return least;
}

async function onRank(communicator: Communicator, { tokens }: { readonly tokens: number }): Promise<Times> {
  const { runtime, size, rank } = communicator;
  const passes: Record<string, number> = {};
  const ready = () => communicator.barrier();
  for (const mechanism of MECHANISMS) {
    const attend = contextParallel(attention, { communicator, tokens, causal: true, mechanism });
    const whole = inputs(runtime, tokens);
    const own = whole.map((x) => attend.dispatch(x)) as Three;
    for (const x of whole) x.dispose();
    passes[mechanism] = await timed(runtime, own, attend, ready);
    for (const x of own) x.dispose();
  }
  const hop = async (elements: number) => {
    using x = runtime.zeros([elements]);
    let least = Number.POSITIVE_INFINITY;
    for (let at = 0; at < 20; at++) {
      await ready();
      const start = performance.now();
      using y = communicator.sendRecv(x, (rank + 1) % size, (rank + size - 1) % size);
      await y.read();
      least = Math.min(least, (performance.now() - start) / 1000);
    }
    return least;
  };
  const [few, many] = [16, 2 ** 20];
  const [short, long] = [await hop(few), await hop(many)];
  return { passes, link: { seconds: short, bytesPerSecond: (4 * (many - few)) / Math.max(1e-9, long - short) } };
}

async function alone(tokens: number, threads: number): Promise<number> {
  using runtime = await createRuntime({ backend: 'wasm', threads });
  const attend = (q: Tensor, k: Tensor, v: Tensor) => attention(q, k, v, { causal: true });
  return await timed(runtime, inputs(runtime, tokens), attend, async () => {});
}

/** What so many ranks took, each mechanism, and the model of cost with the links and the rate that were measured. */
async function rowOf(ranks: number, tokens: number, rateAlone: number): Promise<RanksRow> {
  const threads = Math.min(ranks, availableParallelism());
  const beside = await alone(tokens, threads);
  const open = () => new Worker(new URL(import.meta.url));
  const found = await runRanks<Times>(ranks, open, { data: { tokens } });
  const [{ link }] = found as [Times];
  const model = simulateContextParallel({
    devices: ranks,
    tokens,
    heads: HEADS,
    keyHeads: KEY_HEADS,
    d: D,
    bytes: 4,
    node: ranks,
    within: link,
    flopsPerSecond: (rateAlone * threads) / ranks,
  });
  const mechanisms = MECHANISMS.map((mechanism) => ({
    mechanism,
    seconds: Math.max(...found.map(({ passes }) => passes[mechanism] as number)),
    modelSeconds: model.find((cost) => cost.mechanism === mechanism)?.seconds as number,
  }));
  return { ranks, threads, besideSeconds: beside, link, mechanisms };
}

function print({ ranks, threads, besideSeconds, link, mechanisms }: RanksRow): void {
  console.log(
    `${ranks} ranks of one thread beside one process of ${threads}: ${besideSeconds.toFixed(3)} s; link ${(1e6 * link.seconds).toFixed(0)} us, ${(link.bytesPerSecond / 1e9).toFixed(2)} GB/s`,
  );
  for (const { mechanism, seconds, modelSeconds } of mechanisms)
    console.log(
      `${mechanism.padEnd(12)} ${seconds.toFixed(3)} s, ${(seconds / besideSeconds).toFixed(3)} x; model ${modelSeconds.toFixed(3)} s, ratio ${(seconds / modelSeconds).toFixed(2)}`,
    );
}

async function measure(): Promise<void> {
  const { positionals, values } = parseArgs({ options: { json: { type: 'string' } }, allowPositionals: true });
  const [tokens = 16_384, ...counts] = positionals.map(Number);
  const pairs = (tokens * (tokens + 1)) / 2;
  const rate = (4 * 3.5 * pairs * HEADS * D) / (await alone(tokens, 1));
  const rows: RanksRow[] = [];
  for (const ranks of counts.length > 0 ? counts : [2]) {
    const row = await rowOf(ranks, tokens, rate);
    print(row);
    rows.push(row);
  }
  if (values.json === undefined) return;
  const command = `node scripts/measure-context-parallel.ts ${[tokens, ...rows.map(({ ranks }) => ranks)].join(' ')}`;
  const run: RanksRun = { command, machine: await describeMachine(), tokens, heads: HEADS, d: D, rows };
  await writeFile(values.json, `${JSON.stringify(run, undefined, 2)}\n`);
}

if (isMainThread) await measure();
else await asRank(onRank);
