/** Recall of the gated delta rule compared with other memories, and the gain of its chunked form. */

import { timeCalls } from '../../measure/timing';
import { gatedDeltaRule, gatedDeltaRuleBackward, gatedDeltaRuleStep } from '../../ops/gated-delta-rule';
import { uniform } from '../../tensor/random';
import { formatRatio, formatTime, significant } from '../../text/format';
import {
  byLabel,
  chart,
  defineExperiment,
  figure,
  linearIn,
  listed,
  type MeasureContext,
  share,
  together,
} from '../experiment';
import { disposeAll, held, randomNormal } from '../held';
import { COUNTED, DIMENSION, LOG_DECAY, PAIRS, SHARPNESS } from '../recall';
import { timeContest } from '../rounds';
import { largestDifference, largestStep } from '../vectors';
import { MEMORIES, type Memory, recall } from './recall';

/** Tokens of a chunk. */
const CHUNK = 24;
/** The share of the work before the timing. */
const COUNTING = 0.3;

export const experiment = defineExperiment({
  title: 'pairs recalled beside linear and softmax attention; chunked against recurrent form',
  claims: {
    recall: {
      claim: 'A state of fixed size recalls ever fewer of the pairs written to it, softmax attention all of them.',
      source: 'arXiv 2602.03681 (NAtS-L), its reason to route chunks to softmax attention',
      criteria: {
        step: figure('largest step of the share recalled to twice the pairs', [-1, -0.01], [-1, 0], [-1, 1]),
        softmax: share('least share that softmax attention recalls', [0.99, 1], [0.9, 1]),
      },
    },
    replaces: {
      claim: 'The delta rule replaces what a key held; a memory that only adds mixes old and new.',
      source: 'paper, section 2',
      criteria: {
        delta: share('share of the last values recalled', [0.9, 1], [0.6, 1]),
        adding: share('share recalled by linear attention', [0, 0.3], [0, 0.6]),
      },
    },
    forms: {
      claim: 'The chunked form computes what the recurrence does.',
      source: 'paper, section 3.3',
      criteria: { difference: figure('largest difference over the largest output', [0, 1e-5], [0, 1000]) },
      byConstruction: true,
    },
    faster: {
      claim: 'In chunks, by matrix products, it is faster than token by token.',
      source: 'paper, section 3.3',
      criteria: { ratio: figure("time of the recurrent form over the chunked one's", [2, 8], [1, 8], [0.1, 8]) },
      timed: true,
    },
    linear: {
      claim: 'Its time grows linearly with the length.',
      source: 'paper, figure 3',
      criteria: { growth: linearIn('the length, chunked form') },
      timed: true,
    },
  },
  measure: { ...together(['recall', 'replaces'], recalls), ...together(['forms', 'faster', 'linear'], speeds) },
});

async function recalls({ runtime, quick, step: report }: MeasureContext) {
  const sequences = quick ? 4 : 40;
  const byPairs: Record<Memory, number>[] = [];
  for (const [at, pairs] of PAIRS.entries()) {
    await report((COUNTING * at) / (PAIRS.length + 1), `recall of ${pairs} pairs`);
    byPairs.push(await recall(runtime, { sequences, pairs, keys: pairs }));
  }
  const rewritten = await recall(runtime, { sequences, pairs: 256, keys: 16 });
  const of = (memory: Memory) => byPairs.map((shares) => shares[memory]);
  const [delta, softmax] = [of('gated delta rule'), of('softmax attention')];
  const setting = `${sequences} sequences of random keys and values of norm 1, d = ${DIMENSION}. Each key is asked for at the end; recalled is what comes nearest, of all values, to the right one.`;
  const figures = (shares: readonly number[]) => listed(shares, (share) => share.toFixed(2));
  return {
    recall: {
      measured: `${figures(delta)} of ${PAIRS.join(', ')} pairs; softmax attention ${figures(softmax)}`,
      values: { step: largestStep(delta), softmax: Math.min(...softmax) },
      details: `${setting} beta = 1, g = ${LOG_DECAY}, softmax with scale ${SHARPNESS}. Another program counted ${figures(COUNTED)} in this setting; at 128 pairs the two differ.`,
      series: chart(
        'Share of the pairs recalled',
        { pairs: PAIRS },
        byLabel(MEMORIES, (memory) => of(memory)),
      ),
    },
    replaces: {
      measured: MEMORIES.map((memory) => `${memory} ${rewritten[memory].toFixed(2)}`).join(', '),
      values: { delta: rewritten['gated delta rule'], adding: rewritten['linear attention'] },
      details: `Share of 16 keys that recall the last of 16 values written to each. ${setting} Softmax attention sees all 16 values of a key as one.`,
    },
  };
}

async function speeds(context: MeasureContext) {
  const { quick } = context;
  const lengths = quick ? [128, 256] : [1024, 2048, 4096, 8192];
  const [h, d, e] = quick ? [1, 16, 16] : [4, 128, 128];
  const forms = lengths.map((n) => formsOf({ n, h, d, e }, context));
  using _ = held(forms.map(({ tensors }) => tensors));
  const contest = await timeContest(lengths, (at) => forms[at]!.calls, 25, context.part(COUNTING, 1, 'timing'));
  const step = await stepTime({ h, d, e }, context);
  const main = lengths.length > 2 ? 2 : lengths.length - 1;
  const n = lengths[main]!;
  const { chunked, recurrent, backward } = byLabel(FORMS, (form) => contest.medians[form][main]!);
  const worst = Math.max(...(await Promise.all(forms.map(({ difference }) => difference()))));
  const ratio = contest.speedup('chunked', 'recurrent', main);
  const growth = contest.growth('chunked');
  return {
    forms: {
      measured: `largest difference ${worst.toExponential(1)} of the largest output, at n = ${lengths.join(', ')}`,
      values: { difference: worst },
    },
    faster: {
      measured: `${formatRatio(ratio.value)} as fast as the recurrent kernel at ${n}, ${formatTime(chunked)} against ${formatTime(recurrent)}; ${formatRatio((n * step) / chunked)} as fast as a call for each token; backward ${formatTime(backward)}`,
      values: { ratio },
      details: `h = ${h}, d = ${d}, e = ${e}, f32, medians. The recurrent kernel keeps the state in the cache and is vectorised too: it does ${significant((7 * d * e) / 1000)} thousand operations a token, the chunked one ${significant((6 * d * e + 2 * CHUNK * (d + e)) / 1000)} thousand, at a higher rate.`,
      series: chart('Milliseconds', { n: lengths }, contest.medians),
    },
    linear: {
      measured: `time grows as n^${growth.value.toFixed(2)} from ${lengths[0]} to ${lengths.at(-1)} tokens`,
      values: { growth },
    },
  };
}

const FORMS = ['chunked', 'recurrent', 'backward'] as const;

type Extents = Readonly<Record<'h' | 'd' | 'e', number>>;

/** The chunked form, the recurrent one and the backward pass. */
function formsOf({ n, h, d, e }: Extents & { readonly n: number }, { runtime, signal }: MeasureContext) {
  const q = runtime.random([1, n, h, d], { seed: 1 });
  // Their norm is about 1.
  const k = randomNormal(runtime, [1, n, h, d], 2, 1 / Math.sqrt(d));
  const v = runtime.random([1, n, h, e], { seed: 3 });
  const g = runtime.tensor(
    uniform(n * h, 4).map((x) => -0.1 * x),
    [1, n, h],
  );
  const beta = runtime.random([1, n, h], { distribution: 'uniform', seed: 5 });
  const [out, other] = [runtime.empty([1, n, h, e]), runtime.empty([1, n, h, e])];
  const state = runtime.empty([1, h, d, e]);
  return {
    calls: {
      chunked: () => void gatedDeltaRule(q, k, v, g, beta, { form: 'chunked', out, state, signal }),
      recurrent: () => void gatedDeltaRule(q, k, v, g, beta, { form: 'recurrent', out: other, state, signal }),
      backward: () => disposeAll(gatedDeltaRuleBackward(q, k, v, g, beta, { gradOut: v }, { signal })),
    },
    tensors: [q, k, v, g, beta, out, other, state],
    /** The difference of what the two forms gave when they were last called, over the largest output. */
    difference: async () => largestDifference(await out.read(), await other.read()),
  };
}

/** Milliseconds that decoding one token takes. */
async function stepTime({ h, d, e }: Extents, { runtime, signal, quick }: MeasureContext): Promise<number> {
  const [q, k, v] = [d, d, e].map((width, seed) => runtime.random([1, 1, h, width], { seed }));
  const g = runtime.tensor(new Float32Array(h).fill(-0.1), [1, 1, h]);
  const beta = runtime.tensor(new Float32Array(h).fill(1 / d), [1, 1, h]);
  let states = [runtime.random([1, h, d, e]), runtime.empty([1, h, d, e])] as const;
  const out = runtime.empty([1, 1, h, e]);
  using _ = held([q!, k!, v!, g, beta, ...states, out]);
  const steps = quick ? 10 : 1000;
  const step = () => {
    gatedDeltaRuleStep(q!, k!, v!, g, beta, states[0], { out, state: states[1], signal });
    states = [states[1], states[0]];
  };
  return await timeCalls(runtime, step, steps);
}
