/** Sparsity and error of held keys on walks of known correlation: the claims that need no trained model. */
import { deltallm } from '../../methods/sparse/deltallm';
import { attention } from '../../ops/attention';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import { significant } from '../../text/format';
import { eachLayer, lossOf, networkWith, openDefaultModel, textOf } from '../default-model';
import { chart, defineExperiment, figure, listed, type MeasureContext, share } from '../experiment';
import { disposeAll, held, numbersOf, type Qkv } from '../held';
import { timeContest } from '../rounds';
import { relativeDistance } from '../vectors';

const D = 64;
const WINDOW = 0.05;

export const experiment = defineExperiment({
  title: 'what share of products keys that are held would skip, and at what error',
  claims: {
    sparsity: {
      claim: '57% to 60% of the products are skipped where keys are correlated, few where they are not.',
      source: 'abstract, of trained models; thresholds and walks are reconstructed',
      criteria: {
        correlated: share('reported share for a correlation of 0.9 at a threshold of 0.4', [0.5, 0.65], [0.4, 0.75]),
        white: figure('share for independent keys, over that expected', [0.9, 1.1], [0.7, 1.4], [0, 4]),
      },
      untested: 'The paper measures BitNet and Llama models.',
    },
    hybrid: {
      claim: 'An exact window nearby lowers the error.',
      source: 'reconstructed: the window of the code on walks',
      criteria: { ratio: figure('largest error with the window, over that without', [0, 0.95], [0, 1], [0, 2]) },
    },
    bounded: {
      claim: 'No element of a key is off by more than the threshold, however long the text.',
      source: 'the code: differences are from what was told last',
      criteria: { drift: figure('error of the last tokens over that of the first ones', [0.3, 2], [0.1, 4], [0, 100]) },
    },
    model: {
      claim: 'Accuracy stays where up to 60% of the products of queries and keys are skipped.',
      source: 'abstract',
      criteria: {
        share: share(
          'products skipped where the loss of the default model rises by 0.02 nats a token at most',
          [0.57, 1],
          [0.3, 1],
        ),
        knee: figure('rise of the loss at the largest threshold, nats a token', [0.02, 2], [0, 2], [-1, 10]),
      },
      untested: 'BitNet b1.58 and Llama 3.2, which have a thousand times the parameters.',
    },
    time: {
      claim: 'Edge devices save the time of the products that are skipped.',
      source: 'title; the paper gives no times',
      criteria: { ratio: figure('time over that of exact attention', [0, 0.95], [0, 1.3], [0, 20]) },
      timed: true,
    },
  },
  measure: { sparsity, hybrid, bounded, model, time },
});

/** Keys of which each is `correlation` times the one before and noise, of variance 1. */
function walk(runtime: Runtime, n: number, correlation: number): Qkv {
  const [q, k, v] = [normal(n * D, 1), normal(n * D, 2), normal(n * D, 3)];
  const noise = Math.sqrt(1 - correlation ** 2);
  for (let at = D; at < k.length; at++) k[at] = correlation * k[at - D]! + noise * k[at]!;
  const tensor = (x: Float32Array) => runtime.tensor(x, [1, n, 1, D]);
  return { q: tensor(q), k: tensor(k), v: tensor(v) };
}

const outOf = (runtime: Runtime, qkv: Qkv, params: object) =>
  numbersOf(runtime, () => deltallm.forward(qkv, deltallm.parse(params as never)).out);

const exactOf = (runtime: Runtime, { q, k, v }: Qkv) =>
  numbersOf(runtime, () => attention(q, k, v, { causal: true }).out);

async function sparsityOf(runtime: Runtime, n: number, correlation: number, threshold: number): Promise<number> {
  const qkv = walk(runtime, n, correlation);
  using _ = held(qkv);
  const [raw] = await numbersOf(runtime, () => deltallm.forward(qkv, deltallm.parse({ threshold })).sparsity);
  return raw as number;
}

async function sparsity({ runtime, quick, step }: MeasureContext) {
  await step(0, 'sparsity');
  const n = quick ? 256 : 512;
  const thresholds = [0.1, 0.2, 0.4, 0.6, 1];
  const lines: Record<string, number[]> = {};
  for (const correlation of [0, 0.9, 0.99]) {
    const line: number[] = [];
    for (const threshold of thresholds)
      line.push((await sparsityOf(runtime, n, correlation, threshold)) * (1 - Math.round(WINDOW * n) / n));
    lines[`correlation ${correlation}`] = line;
  }
  const correlated = lines['correlation 0.9']![2]!;
  const white = lines['correlation 0']![2]!;
  // P(|N(0, 2)| <= 0.4), of what the window leaves.
  const expected = 0.2227 * (1 - Math.round(WINDOW * n) / n);
  return {
    measured: `${listed([correlated])} for a correlation of 0.9, ${listed([white])} for independent keys, at a threshold of 0.4`,
    values: { correlated, white: white / expected },
    details: `${n} keys of ${D} normal numbers, less the share of a window of ${WINDOW} of the tokens; a true mean.`,
    series: chart('share of differences that are 0', { threshold: thresholds }, lines),
  };
}

async function hybrid({ runtime, quick, step }: MeasureContext) {
  await step(0.3, 'windows');
  const n = quick ? 256 : 512;
  const thresholds = [0.2, 0.4, 0.6];
  const ratios: number[] = [];
  const lines: Record<string, number[]> = {};
  for (const correlation of [0.9, 0.99]) {
    const qkv = walk(runtime, n, correlation);
    using _ = held(qkv);
    const exact = await exactOf(runtime, qkv);
    for (const [name, windowShare] of [
      ['alone', 0],
      ['with a window', WINDOW],
    ] as const) {
      const line: number[] = [];
      for (const threshold of thresholds)
        line.push(relativeDistance(await outOf(runtime, qkv, { threshold, windowShare }), exact));
      lines[`correlation ${correlation}, ${name}`] = line;
    }
    const [alone, window] = [
      lines[`correlation ${correlation}, alone`]!,
      lines[`correlation ${correlation}, with a window`]!,
    ];
    ratios.push(...window.map((error, at) => error / alone[at]!));
  }
  return {
    measured: `errors ${listed([Math.min(...ratios), Math.max(...ratios)])} times as large with the window, least and most`,
    values: { ratio: Math.max(...ratios) },
    details: `${n} tokens of ${D} dimensions, thresholds ${listed(thresholds)}, a window of ${WINDOW} of the tokens.`,
    series: chart('relative error of the output', { threshold: thresholds }, lines),
  };
}

async function bounded({ runtime, quick, step }: MeasureContext) {
  await step(0.5, 'drift');
  const n = quick ? 512 : 2048;
  const qkv = walk(runtime, n, 0.9);
  using _ = held(qkv);
  const [exact, out] = [await exactOf(runtime, qkv), await outOf(runtime, qkv, { threshold: 0.4, windowShare: 0 })];
  const eighth = (n * D) / 8;
  const errorOf = (part: number) => {
    const own = (x: Float64Array) => x.subarray(part * eighth, (part + 1) * eighth);
    return relativeDistance(own(out), own(exact));
  };
  const errors = Array.from({ length: 8 }, (_, part) => errorOf(part));
  return {
    measured: `errors ${listed([errors[1]!, errors[7]!])} of the second and the last eighth of ${n} tokens`,
    values: { drift: errors[7]! / errors[1]! },
    details: 'A correlation of 0.9, a threshold of 0.4, no window.',
    series: chart('relative error of the output', { eighth: [1, 2, 3, 4, 5, 6, 7, 8] }, { error: errors }),
  };
}

/** Losses of the default model by threshold, beside the share of differences that are 0 in its layers. */
async function model({ runtime, quick, signal, step }: MeasureContext) {
  await step(0.55, 'the default model');
  const opened = await openDefaultModel(runtime);
  using _ = opened.model;
  const n = quick ? 256 : 1024;
  const tokens = await textOf(opened, n);
  const thresholds = [0.2, 0.4, 0.6, 0.9, 1.2, 1.8, 2.4];
  const exact = await lossOf(networkWith(opened), tokens, { signal });
  const rises: number[] = [];
  const shares = thresholds.map(() => 0);
  for (const threshold of thresholds) {
    const network = networkWith(opened, { method: deltallm, params: { threshold } });
    rises.push((await lossOf(network, tokens, { signal })) - exact);
  }
  await eachLayer(opened, tokens, async ({ q, k, v }) => {
    for (const [at, threshold] of thresholds.entries()) {
      const params = deltallm.parse({ threshold });
      const zeros = await numbersOf(runtime, () => deltallm.forward({ q, k, v }, params).sparsity);
      const mean = zeros.reduce((sum, zero) => sum + zero, 0) / zeros.length;
      shares[at]! += (mean * (1 - WINDOW)) / opened.model.decoder.layers;
    }
  });
  const past = rises.findIndex((rise) => rise > 0.02);
  const skipped = past < 0 ? shares.at(-1)! : past === 0 ? 0 : shares[past - 1]!;
  return {
    measured: `losses rise by ${listed(rises)} nats a token where ${listed(shares)} of the products are skipped`,
    values: { share: skipped, knee: rises.at(-1)! },
    details: `${n} tokens that the model wrote itself, of which it has ${significant(exact)} nats a token with exact attention; thresholds ${listed(thresholds)}, a window of ${WINDOW}; a true mean over heads and layers.`,
    series: [
      chart('rise of the loss, nats a token', { threshold: thresholds }, { loss: rises }),
      chart('share of the products that is skipped', { threshold: thresholds }, { share: shares }),
    ],
  };
}

async function time(context: MeasureContext) {
  const { runtime, quick } = context;
  const lengths = quick ? [1024] : [4096, 16384];
  const inputs = lengths.map((n) => walk(runtime, n, 0.9));
  using _ = held(inputs);
  const params = deltallm.parse({ threshold: 0.4 });
  const contest = await timeContest(
    lengths,
    (at) => {
      const { q, k, v } = inputs[at] as Qkv;
      return {
        exact: () => disposeAll(attention(q, k, v, { causal: true })),
        held: () => disposeAll(deltallm.forward({ q, k, v }, params)),
      };
    },
    15,
    context.part(0.6, 1, 'times'),
  );
  const ratios = lengths.map((_, at) => contest.medians.held[at]! / contest.medians.exact[at]!);
  return {
    measured: `${listed(ratios)} of the time of exact attention at ${listed(lengths, String)} tokens`,
    values: { ratio: contest.over((times) => times.held.at(-1)! / times.exact.at(-1)!) },
    details: 'Zeros lie irregularly, and vectors multiply them as they do other numbers.',
  };
}
