/** The gain from routing where the right routes are known, and whether the search gradient finds them; nothing is trained. */

import { natsLinear } from '../../methods/linear/nats-linear';
import { attention } from '../../ops/attention';
import { pullback } from '../../tape';
import { uniformGenerator } from '../../tensor/random';
import type { Tensor } from '../../tensor/tensor';
import { formatRatio } from '../../text/format';
import { chart, defineExperiment, figure, listed, type MeasureContext, share, together } from '../experiment';
import { disposeAll, held, numbersOf } from '../held';
import { COUNTED, DIMENSION, LOG_DECAY, PAIRS, SHARPNESS, shareRecalled } from '../recall';
import { timeContest } from '../rounds';
import { CHUNK, drawNeedles, gradientOf, inputsOf, type Needles, routeOf, SPARSITY } from './needles';

/** The share of the work before the timing. */
const COUNTING = 0.4;

/** Normed heads have a product of 32 times the cosine. */
const params = natsLinear.parse({ chunk: CHUNK, scale: SHARPNESS / DIMENSION, counterfactual: true });

export const experiment = defineExperiment({
  title: 'recall of needles by route, where the search gradient would send the chunks, and time beside dense attention',
  claims: {
    needles: {
      claim:
        'With the chunks that matter in softmax attention and all others in the state, the layer recalls what full attention does.',
      source: 'paper, its reason to route; the setting is reconstructed',
      criteria: {
        attended: share('least share recalled by the softmax branch', [0.99, 1], [0.9, 1]),
        joined: share('least share recalled by the layer', [0.95, 1], [0.8, 1]),
      },
    },
    choice: {
      claim: 'It is the choice of chunks that counts, not how many go to softmax attention.',
      source: 'reconstructed: a control of the first claim',
      criteria: {
        difference: figure('least share lost by a random choice, from 128 pairs on', [0.3, 1], [0.05, 1], [-1, 1]),
      },
    },
    search: {
      claim: 'The search gradient finds the chunks that softmax attention should keep.',
      source: 'paper, section on the search; gradients of the operator that is not chosen: switched off in its code',
      criteria: {
        needles: share('least share moved of chunks with needles', [0.9, 1], [0.6, 1]),
        others: share('largest share moved of the others', [0, 0.2], [0, 0.8]),
      },
    },
    locks: {
      claim: 'With a gradient for the chosen operator only, what is useful in the state is locked there.',
      source: 'reconstructed: a fault that the released configurations may have',
      criteria: {
        needles: share('largest share moved of chunks with needles', [0, 0.1], [0, 0.3]),
        others: share('least share moved of the others', [0.5, 1], [0.3, 1]),
      },
    },
    speed: {
      claim:
        'At 128K tokens its prefill is 5.4 times as fast as that of a transformer; the gain grows with the length.',
      source: 'paper, as two readers report it; on a GPU',
      criteria: {
        growth: figure('least gain from one length to the next, ratio', [1.05, 3], [0.98, 3], [0.2, 3]),
        last: figure('speed-up at the longest', [1.1, 5], [0.9, 5], [0.05, 5]),
      },
      untested: 'The figure is of a GPU and of a length not tried here.',
      timed: true,
    },
  },
  measure: { ...together(['needles', 'choice', 'search', 'locks'], recalls), speed },
});

const sequencesOf = ({ quick }: MeasureContext): number => (quick ? 3 : 40);

async function figuresOf(context: MeasureContext, pairs: number) {
  const { runtime, signal } = context;
  const needles = drawNeedles(sequencesOf(context), pairs, pairs);
  const { chunks, chosen, isNeedle } = needles;
  const random = uniformGenerator(pairs + 1);
  // As many chunks at random, each sequence with its own: drawn as needles are.
  const others = drawNeedles(needles.sequences, pairs, pairs + 7).isNeedle;
  const halves = isNeedle.map((row) => row.map(() => random() < 0.5));
  const inputs = inputsOf(runtime, needles);
  using _ = held(Object.values(inputs));
  const outputs = async (toSoftmax: (sequence: number, chunk: number) => boolean) => {
    const reads = runtime.scope(() => {
      const route = routeOf(runtime, needles, toSoftmax);
      const { out, softmax, delta } = natsLinear.forward({ ...inputs, route }, params, { signal });
      return [out, softmax, delta].map((x) => (x as Tensor).read());
    });
    const shares = (await Promise.all(reads)).map((x) =>
      shareRecalled(x as Float32Array, needles.values, needles.asked),
    );
    const [out, softmax, delta] = shares as [number, number, number];
    return { out, softmax, delta };
  };
  const oracle = await outputs((sequence, chunk) => isNeedle[sequence]?.[chunk] as boolean);
  const blind = await outputs((sequence, chunk) => others[sequence]?.[chunk] as boolean);
  const all = await outputs(() => true);
  const none = await outputs(() => false);

  const pull = async (counterfactual: boolean) => {
    const grad = await numbersOf(runtime, () => {
      const route = routeOf(runtime, needles, (sequence, chunk) => halves[sequence]?.[chunk] as boolean);
      const settings = { ...params, counterfactual };
      const forward = (route: Tensor) => natsLinear.forward({ ...inputs, route }, settings, { signal });
      return pullback(forward, route).pull({ out: gradientOf(runtime, needles) }, { signal }) as Tensor;
    });
    return movedOut(grad, needles, halves);
  };
  return {
    // The share of the needles that the output recalls when they, or as many chunks at random, go to softmax attention.
    oracle: oracle.out,
    random: blind.out,
    // The same of the first by the result of softmax attention alone, and the share of keys and values that it keeps.
    attended: oracle.softmax,
    kept: chosen / chunks,
    // The recall of each operator alone.
    softmax: all.softmax,
    delta: none.delta,
    // With counterfactual gradients and without.
    pulled: await pull(true),
    partial: await pull(false),
  };
}

/** The shares of the chunks in the state, with needles and without, whose logits descent moves out. */
function movedOut(
  grad: Float64Array,
  { isNeedle, chunks, chosen }: Needles,
  toSoftmax: readonly (readonly boolean[])[],
): [number, number] {
  const counts = { true: [0, 0], false: [0, 0] } as Record<`${boolean}`, [number, number]>;
  isNeedle.forEach((row, sequence) => {
    row.forEach((holds, chunk) => {
      if (toSoftmax[sequence]?.[chunk]) return;
      const count = counts[`${holds}`];
      if (grad[2 * (sequence * (chunks + chosen) + chunk)]! < 0) count[0]++;
      count[1]++;
    });
  });
  const share = ([moved, total]: [number, number]) => (total === 0 ? 0 : moved / total);
  return [share(counts.true), share(counts.false)];
}

async function recalls(context: MeasureContext) {
  const byPairs: Awaited<ReturnType<typeof figuresOf>>[] = [];
  for (const [at, pairs] of PAIRS.entries()) {
    await context.step((COUNTING * at) / PAIRS.length, `${pairs} pairs`);
    byPairs.push(await figuresOf(context, pairs));
  }
  const of = (name: 'oracle' | 'attended' | 'random' | 'softmax' | 'delta' | 'kept') =>
    byPairs.map((figures) => figures[name]);
  const list = (values: readonly number[]) => listed(values, (value) => value.toFixed(2));
  const pulls = (name: 'pulled' | 'partial', which: 0 | 1) => byPairs.map((figures) => figures[name][which]);
  const setting = `${sequencesOf(context)} sequences of random keys and values of norm 1, d = ${DIMENSION}, chunks of ${CHUNK}; the pairs of one chunk in ${SPARSITY}, at least of one, are asked for at the end. beta = 1, g = ${LOG_DECAY}, softmax of ${SHARPNESS} times the cosine, both branches with equal weights. Recalled is what comes nearest, of all values, to the right one.`;
  return {
    needles: {
      measured: `${list(of('attended'))} of ${PAIRS.join(', ')} pairs, ${list(of('oracle'))} after the branches are joined, with ${list(of('kept'))} of the keys and values kept; full attention ${list(of('softmax'))}; the delta rule alone ${list(of('delta'))}`,
      values: { attended: Math.min(...of('attended')), joined: Math.min(...of('oracle')) },
      details: `${setting} Another program counted ${list(COUNTED)} for the delta rule alone.`,
      series: chart(
        'Share of the needles recalled',
        { pairs: PAIRS },
        {
          'needles to softmax': of('oracle'),
          'as many chunks at random': of('random'),
          'all to softmax': of('softmax'),
          'all to the delta rule': of('delta'),
        },
      ),
    },
    choice: {
      measured: `as many chunks at random: ${list(of('random'))}`,
      values: { difference: Math.min(...byPairs.slice(2).map(({ random, oracle }) => oracle - random)) },
      details: 'With 32 and 64 pairs a random choice of one chunk is right in every second and fourth sequence.',
    },
    search: {
      measured: `of the chunks in the state descent moves out ${list(pulls('pulled', 0))} of those with needles, ${list(pulls('pulled', 1))} of the others`,
      values: { needles: Math.min(...pulls('pulled', 0)), others: Math.max(...pulls('pulled', 1)) },
      details: `With counterfactual gradients; one step, from random routes of every other chunk; the loss is minus the sum of answers times right values. ${setting}`,
      series: chart(
        'Share of the chunks in the state that descent moves to softmax attention',
        { pairs: PAIRS },
        {
          'with needles': pulls('pulled', 0),
          others: pulls('pulled', 1),
          'with needles, chosen operator only': pulls('partial', 0),
          'others, chosen operator only': pulls('partial', 1),
        },
      ),
    },
    locks: {
      measured: `without counterfactual gradients descent moves out ${list(pulls('partial', 0))} of the chunks with needles, ${list(pulls('partial', 1))} of the others`,
      values: { needles: Math.max(...pulls('partial', 0)), others: Math.min(...pulls('partial', 1)) },
    },
  };
}

/** Heads of the paper's small model, a third of them; one chunk in four goes to softmax attention. */
const HEADS = { h: 2, d: 128, e: 256, a: 4 };
const TO_SOFTMAX = 0.25;

async function speed(context: MeasureContext) {
  const { quick } = context;
  const lengths = quick ? [256, 512] : [2048, 4096, 8192];
  const timed = lengths.map((n) => speedCalls(context, n));
  using _ = held(timed.map(({ tensors }) => tensors));
  const callsOf = (at: number) => (timed[at] as (typeof timed)[number]).calls;
  const contest = await timeContest(lengths, callsOf, 20, context.part(COUNTING, 1, 'timing'));
  const ratios = contest.speedups('NAtS-L', 'dense causal attention');
  return {
    measured: lengths.map((n, at) => `${formatRatio(ratios[at]!)} at ${n}`).join(', '),
    values: {
      growth: contest.leastGain('NAtS-L', 'dense causal attention'),
      last: contest.speedup('NAtS-L', 'dense causal attention', -1),
    },
    details: `The whole layer, norms and joining included, beside dense causal attention of as many heads, medians. h = ${HEADS.h}, d = ${HEADS.d}, e = ${HEADS.e}, ${HEADS.a} softmax heads, ${100 * TO_SOFTMAX}% of the chunks of 64 in softmax attention at random.`,
    series: chart('Milliseconds', { n: lengths }, contest.medians),
  };
}

/** The layer, and dense attention over the same channels. */
function speedCalls({ runtime, signal }: MeasureContext, n: number) {
  const { h, d, e, a } = HEADS;
  const settings = natsLinear.parse({});
  const chunks = Math.ceil(n / settings.chunk);
  const random = uniformGenerator(n);
  const filled = (value: number) => runtime.tensor(new Float32Array(n * h).fill(value), [1, n, h]);
  const logits = Float32Array.from({ length: chunks * h }, () => (random() < TO_SOFTMAX ? 1 : -1));
  const tensors = {
    q: runtime.random([1, n, h, d], { seed: 1 }),
    k: runtime.random([1, n, h, d], { seed: 2 }),
    v: runtime.random([1, n, h, e], { seed: 3 }),
    g: filled(LOG_DECAY),
    beta: filled(0.5),
    route: runtime.tensor(
      Float32Array.from({ length: 2 * chunks * h }, (_, at) => (at % 2 === 0 ? logits[at / 2]! : 0)),
      [1, chunks, h, 2],
    ),
    mix: runtime.random([1, n, a, 2], { seed: 4 }),
  };
  const heads = [tensors.q, tensors.k, tensors.v].map((x) => x.reshape([1, n, a, -1])) as [Tensor, Tensor, Tensor];
  return {
    tensors: [...Object.values(tensors), ...heads],
    calls: {
      'NAtS-L': () => disposeAll(natsLinear.forward(tensors, settings, { signal })),
      'dense causal attention': () => disposeAll(attention(...heads, { causal: true, signal })),
    },
  };
}
