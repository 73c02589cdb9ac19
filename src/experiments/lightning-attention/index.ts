/** Whether every token costs the same, where exact attention becomes slower, and what memory grows with. */
import { releasedDecays } from '../../methods/linear/lightning-attention/schedules';
import { contiguous } from '../../ops/copy';
import { linearAttention } from '../../ops/linear-attention';
import { formatBytes, formatRatio, significant } from '../../text/format';
import { chart, defineExperiment, figure, type MeasureContext, together } from '../experiment';
import { bytesOf, disposeAll, held, type Qkv } from '../held';
import { medians, overRounds, timeBesideExact, timeRounds } from '../rounds';

/** Features and columns of a head, as in the released models of the smallest size. */
const WIDTH = 64;

export const experiment = defineExperiment({
  title: 'time for a token and memory by length; crossover with exact causal attention',
  claims: {
    speed: {
      claim: 'The speed is the same at every length.',
      source: 'paper, title and figure 1',
      criteria: {
        apart: figure(
          'time for a token where it is longest, over that where it is shortest',
          [0.9, 1.1],
          [0.9, 1.5],
          [0.5, 20],
        ),
      },
      timed: true,
    },
    memory: {
      claim: 'Beyond inputs and outputs memory does not grow with the length.',
      source: 'paper, section 3',
      criteria: { growth: figure('most bytes held over the fewest, of all lengths', [1, 1], [1, 2], [1, 1000]) },
    },
    crossover: {
      claim: 'From n of about 3500 it is faster than FlashAttention-2; by operations it could be from n = B + d.',
      source: "the authors' benchmark on a GPU, d = e = 128; the count",
      criteria: {
        early: figure('speed-up over exact causal attention at n = 128, about B + d', [1, 4], [0.7, 4], [0.05, 4]),
        late: figure('speed-up at n = 2048', [3, 40], [1, 40], [0.05, 40]),
      },
      untested: 'The length of 3500 is that of a GPU and of another kernel.',
      timed: true,
    },
  },
  measure: { ...together(['speed', 'memory'], byLength), crossover },
});

/** Standard normal q, k and v, the same rows again and again beyond the first thousand. */
function inputs({ runtime }: MeasureContext, n: number, h: number): Qkv {
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

function run({ q, k, v }: Qkv, h: number, signal?: AbortSignal) {
  const decay = releasedDecays(h, { layer: 0, layers: 24 });
  return linearAttention(q, k, v, { causal: true, decay, signal });
}

async function byLength(context: MeasureContext) {
  const { runtime, signal, quick } = context;
  const h = 8;
  const lengths = quick ? [128, 256] : [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];
  const longest = lengths.at(-1)!;
  const all = inputs(context, longest, h);
  const parts = lengths.map((n) => head(all, n));
  using _ = held([all, parts]);
  const calls = parts.map((part) => () => run(part, h, signal));
  const memory: number[] = [];
  for (const [at, n] of lengths.entries()) {
    await context.step((0.1 * at) / lengths.length, `n = ${n}`);
    disposeAll(calls[at]!());
    memory.push((await bytesOf(runtime, calls[at]!)) - 4 * h * WIDTH * (n + WIDTH));
  }
  const rounds = await timeRounds(
    calls.map((call) => () => disposeAll(call())),
    20,
    context.part(0.1, 0.8, 'time by length'),
  );
  const tokenTime = (time: number | undefined, at: number) => (1e6 * (time as number)) / lengths[at]!;
  const perToken = medians(rounds).map(tokenTime);
  // Which lengths are the extremes follows from the medians, how they compare from the rounds.
  const [slow, fast] = [Math.max, Math.min].map((extreme) => perToken.indexOf(extreme(...perToken))) as [
    number,
    number,
  ];
  const apart = overRounds(rounds, (times) => tokenTime(times[slow], slow) / tokenTime(times[fast], fast));
  const setting = `h = ${h}, d = e = ${WIDTH}, f32, decays of the first of 24 layers.`;
  return {
    speed: {
      measured: `${significant(Math.min(...perToken) / 1000)} to ${significant(Math.max(...perToken) / 1000)} us for a token from n = ${lengths[0]} to ${longest}: ${formatRatio(apart.value)} apart`,
      values: { apart },
      details: `${setting} Medians. Short inputs stay in the cache.`,
      series: chart('Nanoseconds for a token', { n: lengths }, { ns: perToken }),
    },
    memory: {
      measured: `${formatBytes(memory[0]!)} at n = ${lengths[0]}, ${formatBytes(memory.at(-1)!)} at ${longest}`,
      values: { growth: Math.max(...memory) / Math.min(...memory) },
      details: `${setting} One state for each head, and working memory of each thread that is there anyway.`,
      series: chart('Bytes beyond inputs and outputs', { n: lengths }, { bytes: memory }),
    },
  };
}

async function crossover(context: MeasureContext) {
  const { signal, quick } = context;
  const h = 8;
  const lengths = quick ? [64, 128] : [64, 96, 128, 192, 256, 384, 512, 1024, 2048];
  const [linear, exact] = ['lightning attention', 'exact attention'] as const;
  const contest = await timeBesideExact(
    { lengths, h, d: WIDTH, causal: true },
    (qkv) => ({ [linear]: () => run(qkv, h, signal) }),
    10,
    context.part(0.8, 1, 'crossover'),
  );
  const isSlower = contest.medians[linear].map((time, at) => time > contest.medians[exact][at]!);
  const from = lengths[isSlower.lastIndexOf(true) + 1];
  const last = lengths.at(-1)!;
  const early = contest.speedup(linear, exact, lengths.indexOf(128));
  const late = contest.speedup(linear, exact, -1);
  return {
    measured: `${from === undefined ? `not up to ${last}` : `from n = ${from}`}; ${significant(early.value)} times as fast at 128, ${significant(late.value)} times at ${last}`,
    values: { early, late },
    details: `Against exact causal attention of this library, h = ${h}, d = e = ${WIDTH}: chunks of 48 rows make B + d = ${48 + WIDTH}. Medians.`,
    series: chart(
      'Milliseconds',
      { n: lengths },
      { [linear]: contest.medians[linear], 'exact causal attention': contest.medians[exact] },
    ),
  };
}
