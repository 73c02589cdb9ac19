/**
 * Times of attention over ranks, each mechanism beside one process with as many threads and beside the model of cost, whose constants
 * are measured here too: node scripts/measure-context-parallel.ts [TOKENS] [RANKS...]. Run it on a quiet machine, after
 * npm run build. Default: 16384 tokens, 2 ranks.
 */
import { availableParallelism } from 'node:os';
import { isMainThread, Worker } from 'node:worker_threads';
import type { Communicator } from '../src/cluster';
import type { Runtime, Tensor } from '../src/index';

const dist = new URL('../dist/', import.meta.url).href;
const { attention, createRuntime, pullback }: typeof import('../src/index') = await import(`${dist}index.mjs`);
const { asRank, contextParallel, runRanks }: typeof import('../src/cluster') = await import(`${dist}cluster/index.mjs`);
const { MECHANISMS, simulateContextParallel }: typeof import('../src/simulate') = await import(
  `${dist}simulate/index.mjs`
);

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

async function measure(): Promise<void> {
  const [tokens = 16_384, ...counts] = process.argv.slice(2).map(Number);
  const cores = availableParallelism();
  const one = await alone(tokens, 1);
  const pairs = (tokens * (tokens + 1)) / 2;
  const rate = (4 * 3.5 * pairs * HEADS * D) / one;
  for (const ranks of counts.length > 0 ? counts : [2]) {
    const threads = Math.min(ranks, cores);
    const beside = await alone(tokens, threads);
    const open = () => new Worker(new URL(import.meta.url));
    const found = await runRanks<Times>(ranks, open, { data: { tokens } });
    const [{ link }] = found as [Times];
    console.log(
      `${ranks} ranks of one thread beside one process of ${threads}: ${beside.toFixed(3)} s; link ${(1e6 * link.seconds).toFixed(0)} us, ${(link.bytesPerSecond / 1e9).toFixed(2)} GB/s`,
    );
    const model = simulateContextParallel({
      devices: ranks,
      tokens,
      heads: HEADS,
      keyHeads: KEY_HEADS,
      d: D,
      bytes: 4,
      node: ranks,
      within: link,
      flopsPerSecond: (rate * threads) / ranks,
    });
    for (const mechanism of MECHANISMS) {
      const took = Math.max(...found.map(({ passes }) => passes[mechanism] as number));
      const { seconds } = model.find((cost) => cost.mechanism === mechanism) as { seconds: number };
      const cells = [took.toFixed(3), (took / beside).toFixed(3), seconds.toFixed(3), (took / seconds).toFixed(2)];
      console.log(`${mechanism.padEnd(12)} ${cells[0]} s, ${cells[1]} x; model ${cells[2]} s, ratio ${cells[3]}`);
    }
  }
}

if (isMainThread) await measure();
else await asRank(onRank);
