/** Blocks chosen by scores of four bits, beside exact scores, maps of means and chance: the claims that need no trained model. */
import { sale } from '../../methods/sparse/sale';
import { keptBlocks } from '../../methods/sparse/sale/attend';
import { attention } from '../../ops/attention';
import type { Runtime } from '../../runtime/runtime';
import { normal, uniformGenerator } from '../../tensor/random';
import { significant } from '../../text/format';
import { eachLayer, lossOf, networkWith, openDefaultModel, textOf } from '../default-model';
import { chart, defineExperiment, figure, listed, type MeasureContext, together } from '../experiment';
import { disposeAll, held, numbersOf, type Qkv } from '../held';
import { timeContest } from '../rounds';
import { largestStep, relativeDistance } from '../vectors';

const D = 64;
const [QUERIES, KEYS] = [64, 32];
/** The sheet's threshold for the needle head. */
const THRESHOLD = 0.02;

export const experiment = defineExperiment({
  title: 'whether four bits choose the blocks that exact scores choose, and what that gains',
  claims: {
    choice: {
      claim:
        'Four bits choose nearly the blocks that exact scores would: the error is the same within a few percent, where a map of block means errs much more, about as random blocks do.',
      source: 'a test on one synthetic head; reconstructed',
      criteria: {
        exact: figure('error by four bits over that by exact scores, less 1', [-0.03, 0.03], [-0.1, 0.1], [-1, 1]),
        pooled: figure('error by four bits over that by a map of means', [0, 0.65], [0, 0.9], [0, 2]),
        random: figure('error by a map of means over that by random blocks', [0.8, 1.2], [0.5, 1.5], [0, 3]),
      },
    },
    threshold: {
      claim: 'A larger threshold leaves out more blocks, and the error grows with it.',
      source: "the authors' code",
      criteria: {
        dropped: figure('largest fall of the share left out, from one threshold to the next', [-1, 0], [-1, 1]),
        error: figure('largest fall of the error, from one threshold to the next', [-1, 0], [-1, 1]),
      },
    },
    model: {
      claim: 'Accuracy is that of full attention.',
      source: 'abstract',
      criteria: {
        rise: figure('rise of the loss of the default model, nats a token', [-1, 0.01], [-1, 0.05], [-10, 10]),
        dropped: figure('share of the estimated blocks that are left out', [0.1, 1], [0, 1]),
      },
      untested: 'Models of billions of parameters, and prompts of 64K tokens.',
    },
    speed: {
      claim:
        'Attention over 64K tokens and more of an 8B model is at least 3.36 times as fast as when computed in full.',
      source: 'abstract',
      criteria: { speedup: figure('speed-up at the longest prompt', [3.36, 20], [1.3, 20], [0.05, 50]) },
      untested:
        'The figure is of an 8B model on an RTX 4090, whose 4-bit products are four times as fast as its others.',
      timed: true,
    },
    overhead: {
      claim: 'Choosing blocks adds about 11% of the time of full attention.',
      source: 'abstract',
      criteria: { share: figure('time of choosing, over that of exact attention', [0, 0.13], [0, 0.3], [0, 5]) },
      timed: true,
    },
  },
  measure: { choice, threshold, model, ...together(['speed', 'overhead'], times) },
});

/** Queries that all see the first keys, of which a few look for one key far back: the sheet's needle head. */
function needleHead(runtime: Runtime, n: number): Qkv {
  const [q, k, v] = [normal(n * D, 1).map((x) => x / 2), normal(n * D, 2), normal(n * D, 3)];
  const next = uniformGenerator(4);
  for (let i = 0; i < n; i++) {
    q[i * D]! += 6;
    if (i < 4) k[i * D]! += 10;
    if (i <= 300 || next() >= 0.02) continue;
    const j = 40 + Math.floor(next() * (i - 290));
    for (let c = 0; c < D; c++) q[i * D + c]! += 2.2 * k[j * D + c]!;
  }
  const tensor = (x: Float32Array) => runtime.tensor(x, [1, n, 1, D]);
  return { q: tensor(q), k: tensor(k), v: tensor(v) };
}

const paramsOf = (threshold: number, quantize: 'thread' | 'none' = 'thread') =>
  sale.parse({ threshold, quantize, denseBelow: 0 });

const flagsOf = async (runtime: Runtime, { q, k }: Qkv, params: ReturnType<typeof paramsOf>) =>
  Int32Array.from(await numbersOf(runtime, () => keptBlocks(q, k, params)));

/** The relative error of attention to the kept blocks. */
async function errorsOf(runtime: Runtime, { q, k, v }: Qkv, kept: readonly Int32Array[]): Promise<number[]> {
  const n = q.shape[1] as number;
  const exact = await numbersOf(runtime, () => attention(q, k, v, { causal: true }).out);
  const errors: number[] = [];
  for (const flags of kept) {
    const out = await numbersOf(runtime, () => {
      const tensor = runtime.tensor<'i32'>(flags, [1, 1, Math.ceil(n / QUERIES), Math.ceil(n / KEYS)]);
      const selection = { flags: tensor, queryBlock: QUERIES, keyBlock: KEYS };
      return attention(q, k, v, { causal: true, selection }).out;
    });
    errors.push(relativeDistance(out, exact));
  }
  return errors;
}

/** As many blocks for each block of queries as `kept` adds to those that are seen anyway, the best by a score. */
function sameBudget(
  kept: Int32Array,
  reserved: Int32Array,
  columns: number,
  scoreOf: (a: number, b: number) => number,
): Int32Array {
  const flags = reserved.slice();
  for (let a = 0; a < kept.length / columns; a++) {
    const seen = 2 * (a + 1);
    const free = Array.from({ length: Math.min(seen, columns) }, (_, b) => b).filter(
      (b) => reserved[a * columns + b] === 0,
    );
    const budget = free.filter((b) => kept[a * columns + b] === 1).length;
    const scores = new Map(free.map((b) => [b, scoreOf(a, b)]));
    free.sort((x, y) => scores.get(y)! - scores.get(x)!);
    for (const b of free.slice(0, budget)) flags[a * columns + b] = 1;
  }
  return flags;
}

function meansOf(x: Float64Array, size: number): Float64Array[] {
  return Array.from({ length: Math.ceil(x.length / D / size) }, (_, block) => {
    const mean = new Float64Array(D);
    const past = Math.min(x.length / D, (block + 1) * size);
    for (let i = block * size; i < past; i++)
      for (let c = 0; c < D; c++) mean[c]! += x[i * D + c]! / (past - block * size);
    return mean;
  });
}

async function choice({ runtime, quick, step }: MeasureContext) {
  await step(0, 'choices');
  const n = quick ? 1024 : 2048;
  const qkv = needleHead(runtime, n);
  using _ = held(qkv);
  const [four, exact] = [
    await flagsOf(runtime, qkv, paramsOf(THRESHOLD)),
    await flagsOf(runtime, qkv, paramsOf(THRESHOLD, 'none')),
  ];
  const reserved = await flagsOf(runtime, qkv, paramsOf(1e30));
  const columns = n / KEYS;
  const [queries, keys] = [
    meansOf(await numbersOf(runtime, () => qkv.q), QUERIES),
    meansOf(await numbersOf(runtime, () => qkv.k), KEYS),
  ];
  const pooled = sameBudget(four, reserved, columns, (a, b) =>
    queries[a]!.reduce((total, x, c) => total + x * keys[b]![c]!, 0),
  );
  const next = uniformGenerator(5);
  const random = sameBudget(four, reserved, columns, () => next());
  const errors = (await errorsOf(runtime, qkv, [four, exact, pooled, random])) as [number, number, number, number];
  const [byFour, byExact, byPooled, byRandom] = errors;
  const agreeing = four.reduce((same, flag, at) => same + Number(flag === exact[at]), 0) / four.length;
  return {
    measured: `errors ${listed(errors)} by four bits, exact scores, a map of means and random blocks; four bits and exact scores agree on ${(100 * agreeing).toFixed(1)}% of the blocks`,
    values: { exact: byFour / byExact - 1, pooled: byFour / byPooled, random: byPooled / byRandom },
    details: `A head of ${n} tokens and ${D} dimensions whose first keys are seen by all queries, of which 2% look for a key far back; threshold ${THRESHOLD}, as many blocks for each way.`,
  };
}

async function threshold({ runtime, quick, step }: MeasureContext) {
  await step(0.3, 'thresholds');
  const n = quick ? 1024 : 2048;
  const thresholds = [0.005, 0.02, 0.1, 0.5];
  const qkv = needleHead(runtime, n);
  using _ = held(qkv);
  const kept: Int32Array[] = [];
  for (const each of thresholds) kept.push(await flagsOf(runtime, qkv, paramsOf(each)));
  const errors = await errorsOf(runtime, qkv, kept);
  const all = (await flagsOf(runtime, qkv, paramsOf(0))).reduce((sum, flag) => sum + flag, 0);
  const dropped = kept.map((flags) => 1 - flags.reduce((sum, flag) => sum + flag, 0) / all);
  const falls = (values: readonly number[]) => largestStep(values.map((value) => -value));
  return {
    measured: `left out ${listed(dropped)}, errors ${listed(errors)} at thresholds ${listed(thresholds)}`,
    values: { dropped: falls(dropped), error: falls(errors) },
    details: `The same head, ${n} tokens.`,
    series: chart('by threshold', { threshold: thresholds }, { 'left out': dropped, error: errors }),
  };
}

/** Losses of the default model, by thresholds that are the same for all heads. */
async function model({ runtime, quick, signal, step }: MeasureContext) {
  await step(0.4, 'the default model');
  const opened = await openDefaultModel(runtime);
  using _ = opened.model;
  const n = quick ? 512 : 2048;
  const tokens = await textOf(opened, n);
  const thresholds = [0.002, 0.008, 0.032, 0.128];
  const exact = await lossOf(networkWith(opened), tokens, { signal });
  const rises: number[] = [];
  for (const each of thresholds) {
    const network = networkWith(opened, { method: sale, params: { threshold: each, denseBelow: 0 } });
    rises.push((await lossOf(network, tokens, { signal })) - exact);
  }
  const [all, kept] = [[0], thresholds.map(() => 0)];
  const count = (flags: Int32Array) => flags.reduce((sum, flag) => sum + flag, 0);
  await eachLayer(opened, tokens, async ({ q, k, v }) => {
    const qkv = { q, k, v } as Qkv;
    const least = count(await flagsOf(runtime, qkv, paramsOf(1e30)));
    all[0]! += count(await flagsOf(runtime, qkv, paramsOf(0))) - least;
    for (const [at, each] of thresholds.entries())
      kept[at]! += count(await flagsOf(runtime, qkv, paramsOf(each))) - least;
  });
  const dropped = kept.map((blocks) => 1 - blocks / all[0]!);
  const at = thresholds.indexOf(0.008);
  return {
    measured: `losses rise by ${listed(rises)} nats a token where ${listed(dropped)} of the estimated blocks are left out`,
    values: { rise: rises[at]!, dropped: dropped[at]! },
    details: `${n} tokens that the model wrote itself, of which it has ${significant(exact)} nats a token with exact attention; thresholds ${listed(thresholds)}, the second judged, with which the authors' calibration begins.`,
    series: chart('by threshold', { threshold: thresholds }, { 'rise of the loss': rises, 'left out': dropped }),
  };
}

async function times(context: MeasureContext) {
  const { runtime, quick } = context;
  const lengths = quick ? [2048] : [16_384, 32_768, 65_536];
  const inputs = lengths.map((n) => needleHead(runtime, n));
  using _ = held(inputs);
  const params = paramsOf(THRESHOLD);
  const contest = await timeContest(
    lengths,
    (at) => {
      const { q, k, v } = inputs[at] as Qkv;
      return {
        exact: () => disposeAll(attention(q, k, v, { causal: true })),
        choosing: () => disposeAll(keptBlocks(q, k, params)),
        sale: () => disposeAll(sale.forward({ q, k, v }, params)),
      };
    },
    20,
    context.part(0.5, 1, 'times'),
  );
  const speedups = contest.speedups('sale', 'exact');
  const shares = lengths.map((_, at) => contest.medians.choosing[at]! / contest.medians.exact[at]!);
  const details = `The same head at ${listed(lengths, String)} tokens, all threads, threshold ${THRESHOLD}.`;
  return {
    speed: {
      measured: `${listed(speedups)} times at ${listed(lengths, String)} tokens`,
      values: { speedup: contest.speedup('sale', 'exact', -1) },
      details,
    },
    overhead: {
      measured: `${listed(shares)} of the time of exact attention at ${listed(lengths, String)} tokens`,
      values: {
        share: contest.over(({ choosing, exact }) => choosing.at(-1)! / exact.at(-1)!),
      },
      details,
    },
  };
}
