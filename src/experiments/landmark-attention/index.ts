/** Landmarks that know their blocks, and those that do not: what of the attention the opened blocks hold, and what is read. */
import { landmarkAttention as method } from '../../methods/sparse/landmark-attention';
import { attention } from '../../ops/attention';
import { normal } from '../../tensor/random';
import { formatPercent, significant } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext, share, together } from '../experiment';
import { held, numbersOf, randomNormal } from '../held';
import { dot, largestDifference, mean, rowOf } from '../vectors';
import { finders, LENGTHS, BLOCK as PASSKEY_BLOCK } from './passkey';

const BLOCKS = 40;
const BLOCK = 50;
const D = 32;
const OPENED = [1, 2, 4, 8];
/** The scale of scores beyond 1 / sqrt(d), so that attention is as narrow as a trained one's. */
const SHARPNESS = 2.5;
const CONTEXT = 32_768;
/** How much of a key is the topic of its block, and its own. */
const [TOPIC, OWN] = [0.4, Math.sqrt(1 - 0.4 ** 2)];

export const experiment = defineExperiment({
  title:
    'blocks opened by landmarks that know their scores and by mean keys, operations of a step, passkeys in long texts',
  claims: {
    exact: {
      claim: 'Grouped softmax is exact attention where landmarks weigh what their blocks weigh.',
      source: 'the definition of grouped softmax',
      criteria: { error: figure('largest error, of the largest result', [0, 1e-5], [0, 10]) },
      byConstruction: true,
    },
    chosen: {
      claim: 'A few blocks hold most of the attention, if landmarks tell how much theirs hold.',
      source: 'reconstructed: the paper reads 2 to 4 blocks of up to 80',
      criteria: { mass: share('attention held by 4 of 40 blocks', [0.8, 1], [0.5, 1]) },
    },
    trained: {
      claim: 'Landmarks must be trained: mean keys choose worse blocks, and weigh them wrongly.',
      source: 'reconstructed',
      criteria: {
        lost: figure('attention held by 4 blocks, less that of blocks chosen by mean keys', [0.05, 1], [0, 1], [-1, 1]),
        error: figure(
          'error of results by mean keys over that by exact landmarks, 4 blocks',
          [2, 100],
          [1, 100],
          [0, 1000],
        ),
      },
    },
    reads: {
      claim: 'A step attends to a context with about 50 times fewer operations.',
      source: 'paper, section on inference: 4 blocks of 50',
      criteria: {
        ratio: figure(`operations of exact attention over those of a step, ${CONTEXT} tokens`, [30, 100], [1, 1000]),
      },
      byConstruction: true,
    },
    found: {
      claim: `Trained on short texts, it finds a passkey in texts ${LENGTHS.at(-1)! / LENGTHS[0]} times as long, which exact attention does not.`,
      source: 'section on fine-tuning, LLaMA-7B from 512 tokens to 32K; the task and the models here are reconstructed',
      criteria: {
        short: share(`right answers at ${LENGTHS[0]} tokens, 2 blocks opened`, [0.95, 1], [0.8, 1]),
        long: share(`right answers at ${LENGTHS.at(-1)} tokens, 2 blocks opened`, [0.85, 1], [0.5, 1]),
        exact: figure(
          `right answers of exact attention at ${LENGTHS.at(-1)} tokens, over those by landmarks`,
          [0, 0.3],
          [0, 0.7],
          [0, 100],
        ),
      },
    },
    perplexity: {
      claim:
        'At 4096 tokens, reading 470 of them a token, perplexity on PG19 is 14.72, where Transformer-XL has 14.55.',
      source: 'table 1',
      criteria: {},
      untested: 'It takes a model of 200 million parameters and 240,000 steps.',
    },
    passkey: {
      claim: 'LLaMA-7B, tuned at 512 tokens, finds a passkey at 32K tokens in 98% of the prompts.',
      source: 'section on fine-tuning',
      criteria: {},
      untested: 'It takes a model of seven billion parameters.',
    },
  },
  measure: {
    exact,
    ...together(['chosen', 'trained'], gates),
    reads,
    found,
    perplexity: () => ({ measured: 'not tried', values: {} }),
    passkey: () => ({ measured: 'not tried', values: {} }),
  },
});

/** Constant queries, so that the score of a landmark can be what its block's scores sum to. */
async function exact({ runtime }: MeasureContext) {
  const [n, block] = [104, 7];
  const keys = normal(n, 1);
  const regular: number[] = [];
  for (let j = 0; j < n; j++)
    if (j % (block + 1) === block)
      keys[j] = Math.log(keys.subarray(j - block, j).reduce((total, key) => total + Math.exp(key), 0));
    else regular.push(j);
  const q = runtime.tensor(new Float32Array(n).fill(1), [1, n, 1, 1]);
  const [k, v] = [runtime.tensor(keys, [1, n, 1, 1]), randomNormal(runtime, [1, n, 1, 4], 2)];
  const pick = (values: Float32Array, width: number) =>
    regular.flatMap((j) => [...values.subarray(j * width, (j + 1) * width)]);
  using others = held({ q, k, v });
  void others;
  const out = await numbersOf(runtime, () => method.forward({ q, k, v }, method.parse({ block, scale: 1 })).out);
  const found = regular.flatMap((j) => [...out.subarray(4 * j, 4 * j + 4)]);
  const values = normal(4 * n, 2);
  const m = regular.length;
  const wanted = await numbersOf(runtime, () => {
    const own = [
      runtime.tensor(new Float32Array(m).fill(1), [1, m, 1, 1]),
      runtime.tensor(pick(keys, 1), [1, m, 1, 1]),
    ] as const;
    return attention(own[0], own[1], runtime.tensor(pick(values, 4), [1, m, 1, 4]), { causal: true, scale: 1 }).out;
  });
  const error = largestDifference(Float64Array.from(found), wanted);
  return {
    measured: `error ${significant(error)} of the largest result, ${n} tokens, landmarks among them`,
    values: { error },
  };
}

interface Gate {
  /** Attention held by the opened blocks, and the error of the result over its norm; means over queries, by how many are opened. */
  readonly mass: number[];
  readonly error: number[];
}

async function gates({ quick, step }: MeasureContext) {
  const [topics, noise] = [normal(BLOCKS * D, 1), normal(BLOCKS * BLOCK * D, 2)];
  const keys = noise.map((x, at) => OWN * x + TOPIC * topics[Math.floor(at / (BLOCK * D)) * D + (at % D)]!);
  const values = normal(BLOCKS * BLOCK * D, 3);
  const count = quick ? 40 : 400;
  const asked = normal(count * D, 4);
  const found: Record<'exact' | 'mean', { mass: number[][]; error: number[][] }> = {
    exact: { mass: [], error: [] },
    mean: { mass: [], error: [] },
  };
  for (let at = 0; at < count; at++) {
    if (at % 40 === 0) await step(at / count, 'queries');
    const target = rowOf(keys, Math.floor(((at + 0.5) * BLOCKS * BLOCK) / count), D);
    const query = target.map((x, c) => 1.2 * x + 0.8 * asked[at * D + c]!);
    const scores = Array.from(
      { length: BLOCKS * BLOCK },
      (_, j) => (SHARPNESS * dot(query, rowOf(keys, j, D))) / Math.sqrt(D),
    );
    const logs = Array.from({ length: BLOCKS }, (_, b) => logSum(scores.slice(b * BLOCK, (b + 1) * BLOCK)));
    const means = Array.from({ length: BLOCKS }, (_, b) => mean(scores.slice(b * BLOCK, (b + 1) * BLOCK)));
    for (const [name, gate] of [
      ['exact', logs],
      ['mean', means],
    ] as const) {
      const each = OPENED.map((opened) => opening(gate, opened, scores, logs, values));
      found[name].mass.push(each.map(({ mass }) => mass));
      found[name].error.push(each.map(({ error }) => error));
    }
  }
  const over = (rows: number[][]) => OPENED.map((_, at) => mean(rows.map((row) => row[at]!)));
  const of = (name: 'exact' | 'mean'): Gate => ({ mass: over(found[name].mass), error: over(found[name].error) });
  const [best, plain] = [of('exact'), of('mean')];
  const at = OPENED.indexOf(4);
  const details = `${BLOCKS} blocks of ${BLOCK} tokens, d = ${D}: keys are ${TOPIC} of a topic of their block and the rest noise; ${count} queries are 1.2 of a key and 0.8 of noise. No model was trained.`;
  return {
    chosen: {
      measured: `${OPENED.join(', ')} blocks hold ${listed(best.mass, formatPercent)}`,
      values: { mass: best.mass[at]! },
      details,
      series: chart(
        'Attention held by opened blocks',
        { blocks: OPENED },
        { 'exact landmarks': best.mass, 'mean keys': plain.mass },
      ),
    },
    trained: {
      measured: `by mean keys ${listed(plain.mass, formatPercent)}; errors ${listed(plain.error)}, by exact landmarks ${listed(best.error)}`,
      values: { lost: best.mass[at]! - plain.mass[at]!, error: plain.error[at]! / best.error[at]! },
      details,
      series: chart(
        'Error of the result',
        { blocks: OPENED },
        { 'exact landmarks': best.error, 'mean keys': plain.error },
      ),
    },
  };
}

/** The attention held by the opened blocks, and the error of the result with their gates as weights of blocks. */
function opening(
  gate: readonly number[],
  opened: number,
  scores: readonly number[],
  logs: readonly number[],
  values: Float32Array,
) {
  const order = [...gate.keys()].sort((one, other) => gate[other]! - gate[one]!).slice(0, opened);
  const [all, chosen] = [logSum(logs), logSum(order.map((b) => gate[b]!))];
  const [wanted, given] = [new Float64Array(D), new Float64Array(D)];
  for (let j = 0; j < scores.length; j++) {
    const b = Math.floor(j / BLOCK);
    const weight = Math.exp(scores[j]! - all);
    const found = order.includes(b) ? Math.exp(scores[j]! - logs[b]! + gate[b]! - chosen) : 0;
    for (let c = 0; c < D; c++) {
      wanted[c]! += weight * values[j * D + c]!;
      given[c]! += found * values[j * D + c]!;
    }
  }
  const apart = given.map((x, c) => x - wanted[c]!);
  return {
    mass: order.reduce((total, b) => total + Math.exp(logs[b]! - all), 0),
    error: Math.sqrt(dot(apart, apart) / dot(wanted, wanted)),
  };
}

function logSum(values: readonly number[]): number {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((total, value) => total + Math.exp(value - most), 0));
}

/** Passkeys that models find which saw short texts only. */
async function found(context: MeasureContext) {
  const { ours, exact, steps, tried } = await finders(context);
  const [short, long] = [ours['2 blocks'][0] as number, ours['2 blocks'].at(-1) as number];
  return {
    measured: `${listed(ours['2 blocks'], formatPercent)} right at ${LENGTHS.join(', ')} tokens by 2 blocks, ${listed(exact, formatPercent)} by exact attention`,
    values: { short, long, exact: (exact.at(-1) as number) / Math.max(long, 1e-3) },
    details: `Two Llamas of 2 layers, 48 wide, with 4 heads, and ${steps} steps of 16 texts of ${LENGTHS[0]} random tokens, in which a mark and one of 16 values stand somewhere; at the end the mark asks for the value. Blocks of ${PASSKEY_BLOCK}; prompts in chunks of 32 tokens; ${tried} texts of each length.`,
    series: chart('Right answers by length', { tokens: LENGTHS }, { ...ours, 'exact attention': exact }),
  };
}

/** A step's products with landmarks, opened blocks and half a block nearby, beside those with all keys and values. */
function reads() {
  const [block, opened, d] = [BLOCK, 4, 64];
  const exact = 4 * d * CONTEXT;
  const ours = 2 * d * (CONTEXT / (block + 1)) + 4 * d * (opened * block + block / 2);
  return {
    measured: `${significant(exact / ours)} times fewer with ${opened} blocks of ${block}; up to ${2 * (block + 1)} times as the context grows`,
    values: { ratio: exact / ours },
  };
}
