/**
 * Ring attention with exchange beside kernels against exchange and kernels one after the other, forward, in the same run and in turns:
 * node scripts/measure-overlap.ts [TOKENS] [RANKS] [COLUMNS], over threads, or
 * node_modules/.bin/node dist/cli/bin.mjs cluster run -n 2 scripts/measure-overlap.ts [TOKENS], over MPI. After npm run build.
 * Few tokens and many columns make exchange long beside kernels. Default: 8192 tokens, 2 ranks, 64 columns of each of 8 heads.
 */
import { isMainThread, Worker } from 'node:worker_threads';
import type { Communicator } from '../src/cluster';
import type { Tensor } from '../src/index';

const dist = new URL('../dist/', import.meta.url).href;
const { attention, mergeStates }: typeof import('../src/index') = await import(`${dist}index.mjs`);
const { asRank, runRanks }: typeof import('../src/cluster') = await import(`${dist}cluster/index.mjs`);

const HEADS = 8;
const REPETITIONS = 31;
const WAYS = ['kernels', 'exchange', 'in turn', 'beside'] as const;
type Way = (typeof WAYS)[number];
type Three = readonly [Tensor, Tensor, Tensor];

/** The milliseconds of each way, by repetition. */
type Times = Readonly<Record<Way, number[]>>;

interface Sizes {
  readonly tokens: number;
  readonly columns: number;
}

async function onRank(communicator: Communicator, { tokens, columns }: Sizes): Promise<Times> {
  const { runtime, rank, size } = communicator;
  const [q, k, v] = [0, 1, 2].map((seed) =>
    runtime.random([1, tokens / size, HEADS, columns], { seed }),
  ) as unknown as Three;
  const shifted = (x: Tensor) => communicator.sendRecv(x, (rank + 1) % size, (rank + size - 1) % size);

  /** Attention to the keys of all ranks, whose blocks go round. */
  async function once(way: Way): Promise<void> {
    const made: Tensor[] = [];
    const kept = <Made extends readonly Tensor[]>(tensors: Made) => {
      made.push(...tensors);
      return tensors;
    };
    let held = [k, v] as readonly [Tensor, Tensor];
    let state: ReturnType<typeof attention> | undefined;
    for (let step = 0; step < size; step++) {
      const isLast = step + 1 === size;
      const next = isLast || way === 'kernels' ? held : (kept(held.map(shifted)) as unknown as typeof held);
      if (way === 'in turn') await runtime.finish();
      if (way !== 'exchange') {
        const part = attention(q, ...held);
        state = state ? mergeStates([state, part]) : part;
        kept([part.out, part.lse, state.out, state.lse]);
      }
      if (way === 'in turn') await runtime.finish();
      held = next;
    }
    await runtime.finish();
    for (const each of made) each.dispose();
  }

  const times: Times = { kernels: [], exchange: [], 'in turn': [], beside: [] };
  for (let at = 0; at <= REPETITIONS; at++)
    for (const way of WAYS) {
      await communicator.barrier();
      const start = performance.now();
      await once(way);
      await communicator.barrier();
      // The first one loads kernels.
      if (at > 0) times[way].push(performance.now() - start);
    }
  return times;
}

function told(name: string, { tokens, columns }: Sizes, ranks: number, times: Times): string {
  const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] as number;
  const cells = WAYS.map((way) => `${way} ${median(times[way]).toFixed(1)} ms`);
  const ratio = median(times.beside.map((each, at) => each / (times['in turn'][at] as number)));
  return `${name}, ${ranks} ranks, ${tokens} tokens of ${HEADS} x ${columns}: ${cells.join(', ')}; beside / in turn ${ratio.toFixed(3)}`;
}

const [tokens = 8192, ranks = 2, columns = 64] = process.argv.slice(2).map(Number);
const sizes = { tokens, columns };
if (process.env.OMPI_COMM_WORLD_SIZE !== undefined)
  await asRank(async (communicator) => {
    const times = await onRank(communicator, sizes);
    if (communicator.rank === 0) console.log(told('MPI', sizes, communicator.size, times));
  });
else if (isMainThread) {
  const [times] = await runRanks<Times>(ranks, () => new Worker(new URL(import.meta.url)), { data: sizes });
  console.log(told('threads', sizes, ranks, times as Times));
} else await asRank(onRank);
