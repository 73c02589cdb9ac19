/** Diffusion transformers that differ in their attention alone: what they learn and paint, and how time grows with resolution. */
import { estimateMean } from '../../measure/statistics';
import { initial, type TrainableParameters } from '../../nn';
import { partOf } from '../../nn/module';
import { compareTransformers, configOf, type TransformerRow, type Transformers } from '../../pipelines/lit/compare';
import { ATTENTIONS, type AttentionKind, attended, litParameters } from '../../pipelines/lit/network';
import { openStudio } from '../../pipelines/paint/studio';
import { significant } from '../../text/format';
import { byLabel, chart, listed, type MeasureContext } from '../experiment';
import { disposeAll, held, randomNormal } from '../held';
import { timeContest } from '../rounds';
import { mean } from '../vectors';

/** Those of the stored comparison, docs/pipelines/dydi-lit.json. */
const WHOLE = { seeds: 3, steps: 300, batch: 16, pictures: 200, sampled: 10 };
const HASTY = { seeds: 1, steps: 2, batch: 2, pictures: 3, sampled: 2 };

export async function transformers(context: MeasureContext) {
  const { runtime, quick, signal } = context;
  const part = context.part(0.05, 0.85);
  await part.step(0, 'transformers');
  using studio = await openStudio(runtime);
  const settings = quick ? HASTY : WHOLE;
  return told(
    await compareTransformers(studio, settings, {
      signal,
      onProgress: (share, text) => part.onProgress?.(share, text),
    }),
    settings,
  );
}

function told({ rows, drawn, parameters }: Transformers, { seeds, steps, pictures }: typeof WHOLE) {
  const by = byLabel(ATTENTIONS, (kind) => rows.filter(({ attention }) => attention === kind));
  const of = (kind: AttentionKind, name: 'loss' | 'distance') => by[kind].map((row: TransformerRow) => row[name]);
  const means = (name: 'loss' | 'distance') => ATTENTIONS.map((kind) => mean(of(kind, name)));
  /** Seed by seed, with an interval. */
  const more = (kind: AttentionKind, than: AttentionKind, name: 'loss' | 'distance') =>
    estimateMean(of(kind, name).map((value, at) => value - (of(than, name)[at] as number)));
  const evenness = by.dydila.flatMap(({ evenness }) => evenness ?? []);
  const counts = ATTENTIONS.map((kind) => parameters[kind] as number);
  const setting = `Transformers of ${Math.min(...counts)} to ${Math.max(...counts)} parameters on latents of drawn scenes, ${steps} steps, ${seeds} seed${seeds > 1 ? 's' : ''}; hidden layers make up for what an attention has more.`;
  const inWords = (name: 'loss' | 'distance') =>
    ATTENTIONS.map((kind) => `${kind} ${significant(mean(of(kind, name)))}`).join(', ');
  const plots = (title: string, name: 'loss' | 'distance') =>
    chart(title, { attention: ATTENTIONS }, { [name]: means(name) });
  const measured = `squared error of velocities: ${inWords('loss')}`;
  return {
    learns: {
      measured,
      values: { loss: more('dydila', 'relu', 'loss') },
      details: `${setting} On scenes that they did not learn from; none has learned to the end.`,
      series: plots('Squared error of velocities', 'loss'),
    },
    parts: {
      measured,
      values: {
        kernel: more('focused', 'relu', 'loss'),
        difference: more('differential', 'focused', 'loss'),
        routes: more('dydila', 'differential', 'loss'),
      },
      details: setting,
    },
    paints: {
      measured: `Frechet distance: ${inWords('distance')}`,
      values: { distance: more('dydila', 'relu', 'distance') },
      details: `${setting} Of ${pictures} pictures from drawn scenes, by the features of a classifier that was trained here; other drawn scenes are ${significant(drawn)} away.`,
      series: plots('Frechet distance', 'distance'),
    },
    routes: {
      measured: `evenness by seed: ${listed(evenness)}`,
      values: { evenness: estimateMean(evenness) },
      details: `${setting} The entropy of how often each of three matrices of redundant queries is chosen, over that of equal shares: 1 is all alike, 0 only one.`,
    },
  };
}

/** Places along an axis. */
const SIDES = [16, 32, 64];
const TIMED = ['softmax', 'relu', 'dydila'] as const satisfies readonly AttentionKind[];

export async function resolution(context: MeasureContext) {
  const { runtime, quick } = context;
  const part = context.part(0.85, 1, 'time by resolution');
  await part.step(0);
  const sides = quick ? SIDES.slice(0, 1) : SIDES;
  const counts = sides.map((side) => side ** 2);
  const inputs = counts.map((n) => randomNormal(runtime, [1, n, configOf('relu').width], n));
  using _ = held(inputs);
  const weights = byLabel(TIMED, (kind) => initial({ parameters: litParameters(configOf(kind)) }, runtime, 1));
  using _weights = held(weights);
  const blocks = byLabel(TIMED, (kind) => partOf(weights[kind] as TrainableParameters, 'blocks.0'));
  const contest = await timeContest(
    counts,
    (at) =>
      byLabel(
        TIMED,
        (kind) => () => disposeAll(runtime.scope(() => attended(blocks[kind], configOf(kind), inputs[at]!))),
      ),
    20,
    part,
  );
  const speedups = contest.speedups('dydila', 'softmax');
  return {
    measured: `${listed(speedups)} times as fast as softmax attention at ${sides.map((side) => `${side} x ${side}`).join(', ')} places; ReLU-linear ${listed(contest.speedups('relu', 'softmax'))}`,
    values: { growth: contest.growth('dydila'), speed: contest.speedup('dydila', 'softmax', -1) },
    details: `A block's attention with its projections and the convolution of the values, width ${configOf('relu').width}, two heads, forward. All products with a bank are computed, as in training: one would do.`,
    series: chart('Milliseconds', { places: counts }, contest.medians),
  };
}
