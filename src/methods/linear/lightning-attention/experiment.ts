/** Whether every token costs the same, where exact attention becomes slower, and what memory grows with. */
import { timeCalls } from '../../../measure/timing';
import { attention } from '../../../ops/attention';
import { contiguous } from '../../../ops/copy';
import { linearAttention } from '../../../ops/linear-attention';
import type { Tensor } from '../../../tensor/tensor';
import { formatBytes, formatRatio, significant } from '../../../text/format';
import {
  type Claims,
  defineExperiment,
  type ExperimentContext,
  type Measurement,
  type Measurements,
  together,
} from '../../experiment';
import { held } from '../../held';
import { medians, overRounds, timeRounds } from '../../rounds';
import { releasedDecays } from './schedules';

/** Features and columns of a head, as in the released models of the smallest size. */
const WIDTH = 64;

const claims = {
  speed: {
    claim: 'The speed is the same at every length.',
    source: 'paper, title and figure 1',
    criteria: {
      apart: {
        what: 'time for a token where it is longest, over that where it is shortest',
        expected: [0.9, 1.1],
        partly: [0.9, 1.5],
        plausible: [0.5, 20],
      },
    },
    timed: true,
  },
  memory: {
    claim: 'Beyond inputs and outputs memory does not grow with the length.',
    source: 'paper, section 3',
    criteria: {
      growth: {
        what: 'most bytes held over the fewest, of all lengths',
        expected: [1, 1],
        partly: [1, 2],
        plausible: [1, 1000],
      },
    },
  },
  crossover: {
    claim: 'From n of about 3500 it is faster than FlashAttention-2; by operations it could be from n = B + d.',
    source: "the authors' benchmark on a GPU, d = e = 128; the count",
    criteria: {
      early: {
        what: 'speed-up over exact causal attention at n = 128, about B + d',
        expected: [1, 4],
        partly: [0.7, 4],
        plausible: [0.05, 4],
      },
      late: { what: 'speed-up at n = 2048', expected: [3, 40], partly: [1, 40], plausible: [0.05, 40] },
    },
    untested: 'The length of 3500 is that of a GPU and of another kernel.',
    timed: true,
  },
} as const satisfies Claims;

export const experiment = defineExperiment({
  title: 'time for a token and memory by length; crossover with exact causal attention',
  claims,
  measure: { ...together(['speed', 'memory'], byLength), crossover },
});

type Qkv = Readonly<Record<'q' | 'k' | 'v', Tensor>>;

/** Standard normal q, k and v, the same rows again and again beyond the first thousand. */
function inputs({ runtime }: ExperimentContext, n: number, h: number): Qkv {
  const rows = Math.min(n, 1024);
  const make = (seed: number) =>
    runtime.scope(() => {
      const some = runtime.random([1, rows, h, WIDTH], { seed });
      return contiguous(some.expand([n / rows, rows, h, WIDTH])).reshape([1, n, h, WIDTH]);
    });
  return { q: make(1), k: make(2), v: make(3) };
}

/** The first rows of each. */
function head({ q, k, v }: Qkv, n: number): Qkv {
  return { q: q.slice(1, 0, n), k: k.slice(1, 0, n), v: v.slice(1, 0, n) };
}

function run({ q, k, v }: Qkv, h: number, signal?: AbortSignal): void {
  const decay = releasedDecays(h, { layer: 0, layers: 24 });
  const { out, state } = linearAttention(q, k, v, { causal: true, decay, signal });
  out.dispose();
  state.dispose();
}

async function byLength(context: ExperimentContext): Promise<Measurements<typeof claims, 'speed' | 'memory'>> {
  const { runtime, signal, onProgress, quick = false } = context;
  const h = 8;
  const lengths = quick ? [128, 256] : [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];
  const longest = lengths.at(-1) as number;
  const all = inputs(context, longest, h);
  const parts = lengths.map((n) => head(all, n));
  using _ = held([all, ...parts].flatMap(Object.values<Tensor>));
  const calls = parts.map((part) => () => run(part, h, signal));
  const memory: number[] = [];
  for (const [at, n] of lengths.entries()) {
    signal?.throwIfAborted();
    onProgress?.((0.1 * at) / lengths.length, `n = ${n}`);
    const call = calls[at] as () => void;
    await timeCalls(runtime, call);
    const before = runtime.memory().live;
    runtime.backend.resetPeak();
    await timeCalls(runtime, call);
    memory.push(runtime.memory().peak - before - 4 * h * WIDTH * (n + WIDTH));
  }
  const rounds = await timeRounds(calls, 20, {
    ...context,
    onProgress: (share) => onProgress?.(0.1 + 0.7 * share, 'time by length'),
  });
  const tokenTime = (time: number | undefined, at: number) => (1e6 * (time as number)) / (lengths[at] as number);
  const perToken = medians(rounds).map(tokenTime);
  // Which lengths are the extremes follows from the medians, how they compare from the rounds.
  const [slow, fast] = [Math.max, Math.min].map((extreme) => perToken.indexOf(extreme(...perToken))) as [
    number,
    number,
  ];
  const apart = overRounds(rounds, (times) => tokenTime(times[slow], slow) / tokenTime(times[fast], fast));
  const setting = `h = ${h}, d = e = ${WIDTH}, f32, decays of the first of 24 layers.`;
  const line = (title: string, label: string, values: readonly number[]) => ({
    title,
    x: { label: 'n', values: lengths },
    lines: [{ label, values }],
  });
  return {
    speed: {
      measured: `${significant(Math.min(...perToken) / 1000)} to ${significant(Math.max(...perToken) / 1000)} us for a token from n = ${lengths[0]} to ${longest}: ${formatRatio(apart.value)} apart`,
      values: { apart },
      details: `${setting} Medians. Short inputs stay in the cache.`,
      series: [line('Nanoseconds for a token', 'ns', perToken)],
    },
    memory: {
      measured: `${formatBytes(memory[0] as number)} at n = ${lengths[0]}, ${formatBytes(memory.at(-1) as number)} at ${longest}`,
      values: { growth: Math.max(...memory) / Math.min(...memory) },
      details: `${setting} One state for each head, and working memory of each thread that is there anyway.`,
      series: [line('Bytes beyond inputs and outputs', 'bytes', memory)],
    },
  };
}

async function crossover(context: ExperimentContext): Promise<Measurement<typeof claims.crossover>> {
  const { signal, onProgress, quick = false } = context;
  const h = 8;
  const lengths = quick ? [64, 128] : [64, 96, 128, 192, 256, 384, 512, 1024, 2048];
  const parts = lengths.map((n) => inputs(context, n, h));
  using _ = held(parts.flatMap(Object.values<Tensor>));
  const calls = parts.flatMap((qkv) => [
    () => run(qkv, h, signal),
    () => {
      const { out, lse } = attention(qkv.q, qkv.k, qkv.v, { causal: true, signal });
      out.dispose();
      lse.dispose();
    },
  ]);
  const rounds = await timeRounds(calls, 10, {
    ...context,
    onProgress: (share) => onProgress?.(0.8 + 0.2 * share, 'crossover'),
  });
  const times = medians(rounds);
  const [linear, exact] = [0, 1].map((of) => lengths.map((_, at) => times[2 * at + of] as number)) as [
    number[],
    number[],
  ];
  const speedupAt = (n: number) => {
    const at = 2 * lengths.indexOf(n);
    return overRounds(rounds, (round) => (round[at + 1] as number) / (round[at] as number));
  };
  const from = lengths[linear.map((time, at) => time > (exact[at] as number)).lastIndexOf(true) + 1];
  const last = lengths.at(-1) as number;
  const [early, late] = [speedupAt(128), speedupAt(last)];
  return {
    measured: `${from === undefined ? `not up to ${last}` : `from n = ${from}`}; ${significant(early.value)} times as fast at 128, ${significant(late.value)} times at ${last}`,
    values: { early, late },
    details: `Against exact causal attention of this library, h = ${h}, d = e = ${WIDTH}: chunks of 48 rows make B + d = ${48 + WIDTH}. Medians.`,
    series: [
      {
        title: 'Milliseconds',
        x: { label: 'n', values: lengths },
        lines: [
          { label: 'lightning attention', values: linear },
          { label: 'exact causal attention', values: exact },
        ],
      },
    ],
  };
}
