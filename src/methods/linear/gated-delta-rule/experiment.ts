/** What the gated delta rule recalls beside other memories, and what its chunked form gains. */

import { exponent } from '../../../measure/statistics';
import { timeCalls } from '../../../measure/timing';
import { gatedDeltaRule, gatedDeltaRuleBackward, gatedDeltaRuleStep } from '../../../ops/gated-delta-rule';
import { normal, uniform } from '../../../tensor/random';
import type { Tensor } from '../../../tensor/tensor';
import { formatRatio, formatTime, significant } from '../../../text/format';
import {
  type Claims,
  defineExperiment,
  type ExperimentContext,
  linearIn,
  type Measurements,
  SHARE,
  together,
} from '../../experiment';
import { held } from '../../held';
import { medians, overRounds, timeRounds } from '../../rounds';
import { DIMENSION, LOG_DECAY, MEMORIES, type Memory, recall, SHARPNESS } from './recall';

/** The recall of the gated delta rule that another program counted, at 32 to 512 pairs. */
const COUNTED = [0.78, 0.44, 0.13, 0.1, 0.05];
/** Tokens of a chunk. */
const CHUNK = 24;
const PAIRS = [32, 64, 128, 256, 512];
/** Which share of the work is what comes before the timing. */
const COUNTING = 0.3;

const claims = {
  recall: {
    claim: 'A state of fixed size recalls ever fewer of the pairs written to it, softmax attention all of them.',
    source: 'arXiv 2602.03681 (NAtS-L), its reason to route chunks to softmax attention',
    criteria: {
      step: {
        what: 'largest step of the share recalled to twice the pairs',
        expected: [-1, -0.01],
        partly: [-1, 0],
        plausible: [-1, 1],
      },
      softmax: {
        what: 'least share that softmax attention recalls',
        expected: [0.99, 1],
        partly: [0.9, 1],
        plausible: SHARE,
      },
    },
  },
  replaces: {
    claim: 'The delta rule replaces what a key held; a memory that only adds mixes old and new.',
    source: 'paper, section 2',
    criteria: {
      delta: { what: 'share of the last values recalled', expected: [0.9, 1], partly: [0.6, 1], plausible: SHARE },
      adding: { what: 'share recalled by linear attention', expected: [0, 0.3], partly: [0, 0.6], plausible: SHARE },
    },
  },
  forms: {
    claim: 'The chunked form computes what the recurrence does.',
    source: 'paper, section 3.3',
    criteria: {
      difference: { what: 'largest difference over the largest output', expected: [0, 1e-5], plausible: [0, 1000] },
    },
    byConstruction: true,
  },
  faster: {
    claim: 'In chunks, by matrix products, it is faster than token by token.',
    source: 'paper, section 3.3',
    criteria: {
      ratio: {
        what: "time of the recurrent form over the chunked one's",
        expected: [2, 8],
        partly: [1, 8],
        plausible: [0.1, 8],
      },
    },
    timed: true,
  },
  linear: {
    claim: 'Its time grows linearly with the length.',
    source: 'paper, figure 3',
    criteria: { growth: linearIn('the length, chunked form') },
    timed: true,
  },
} as const satisfies Claims;

export const experiment = defineExperiment({
  title: 'pairs recalled beside linear and softmax attention; chunked against recurrent form',
  claims,
  measure: { ...together(['recall', 'replaces'], recalls), ...together(['forms', 'faster', 'linear'], speeds) },
});

async function recalls({
  runtime,
  signal,
  onProgress,
  quick = false,
}: ExperimentContext): Promise<Measurements<typeof claims, 'recall' | 'replaces'>> {
  const sequences = quick ? 4 : 40;
  const byPairs: Record<Memory, number>[] = [];
  for (const [at, pairs] of PAIRS.entries()) {
    signal?.throwIfAborted();
    onProgress?.((COUNTING * at) / (PAIRS.length + 1), `recall of ${pairs} pairs`);
    byPairs.push(await recall(runtime, { sequences, pairs, keys: pairs }));
  }
  const rewritten = await recall(runtime, { sequences, pairs: 256, keys: 16 });
  const of = (memory: Memory) => byPairs.map((shares) => shares[memory]);
  const [delta, softmax] = [of('gated delta rule'), of('softmax attention')];
  const step = Math.max(...delta.slice(1).map((share, at) => share - (delta[at] as number)));
  const setting = `${sequences} sequences of random keys and values of norm 1, d = ${DIMENSION}. Each key is asked for at the end; recalled is what comes nearest, of all values, to the right one.`;
  const figures = (shares: readonly number[]) => shares.map((share) => share.toFixed(2)).join(', ');
  return {
    recall: {
      measured: `${figures(delta)} of ${PAIRS.join(', ')} pairs; softmax attention ${figures(softmax)}`,
      values: { step, softmax: Math.min(...softmax) },
      details: `${setting} beta = 1, g = ${LOG_DECAY}, softmax with scale ${SHARPNESS}. Another program counted ${figures(COUNTED)} in this setting; at 128 pairs the two differ.`,
      series: [
        {
          title: 'Share of the pairs recalled',
          x: { label: 'pairs', values: PAIRS },
          lines: MEMORIES.map((memory) => ({ label: memory, values: of(memory) })),
        },
      ],
    },
    replaces: {
      measured: MEMORIES.map((memory) => `${memory} ${rewritten[memory].toFixed(2)}`).join(', '),
      values: { delta: rewritten['gated delta rule'], adding: rewritten['linear attention'] },
      details: `Share of 16 keys that recall the last of 16 values written to each. ${setting} Softmax attention sees all 16 values of a key as one.`,
    },
  };
}

async function speeds(context: ExperimentContext): Promise<Measurements<typeof claims, 'forms' | 'faster' | 'linear'>> {
  const { quick = false, onProgress } = context;
  const lengths = quick ? [128, 256] : [1024, 2048, 4096, 8192];
  const [h, d, e] = quick ? [1, 16, 16] : [4, 128, 128];
  const forms = lengths.map((n) => formsOf({ n, h, d, e }, context));
  using _ = held(forms.flatMap(({ tensors }) => tensors));
  const onTiming = (share: number) => onProgress?.(COUNTING + (1 - COUNTING) * share, 'timing');
  const rounds = await timeRounds(
    forms.flatMap(({ calls }) => calls),
    25,
    { ...context, onProgress: onTiming },
  );
  const step = await stepTime({ h, d, e }, context);
  // Of each length the chunked form, the recurrent one and the backward pass.
  const times = medians(rounds);
  const of = (form: number) => lengths.map((_, at) => times[3 * at + form] as number);
  const main = lengths.length > 2 ? 2 : lengths.length - 1;
  const [chunked, recurrent, backward] = times.slice(3 * main) as [number, number, number];
  const n = lengths[main] as number;
  const worst = Math.max(...(await Promise.all(forms.map(({ difference }) => difference()))));
  const ratio = overRounds(rounds, (round) => (round[3 * main + 1] as number) / (round[3 * main] as number));
  const growth = overRounds(rounds, (round) =>
    exponent(
      lengths,
      lengths.map((_, at) => round[3 * at] as number),
    ),
  );
  return {
    forms: {
      measured: `largest difference ${worst.toExponential(1)} of the largest output, at n = ${lengths.join(', ')}`,
      values: { difference: worst },
    },
    faster: {
      measured: `${formatRatio(ratio.value)} as fast as the recurrent kernel at ${n}, ${formatTime(chunked)} against ${formatTime(recurrent)}; ${formatRatio((n * step) / chunked)} as fast as a call for each token; backward ${formatTime(backward)}`,
      values: { ratio },
      details: `h = ${h}, d = ${d}, e = ${e}, f32, medians. The recurrent kernel keeps the state in the cache and is vectorised too: it does ${significant((7 * d * e) / 1000)} thousand operations a token, the chunked one ${significant((6 * d * e + 2 * CHUNK * (d + e)) / 1000)} thousand, at a higher rate.`,
      series: [
        {
          title: 'Milliseconds',
          x: { label: 'n', values: lengths },
          lines: ['chunked', 'recurrent', 'backward'].map((label, form) => ({ label, values: of(form) })),
        },
      ],
    },
    linear: {
      measured: `time grows as n^${growth.value.toFixed(2)} from ${lengths[0]} to ${lengths.at(-1)} tokens`,
      values: { growth },
    },
  };
}

interface Extents {
  readonly h: number;
  readonly d: number;
  readonly e: number;
}

interface Forms {
  readonly calls: readonly (() => void)[];
  readonly tensors: readonly Tensor[];
  /** Of what the two forms gave when they were called, over the largest output. */
  difference(): Promise<number>;
}

/** The chunked form, the recurrent one and the backward pass. */
function formsOf({ n, h, d, e }: Extents & { readonly n: number }, { runtime, signal }: ExperimentContext): Forms {
  const q = runtime.random([1, n, h, d], { seed: 1 });
  // Of norm about 1.
  const k = runtime.tensor(
    normal(n * h * d, 2).map((x) => x / Math.sqrt(d)),
    [1, n, h, d],
  );
  const v = runtime.random([1, n, h, e], { seed: 3 });
  const g = runtime.tensor(
    uniform(n * h, 4).map((x) => -0.1 * x),
    [1, n, h],
  );
  const beta = runtime.random([1, n, h], { distribution: 'uniform', seed: 5 });
  const [out, other] = [runtime.empty([1, n, h, e]), runtime.empty([1, n, h, e])];
  const state = runtime.empty([1, h, d, e]);
  const calls = [
    () => void gatedDeltaRule(q, k, v, g, beta, { form: 'chunked', out, state, signal }),
    () => void gatedDeltaRule(q, k, v, g, beta, { form: 'recurrent', out: other, state, signal }),
    () => {
      const grads = gatedDeltaRuleBackward(q, k, v, g, beta, { gradOut: v }, { signal });
      for (const grad of Object.values(grads)) grad.dispose();
    },
  ];
  return {
    calls,
    tensors: [q, k, v, g, beta, out, other, state],
    difference: async () => relativeDifference(await out.read(), await other.read()),
  };
}

/** Milliseconds that decoding one token takes. */
async function stepTime({ h, d, e }: Extents, { runtime, signal, quick = false }: ExperimentContext): Promise<number> {
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

function relativeDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, largest] = [0, 0];
  for (let at = 0; at < a.length; at++) {
    difference = Math.max(difference, Math.abs((a[at] as number) - (b[at] as number)));
    largest = Math.max(largest, Math.abs(b[at] as number));
  }
  return difference / largest;
}
