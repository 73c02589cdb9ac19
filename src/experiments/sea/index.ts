/** Attention to chosen cells beside exact attention, what they hold and recall by their budget, and time and memory by length. */
import { exponent } from '../../measure/statistics';
import { sea as method } from '../../methods/sparse/sea';
import { layer } from '../../methods/sparse/sea/layer';
import { attention } from '../../ops/attention';
import { cellOf, chosenCells, keptCells } from '../../ops/cell-attention/cells';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { formatPercent, formatTime, significant } from '../../text/format';
import { chart, defineExperiment, figure, linearIn, listed, type MeasureContext, share, together } from '../experiment';
import { bytesOf, held, numbersOf, randomNormal, randomQkv } from '../held';
import { medians, overRounds, timeRounds } from '../rounds';
import { dot, largestDifference, largestStep, rowOf } from '../vectors';
import { LENGTH, recalled, TRAINED, TRIED } from './distilled';

const CELLS = 32;
const BUDGETS = [4, 8, 16, 32, 64];
const [HEADS, D] = [2, 32];

export const experiment = defineExperiment({
  title: 'exact attention as a special case, attention and answers by budgets of keys, time and memory by length',
  claims: {
    full: {
      claim: 'With all keys and full gates it is exact attention, whatever is estimated.',
      source: "the authors' code",
      criteria: { error: figure('largest error, of the largest result', [0, 1e-5], [0, 10]) },
      byConstruction: true,
    },
    more: {
      claim: 'After training, a larger budget of keys lowers the perplexity further.',
      source: 'dynamic k, as quoted',
      criteria: {
        fall: figure(
          'fall of the loss with 4 times the keys of training, nats an answer',
          [0.02, 10],
          [0, 10],
          [-10, 10],
        ),
        closed: figure("share of the loss beyond the teacher's that falls away", [0.25, 1.5], [0, 1.5], [-10, 10]),
      },
    },
    held: {
      claim: 'Budgets of twice as many keys hold more of the attention.',
      source: 'reconstructed',
      criteria: {
        gain: figure('least attention gained from a budget to twice as much', [0, 1], [-1, 1]),
        held: share(`attention held with ${BUDGETS.at(-1)} keys of 256`, [0.6, 1], [0.3, 1]),
      },
    },
    linear: {
      claim: 'Time and memory are linear in the number of tokens, the estimator included.',
      source: 'abstract',
      criteria: { time: linearIn('the length'), memory: figure('exponent of memory', [0.8, 1.1], [0.5, 1.3], [0, 3]) },
      timed: true,
    },
    perplexity: {
      claim: 'OPT-125M with SEA has a perplexity of 26.0 on Wikitext2, its teacher 29.2 and Performer 49.8.',
      source: 'table 2',
      criteria: {},
      untested: 'It takes a pretrained OPT and 10,000 steps of distillation.',
    },
    larger: {
      claim: 'OPT-1.3B takes 499 MB where softmax attention takes 1120 MB, at a perplexity of 13.5 and 13.9.',
      source: 'table 2',
      criteria: {},
      untested: 'It takes a model of more than a billion parameters.',
    },
  },
  measure: {
    full,
    more,
    held: heldByKeys,
    ...together(['linear'], async (context: MeasureContext) => ({ linear: await linear(context) })),
    perplexity: () => ({ measured: 'not tried', values: {} }),
    larger: () => ({ measured: 'not tried', values: {} }),
  },
});

async function full({ runtime }: MeasureContext) {
  const n = 120;
  const { q, k, v } = randomQkv(runtime, [1, n, HEADS, D]);
  const estimate = randomNormal(runtime, [1, HEADS, n, CELLS], 4);
  const gate = runtime.tensor(new Float32Array(n * HEADS).fill(1), [1, n, HEADS]);
  const inputs = { q, k, v, estimate, prob: gate, mix: gate };
  using all = held(inputs);
  void all;
  const params = method.parse({ keys: n, causal: true });
  const found = await numbersOf(runtime, () => method.forward(inputs, params).out);
  const wanted = await numbersOf(runtime, () => attention(q, k, v, { causal: true }).out);
  const error = largestDifference(found, wanted);
  return { measured: `error ${significant(error)} of the largest result`, values: { error } };
}

/** What a distilled student answers with as many keys as in training, and with more. */
async function more(context: MeasureContext) {
  const { teacher, student, steps, distilling } = await recalled(context.part(0, 0.8));
  const [trained, , fourfold] = student as [number, number, number];
  return {
    measured: `${listed(student)} nats an answer with ${listed(TRIED, String)} keys, the teacher ${significant(teacher)}`,
    values: { fall: trained - fourfold, closed: (trained - fourfold) / (trained - teacher) },
    details: `Two Llamas of 2 layers, 48 wide, with 4 heads, on texts of ${LENGTH} random tokens, in which a mark and one of 16 values stand somewhere; the mark asks for the value when it comes again, at the end too. One learned with exact attention in ${steps} steps of 16 texts; the other, its copy with SEA, then learned from it in ${distilling} steps, with ${TRAINED} keys of 16 cells. Judged by texts that neither saw.`,
    series: chart(
      'Nats an answer by keys at test time',
      { keys: [...TRIED] },
      {
        SEA: student,
        teacher: student.map(() => teacher),
      },
    ),
  };
}

/** The attention that the kept keys hold, if estimates are the exact maps summed within cells. */
function heldByKeys() {
  const n = 256;
  const [q, k] = [normal(HEADS * n * D, 1), normal(HEADS * n * D, 2)];
  const rows = Array.from({ length: HEADS * n }, (_, row) => {
    const i = row % n;
    const scores = Array.from({ length: i + 1 }, (_, j) =>
      Math.exp((2 * dot(rowOf(q, row, D), rowOf(k, row - i + j, D))) / Math.sqrt(D)),
    );
    const total = scores.reduce((sum, each) => sum + each, 0);
    return scores.map((each) => each / total);
  });
  const estimate = new Float64Array(rows.length * CELLS);
  for (const [row, weights] of rows.entries())
    for (const [j, weight] of weights.entries()) estimate[row * CELLS + cellOf(j, weights.length, CELLS)]! += weight;
  const held = BUDGETS.map((keys) => {
    const pools = { causal: true, pools: n, poolStep: 1, rows: HEADS, rowStep: n, budget: HEADS * keys * CELLS };
    const { bounds, ties } = chosenCells(estimate, pools, { b: 1, h: HEADS, n, w: CELLS });
    const masses = rows.map((weights, row) => {
      const kept = keptCells(rowOf(estimate, row, CELLS), bounds[row]!, ties[row]!);
      return weights.reduce((sum, weight, j) => sum + (kept[cellOf(j, weights.length, CELLS)] ? weight : 0), 0);
    });
    return masses.reduce((sum, mass) => sum + mass, 0) / rows.length;
  });
  return {
    measured: `${BUDGETS.join(', ')} keys hold ${listed(held, formatPercent)}`,
    values: { gain: -largestStep(held.map((mass) => -mass)), held: held.at(-1)! },
    details: `Causal maps of ${n} tokens and ${HEADS} heads from random queries and keys, summed within ${CELLS} cells, chosen over heads (causal-batch).`,
    series: chart(`Attention held by keys of chosen cells, ${n} tokens`, { keys: BUDGETS }, { held }),
  };
}

async function linear(context: MeasureContext) {
  const { runtime, quick, step } = context;
  const sizes = quick ? [128, 256] : [512, 1024, 2048, 4096];
  const calls = sizes.map((n) => callOf(runtime, n));
  using all = held(calls.map(({ inputs, parameters }) => [inputs, parameters]));
  void all;
  await step(0.1, 'time');
  const rounds = await timeRounds(
    calls.map(
      ({ call }) =>
        () =>
          call().dispose(),
    ),
    quick ? 1 : 20,
    context,
  );
  const bytes: number[] = [];
  for (const { call } of calls) bytes.push(await bytesOf(runtime, call));
  const times = medians(rounds);
  return {
    measured: `${listed(times, formatTime)} for ${sizes.join(', ')} tokens, ${listed(bytes.map((each) => each / 1e6))} MB beyond the inputs`,
    values: { time: overRounds(rounds, (each) => exponent(sizes, each)), memory: exponent(sizes, bytes) },
    details: `Causal, ${HEADS} heads of ${D}, 256 cells, 64 keys, the estimator with random weights.`,
    series: chart('Milliseconds by length', { n: sizes }, { SEA: times }),
  };
}

/** Estimator and attention of n tokens. */
function callOf(runtime: Runtime, n: number) {
  const inputs = randomQkv(runtime, [1, n, HEADS, D]);
  const params = method.parse({ causal: true, positions: 4096 });
  const own = layer({ width: HEADS * D, heads: HEADS, keyHeads: HEADS, d: D, e: D, layer: 0, layers: 1 }, params);
  const parameters: Record<string, Tensor> = Object.fromEntries(
    Object.entries(own.parameters).map(([name, { shape, initial }], seed) => [
      name,
      randomNormal(runtime, shape, seed, 'std' in initial ? initial.std : 0.1),
    ]),
  );
  const call = () =>
    runtime.scope(
      () => method.forward({ ...inputs, ...own.inputs(inputs.q, inputs, parameters) } as never, params).out as Tensor,
    );
  return { inputs, parameters, call };
}
