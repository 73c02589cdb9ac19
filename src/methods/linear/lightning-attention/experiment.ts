/** Whether every token costs the same, where exact attention becomes slower, and what memory grows with. */
import type { Spread } from '../../../compare/comparison';
import { timeInterleaved, timeOnce } from '../../../compare/timing';
import { attention } from '../../../ops/attention';
import { linearAttention } from '../../../ops/linear-attention';
import { formatBytes, formatPercent, significant } from '../../../report/format';
import type { Tensor } from '../../../tensor/tensor';
import type { Experiment, ExperimentContext, Finding } from '../../experiment';
import { releasedDecays } from './schedules';

/** Features and columns of a head, as in the released models of the smallest size. */
const WIDTH = 64;

export const experiment: Experiment = {
  title: 'time for a token and memory by length; crossover with exact causal attention',
  run: (context) =>
    context.runtime.scope(async () => [...(await lengthFindings(context)), await crossoverFinding(context)]),
};

type Qkv = Readonly<Record<'q' | 'k' | 'v', Tensor>>;

/** Standard normal q, k and v, the same rows again and again beyond the first thousand. */
function inputs({ runtime }: ExperimentContext, n: number, h: number): Qkv {
  const make = (seed: number) => {
    using some = runtime.random([1, Math.min(n, 1024), h, WIDTH], { seed });
    const all = runtime.empty([1, n, h, WIDTH]);
    const [from, to] = [some.data, all.data];
    for (let at = 0; at < to.length; at += from.length) to.set(from.subarray(0, to.length - at), at);
    return all;
  };
  return { q: make(1), k: make(2), v: make(3) };
}

/** The first rows of each. */
function head({ q, k, v }: Qkv, n: number): Qkv {
  return { q: q.slice(1, 0, n), k: k.slice(1, 0, n), v: v.slice(1, 0, n) };
}

async function run({ q, k, v }: Qkv, h: number, signal?: AbortSignal): Promise<void> {
  const decay = releasedDecays(h, { layer: 0, layers: 24 });
  const { out, state } = await linearAttention(q, k, v, { causal: true, decay, signal });
  out.dispose();
  state.dispose();
}

async function lengthFindings(context: ExperimentContext): Promise<Finding[]> {
  const { runtime, signal, onProgress, quick = false } = context;
  const h = 8;
  const lengths = quick ? [128, 256] : [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];
  const longest = lengths.at(-1) as number;
  const all = inputs(context, longest, h);
  const parts = lengths.map((n) => head(all, n));
  const calls = parts.map((part) => () => run(part, h, signal));
  const memory: number[] = [];
  const estimates: number[] = [];
  for (const [at, n] of lengths.entries()) {
    signal?.throwIfAborted();
    onProgress?.((0.1 * at) / lengths.length, `n = ${n}`);
    const call = calls[at] as () => Promise<void>;
    await call();
    const before = runtime.memory().live;
    runtime.backend.resetPeak();
    estimates.push(await timeOnce(runtime, call));
    memory.push(runtime.memory().peak - before - 4 * h * WIDTH * (n + WIDTH));
  }
  const plan = quick ? { seconds: 0, least: 1, most: 1 } : { seconds: 20, least: 5, most: 100 };
  const spreads = await timeInterleaved(runtime, calls, estimates, plan, {
    signal,
    onProgress: (share) => onProgress?.(0.1 + 0.7 * share, 'time by length'),
  });
  for (const x of [...parts, all].flatMap((part) => Object.values(part))) x.dispose();
  const times = spreads.map(({ min }) => min);
  const perToken = times.map((time, at) => (1e6 * time) / (lengths[at] as number));
  const spread = Math.max(...perToken) / Math.min(...perToken) - 1;
  const setting = `h = ${h}, d = e = ${WIDTH}, f32, decays of the first of 24 layers.`;
  const series = [
    {
      title: 'By length',
      x: { label: 'n', values: lengths },
      lines: [
        { label: 'ns for a token', values: perToken },
        { label: 'bytes beyond inputs and outputs', values: memory },
      ],
    },
  ];
  return [
    {
      claim: 'The speed is the same at every length.',
      source: 'paper, title and figure 1',
      measured: `${significant(Math.min(...perToken) / 1000)} to ${significant(Math.max(...perToken) / 1000)} us for a token from n = ${lengths[0]} to ${longest}: apart by ${formatPercent(spread)}`,
      verdict: spread <= 0.1 ? 'reproduced' : spread <= 0.5 ? 'partly' : 'not reproduced',
      details: `${setting} The fastest of many calls each, in turns. Short inputs stay in the cache.`,
      series,
    },
    {
      claim: 'Beyond inputs and outputs memory does not grow with the length.',
      source: 'paper, section 3',
      measured: `${formatBytes(memory[0] as number)} at n = ${lengths[0]}, ${formatBytes(memory.at(-1) as number)} at ${longest}`,
      verdict: memory.every((bytes) => bytes === memory[0]) ? 'reproduced' : 'not reproduced',
      details: `${setting} One state for each head, and working memory of each thread that is there anyway.`,
    },
  ];
}

async function crossoverFinding(context: ExperimentContext): Promise<Finding> {
  const { runtime, signal, onProgress, quick = false } = context;
  const h = 8;
  const lengths = quick ? [64, 128] : [64, 96, 128, 192, 256, 384, 512, 1024, 2048];
  const rows: { linear: number; exact: number }[] = [];
  for (const [at, n] of lengths.entries()) {
    onProgress?.(0.8 + (0.2 * at) / lengths.length, `crossover, n = ${n}`);
    const qkv = inputs(context, n, h);
    const calls = [
      () => run(qkv, h, signal),
      async () => {
        const { out, lse } = await attention(qkv.q, qkv.k, qkv.v, { causal: true, signal });
        out.dispose();
        lse.dispose();
      },
    ];
    for (const call of calls) await call();
    const plan = quick ? { seconds: 0, least: 1, most: 1 } : { seconds: 1, least: 10, most: 200 };
    const [linear, exact] = (await timeInterleaved(runtime, calls, [1, 1], plan, { signal })) as [Spread, Spread];
    rows.push({ linear: linear.min, exact: exact.min });
    for (const x of Object.values(qkv)) x.dispose();
  }
  const lastSlower = rows.map(({ linear, exact }) => linear > exact).lastIndexOf(true);
  const crossover = lengths[lastSlower + 1];
  const last = rows.at(-1) as (typeof rows)[number];
  return {
    claim: 'From n of about 3500 it is faster than FlashAttention-2; by operations it could be from n = B + d.',
    source: "the authors' benchmark on a GPU, d = e = 128; the count",
    measured: `${crossover === undefined ? `not up to ${lengths.at(-1)}` : `from n = ${crossover}`}; ${significant(last.exact / last.linear)} times as fast at ${lengths.at(-1)}`,
    verdict: crossover === undefined ? 'not reproduced' : 'reproduced',
    details: `Against exact causal attention of this library, h = ${h}, d = e = ${WIDTH}: chunks of 48 rows make B + d = ${48 + WIDTH}. The fastest of many calls each, in turns.`,
    series: [
      {
        title: 'Milliseconds',
        x: { label: 'n', values: lengths },
        lines: [
          { label: 'lightning attention', values: rows.map(({ linear }) => linear) },
          { label: 'exact causal attention', values: rows.map(({ exact }) => exact) },
        ],
      },
    ],
  };
}
