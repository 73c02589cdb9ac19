/** What the gated delta rule recalls beside other memories, and what its chunked form gains. */
import type { Spread } from '../../../compare/comparison';
import { timeInterleaved, timeOnce } from '../../../compare/timing';
import { BackendError } from '../../../errors';
import { gatedDeltaRule, gatedDeltaRuleBackward, gatedDeltaRuleStep } from '../../../ops/gated-delta-rule';
import { formatRatio, formatTime, significant } from '../../../report/format';
import type { Experiment, ExperimentContext, Finding } from '../../experiment';
import { DIMENSION, LOG_DECAY, MEMORIES, type Memory, recall, SHARPNESS } from './recall';

/** The recall of the gated delta rule that another program counted, at 32 to 512 pairs. */
const COUNTED = [0.78, 0.44, 0.13, 0.1, 0.05];
/** Tokens of a chunk. */
const CHUNK = 24;
const PAIRS = [32, 64, 128, 256, 512];
/** How far the two forms may be apart, over the largest output. */
const TOLERANCE = 1e-5;
/** Which share of the work is what comes before the timing. */
const COUNTING = 0.3;

export const experiment: Experiment = {
  title: 'pairs recalled beside linear and softmax attention; chunked against recurrent form',
  async run(context) {
    return [...(await recallFindings(context)), ...(await speedFindings(context))];
  },
};

async function recallFindings({ runtime, signal, onProgress, quick = false }: ExperimentContext): Promise<Finding[]> {
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
  const falls = delta.every((share, at) => at === 0 || share < (delta[at - 1] as number));
  const keeps = softmax.every((share) => share > 0.99);
  const setting = `${sequences} sequences of random keys and values of norm 1, d = ${DIMENSION}. Each key is asked for at the end; recalled is what comes nearest, of all values, to the right one.`;
  const figures = (shares: readonly number[]) => shares.map((share) => share.toFixed(2)).join(', ');
  return [
    {
      claim: 'A state of fixed size recalls ever fewer of the pairs written to it, softmax attention all of them.',
      source: 'arXiv 2602.03681 (NAtS-L), its reason to route chunks to softmax attention',
      measured: `${figures(delta)} of ${PAIRS.join(', ')} pairs; softmax attention ${figures(softmax)}`,
      verdict: falls && keeps ? 'reproduced' : 'not reproduced',
      details: `${setting} beta = 1, g = ${LOG_DECAY}, softmax with scale ${SHARPNESS}. Another program counted ${figures(COUNTED)} in this setting; at 128 pairs the two differ.`,
      series: [
        {
          title: 'Share of the pairs recalled',
          x: { label: 'pairs', values: PAIRS },
          lines: MEMORIES.map((memory) => ({ label: memory, values: of(memory) })),
        },
      ],
    },
    {
      claim: 'The delta rule replaces what a key held; a memory that only adds mixes old and new.',
      source: 'paper, section 2',
      measured: MEMORIES.map((memory) => `${memory} ${rewritten[memory].toFixed(2)}`).join(', '),
      verdict:
        rewritten['gated delta rule'] > 0.9 && rewritten['linear attention'] < 0.5 ? 'reproduced' : 'not reproduced',
      details: `Share of 16 keys that recall the last of 16 values written to each. ${setting} Softmax attention sees all 16 values of a key as one.`,
    },
  ];
}

interface Row {
  readonly n: number;
  readonly times: readonly [chunked: Spread, recurrent: Spread, backward: Spread];
  readonly difference: number;
}

async function speedFindings(context: ExperimentContext): Promise<Finding[]> {
  const { quick = false } = context;
  const lengths = quick ? [128, 256] : [1024, 2048, 4096, 8192];
  const [h, d, e] = quick ? [1, 16, 16] : [4, 128, 128];
  const rows: Row[] = [];
  for (const [at, n] of lengths.entries()) {
    const from = COUNTING + ((1 - COUNTING) * at) / lengths.length;
    const share = (1 - COUNTING) / lengths.length;
    rows.push(await timeForms({ n, h, d, e }, context, from, share));
  }
  const step = await stepTime({ h, d, e }, context);
  const main = rows.find(({ n }) => n === 4096) ?? (rows.at(-1) as Row);
  const [chunked, recurrent, backward] = main.times;
  const ratio = recurrent.median / chunked.median;
  const stepwise = (main.n * step) / chunked.median;
  const worst = Math.max(...rows.map(({ difference }) => difference));
  const growth = (rows.at(-1) as Row).times[0].median / (rows[0] as Row).times[0].median;
  const longer = (lengths.at(-1) as number) / (lengths[0] as number);
  return [
    {
      claim: 'The chunked form computes what the recurrence does.',
      source: 'paper, section 3.3',
      measured: `largest difference ${worst.toExponential(1)} of the largest output, at n = ${lengths.join(', ')}`,
      verdict: worst < TOLERANCE ? 'reproduced' : 'not reproduced',
    },
    {
      claim: 'In chunks, by matrix products, it is faster than token by token.',
      source: 'paper, section 3.3',
      measured: `${formatRatio(ratio)} as fast as the recurrent kernel at ${main.n}, ${formatTime(chunked.median)} against ${formatTime(recurrent.median)}; ${formatRatio(stepwise)} as fast as a call for each token; backward ${formatTime(backward.median)}`,
      verdict: ratio > 2 ? 'reproduced' : ratio > 1 ? 'partly' : 'not reproduced',
      details: `h = ${h}, d = ${d}, e = ${e}, f32, medians. The recurrent kernel keeps the state in the cache and is vectorised too: it does ${significant((7 * d * e) / 1000)} thousand operations a token, the chunked one ${significant((6 * d * e + 2 * CHUNK * (d + e)) / 1000)} thousand, at a higher rate.`,
      series: [
        {
          title: 'Milliseconds',
          x: { label: 'n', values: lengths },
          lines: ['chunked', 'recurrent', 'backward'].map((label, at) => ({
            label,
            values: rows.map(({ times }) => (times[at] as Spread).median),
          })),
        },
      ],
    },
    {
      claim: 'Its time grows linearly with the length.',
      source: 'paper, figure 3',
      measured: `${formatRatio(growth)} the time for ${formatRatio(longer)} the tokens`,
      verdict: growth < 1.3 * longer ? 'reproduced' : 'not reproduced',
    },
  ];
}

interface Extents {
  readonly h: number;
  readonly d: number;
  readonly e: number;
}

/** Checks that both forms agree, then times them and the backward pass in turns. */
async function timeForms(
  { n, h, d, e }: Extents & { readonly n: number },
  { runtime, signal, onProgress, quick = false }: ExperimentContext,
  from: number,
  share: number,
): Promise<Row> {
  return runtime.scope(async () => {
    signal?.throwIfAborted();
    onProgress?.(from, `timing, n = ${n}`);
    const q = runtime.random([1, n, h, d], { seed: 1 });
    // Of norm about 1.
    const k = runtime.tensor(
      (await runtime.random([1, n, h, d], { seed: 2 }).read()).map((x) => x / Math.sqrt(d)),
      [1, n, h, d],
    );
    const v = runtime.random([1, n, h, e], { seed: 3 });
    const gates = { seed: 4, distribution: 'uniform' } as const;
    const g = runtime.tensor(
      (await runtime.random([1, n, h], gates).read()).map((x) => -0.1 * x),
      [1, n, h],
    );
    const beta = runtime.random([1, n, h], { ...gates, seed: 5 });
    const [out, other] = [runtime.empty([1, n, h, e]), runtime.empty([1, n, h, e])];
    const state = runtime.empty([1, h, d, e]);
    const calls = [
      async () => {
        await gatedDeltaRule(q, k, v, g, beta, { form: 'chunked', out, state, signal });
      },
      async () => {
        await gatedDeltaRule(q, k, v, g, beta, { form: 'recurrent', out: other, state, signal });
      },
      async () => {
        const grads = await gatedDeltaRuleBackward(q, k, v, g, beta, { gradOut: v }, { signal });
        for (const grad of Object.values(grads)) grad.dispose();
      },
    ];
    const estimates: number[] = [];
    for (const call of calls) {
      await call();
      estimates.push(await timeOnce(runtime, call));
    }
    const difference = relativeDifference(await out.read(), await other.read());
    if (!(difference < TOLERANCE))
      throw new BackendError(`the two forms differ by ${difference} of the largest output`);
    const plan = quick ? { seconds: 0, least: 1, most: 1 } : { seconds: 4, least: 5, most: 40 };
    const times = await timeInterleaved(runtime, calls, estimates, plan, {
      signal,
      onProgress: (part) => onProgress?.(from + share * part, `timing, n = ${n}`),
    });
    return { n, times: times as [Spread, Spread, Spread], difference };
  });
}

/** Milliseconds that decoding one token takes. */
async function stepTime({ h, d, e }: Extents, { runtime, signal, quick = false }: ExperimentContext): Promise<number> {
  return runtime.scope(async () => {
    const [q, k, v] = [d, d, e].map((width, seed) => runtime.random([1, 1, h, width], { seed }));
    const g = runtime.tensor(new Float32Array(h).fill(-0.1), [1, 1, h]);
    const beta = runtime.tensor(new Float32Array(h).fill(1 / d), [1, 1, h]);
    let states = [runtime.random([1, h, d, e]), runtime.empty([1, h, d, e])] as const;
    const out = runtime.empty([1, 1, h, e]);
    const steps = quick ? 10 : 1000;
    const time = await timeOnce(runtime, async () => {
      for (let at = 0; at < steps; at++) {
        await gatedDeltaRuleStep(q!, k!, v!, g, beta, states[0], { out, state: states[1], signal });
        states = [states[1], states[0]];
      }
    });
    return time / steps;
  });
}

function relativeDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, largest] = [0, 0];
  for (let at = 0; at < a.length; at++) {
    difference = Math.max(difference, Math.abs((a[at] as number) - (b[at] as number)));
    largest = Math.max(largest, Math.abs(b[at] as number));
  }
  return difference / largest;
}
