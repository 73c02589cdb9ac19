/** Trainings: of the model of pictures and words, and then of its predictor, which learns from what the model attends to. */
import { ParameterError } from '../../errors';
import { initial, type TrainableParameters } from '../../nn';
import { linear } from '../../nn/linear';
import { conv } from '../../ops/conv';
import { crossEntropy } from '../../ops/cross-entropy';
import { add } from '../../ops/map';
import { map } from '../../ops/map/map';
import { max } from '../../ops/reduce';
import type { Runtime } from '../../runtime/runtime';
import { sameShape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { IGNORED } from '../../train';
import type { LabelledPictures } from '../../train/pictures';
import { labelsOf, predictorParameters, regionLogits, regionLoss, startOf } from './predictor';
import { ASKED, type Scene, type SceneBatch, sceneBatch, sceneMaker } from './scenes';
import {
  type Asked,
  answered,
  attentionTo,
  type Block,
  blocks,
  embedded,
  encoded,
  placesOf,
  type ViewerConfig,
  viewerParameters,
} from './viewer';
import { ANSWERS, QUESTION } from './words';

interface RegionsTraining {
  readonly parameters: Record<string, Tensor>;
  /** What stays as it is. */
  readonly buffers: Record<string, Tensor>;
  batches(index: number): Record<string, Tensor>;
  loss(parameters: TrainableParameters, batch: Readonly<Record<string, Tensor>>): Tensor;
}

interface RegionsTrainingOptions {
  readonly config: ViewerConfig;
  /** As Fashion-MNIST has them: one grey channel, and its ten classes. */
  readonly pictures: LabelledPictures;
  readonly seed: number;
  readonly batch: number;
  readonly steps: number;
}

/** Garments along both axes in the pictures of a step, in turn: from large ones the encoder learns what small ones look like. */
const CELLS_OF_STEP = [4, 4, 2, 4, 1, 4, 4, 2];
/** The share of the steps after which every second one has a second view. */
const FIRST_VIEW = 0.4;
/** How many times as much as a place gets in the mean a sink does from each question. */
const SINK = 4;

/** A place's weight beside one next to it, of a normal distribution one place wide. */
const BLUR = Math.exp(-0.5);

const sceneSeed = (seed: number, at: number) => seed * 2 ** 32 + at;

/** The model: it names the garment at each place, and answers questions. */
export function viewerTraining(runtime: Runtime, options: RegionsTrainingOptions): RegionsTraining {
  const { config, pictures, seed, batch, steps } = options;
  checkGarments(pictures);
  const make = sceneMaker(pictures);
  const parameters = initial({ parameters: viewerParameters(config) }, runtime, seed);
  return {
    parameters,
    buffers: {},
    batches(index) {
      const cells = CELLS_OF_STEP[index % CELLS_OF_STEP.length];
      const scenes = Array.from({ length: batch }, (_, at) => make(sceneSeed(seed + 1, index * batch + at), cells));
      const hasSecond = index >= FIRST_VIEW * steps && index % 2 === 1;
      return tensorsOf(runtime, sceneBatch(scenes, config, sceneSeed(seed + 1, index), hasSecond), config);
    },
    loss(p, { answers, names, ...given }) {
      const asked = askedOf(given);
      const first = (asked.views[0] as Asked['views'][number]).pixels;
      const places = encoded(p, first).reshape([first.shape[0] as number, config.side ** 2, config.width]);
      return add(
        crossEntropy(answered(p, asked, config).logits, answers as Tensor, { ignore: IGNORED }),
        crossEntropy(linear(places, p['vision.names.weight'] as Tensor), names as Tensor),
      );
    },
  };
}

/** The predictor: its labels are what the model attends to when it answers, whether right or wrong. */
export function predictorTraining(
  runtime: Runtime,
  viewer: Record<string, Tensor>,
  { config, pictures, seed, batch }: RegionsTrainingOptions,
): RegionsTraining {
  checkGarments(pictures);
  const make = sceneMaker(pictures);
  const started = initial({ parameters: predictorParameters(config) }, runtime, seed);
  const parameters = runtime.scope(() =>
    Object.fromEntries(
      Object.entries(started).map(([name, tensor]) => {
        const from = viewer[startOf(name, config) ?? ''];
        return [name, map((x) => x, from && sameShape(from.shape, tensor.shape) ? from : tensor) as Tensor];
      }),
    ),
  );
  for (const tensor of Object.values(started)) tensor.dispose();
  return {
    parameters,
    buffers: viewer,
    batches(index) {
      const scenes = Array.from({ length: batch }, (_, at) => make(sceneSeed(seed + 2, index * batch + at)));
      return tensorsOf(runtime, sceneBatch(scenes, config, 0, false), config);
    },
    loss(p, given) {
      const asked = askedOf(given);
      const n = placesOf(asked, config);
      const { frozen, teacher } = config;
      const needed = Math.max(frozen, teacher.layer + 1);
      const seen = blocks(viewer, embedded(viewer, asked, config), n, config, [0, needed]);
      const logits = regionLogits(p, (seen[frozen - 1] as Block).h, n, config);
      return regionLoss(logits, taught(seen, n, config));
    },
  };
}

/** Labels [b, s, side²] by the attention in the model's own blocks, of n places of all views. */
export function taught(own: readonly Block[], n: number, { side, teacher }: ViewerConfig): Tensor {
  const places = side ** 2;
  const seen = attentionTo(own[teacher.layer] as Block, n, places, teacher.heads);
  const least = map(
    (x) => -x,
    max(
      map((x) => -x, seen),
      { axes: [1], keepDims: true },
    ),
  );
  const sinks = map((own, _, { sink }) => (own >= sink ? 1 : 0), least, seen, {
    captured: { sink: SINK / places },
  }) as Tensor;
  return labelsOf(blurred(seen, side), sinks, side);
}

/** Maps [b, s, side²], with the blur that boxes are made from: attention is on a place or two of a garment. */
function blurred(x: Tensor, side: number): Tensor {
  const line = [BLUR, 1, BLUR].map((weight) => weight / (1 + 2 * BLUR));
  const weight = x.runtime.tensor(
    line.flatMap((a) => line.map((b) => a * b)),
    [1, 1, 3, 3],
  );
  return conv(x.reshape([sizeOf(x.shape) / side ** 2, side, side, 1]), weight, { padding: 'same' }).reshape(x.shape);
}

/** A batch on a runtime; `second` and `kept` if it has a second view. */
export function tensorsOf(runtime: Runtime, batch: SceneBatch, { side }: ViewerConfig): Record<string, Tensor> {
  const b = batch.answers.length / ASKED;
  const view = [b, 2 * side, 2 * side, 3];
  const { second } = batch;
  return {
    first: runtime.tensor(batch.first, view),
    ...(second && {
      second: runtime.tensor(second.pixels, view),
      kept: runtime.tensor(Int32Array.from(second.kept), [second.kept.length], 'i32'),
    }),
    words: runtime.tensor(batch.words, [b, QUESTION * ASKED], 'i32'),
    answers: runtime.tensor(batch.answers, [b, ASKED], 'i32'),
    names: runtime.tensor(batch.names, [b, side ** 2], 'i32'),
  };
}

export const askedOf = ({ first, second, kept, words }: Readonly<Record<string, Tensor>>): Asked => ({
  views: [{ pixels: first as Tensor }, ...(second ? [{ pixels: second, kept }] : [])],
  words: words as Tensor,
});

/** Scenes of pictures that were not learned from, the same for all trainings. */
export function unseenScenes(pictures: LabelledPictures, count: number, seed: number): Scene[] {
  checkGarments(pictures);
  const make = sceneMaker(pictures);
  return Array.from({ length: count }, (_, at) => make(sceneSeed(seed + 1000, at)));
}

/** Throws unless there are grey pictures of all garments. */
function checkGarments({ shape, labels }: LabelledPictures): void {
  if (shape[3] !== 1) throw new ParameterError(`pictures must have one channel, got ${shape[3]}`);
  const missing = ANSWERS.findIndex((_, label) => !labels.includes(label));
  const wrong = labels.find((label) => !(label in ANSWERS));
  if (missing >= 0)
    throw new ParameterError(`pictures must have all ten classes of Fashion-MNIST, got no ${ANSWERS[missing]}`);
  if (wrong !== undefined)
    throw new ParameterError(`pictures must have the ten classes of Fashion-MNIST, got a class ${wrong}`);
}
