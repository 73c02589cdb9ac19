/** Trainings of a model of pictures and words, and of its predictor of regions. */
import { isRecord } from '../check';
import { ParameterError } from '../errors';
import { loaderOf } from '../models/load';
import type { Viewer } from '../pipelines/regions';
import { regionsQuality } from '../pipelines/regions/quality';
import { configOf } from '../pipelines/regions/trained';
import { predictorTraining, viewerTraining } from '../pipelines/regions/training';
import { viewerConfig, viewerParameters } from '../pipelines/regions/viewer';
import type { Runtime } from '../runtime/runtime';
import { formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { type TrainingSettings, warmupCosine } from '../train';
import type { LabelledPictures } from '../train/pictures';
import { parseJson } from './options';
import { readPictures } from './read-pictures';
import { openFile } from './read-tensors';
import { PICTURE_OPTIONS, settledOptions, type TrainOptions } from './train-options';
import { hashOf, type Plan, parseOptimizer, WARMUP } from './train-plan';

const REGION_OPTIONS = (({ model, classes, freeze, augment, size, ...own }) => own)(PICTURE_OPTIONS);

/** A training of the model itself or, with the weights of one, of its predictor. */
export async function planOfRegions(
  runtime: Runtime,
  given: TrainOptions,
  remembered: TrainingSettings,
): Promise<Plan> {
  const options = settledOptions(REGION_OPTIONS, given, remembered);
  const { data, weights, batch, steps, seed, every, optimizer } = options;
  if (data === undefined) throw new ParameterError('--data must name a folder with Fashion-MNIST');
  const { learned, unseen } = await readPictures(data);
  const asked = parseJson(options.params);
  if (!isRecord(asked)) throw new ParameterError(`--params must be a JSON object, got '${options.params}'`);
  await using file = weights === undefined ? undefined : await openFile(weights);
  const config = viewerConfig({ ...(file && configOf(file)), ...asked });
  const own = { config, pictures: learned, seed, batch, steps };
  const viewer = file && (await loaderOf({ parameters: viewerParameters(config), ignored: /^twig_/ })(runtime, file));
  const training = viewer ? predictorTraining(runtime, viewer, own) : viewerTraining(runtime, own);
  const { parameters, buffers } = training;
  return {
    title: `${viewer ? 'A predictor of regions' : 'A model of pictures and words'}, learned from ${printable(data)}`,
    files: { 'config.json': { architecture: 'viewer', ...config } },
    steps,
    every,
    parameters,
    buffers,
    optimizer: parseOptimizer(optimizer),
    schedule: warmupCosine({ steps, warmup: Math.ceil(WARMUP * steps), floor: 0.01 }),
    batches: training.batches,
    loss: training.loss,
    settings: { ...(options as TrainingSettings), hash: hashOf(learned.pixels) },
    unit: 'pictures',
    unitsOfBatch: batch,
    evaluate: (signal) => qualityOf(runtime, { config, parameters: { ...parameters, ...buffers } }, unseen, signal),
  };
}

/** Scenes of each seed that it is tested on. */
const SCENES = 16;
const SAID = {
  before: 'right answers before the second look',
  after: 'after it',
  atTruth: 'after one at the true box',
  attention: 'average precision inside the true box of its attention',
  predictor: 'of the predictor',
  found: 'boxes with all of the garment',
} as const;

async function qualityOf(runtime: Runtime, viewer: Viewer, unseen: LabelledPictures, signal: AbortSignal) {
  const { questions, figures } = await regionsQuality(runtime, viewer, unseen, { scenes: SCENES, signal });
  const told = Object.entries(SAID).flatMap(([name, words]) => {
    const figure = figures[name as keyof typeof SAID];
    return figure ? [`${words} ${formatPercent(figure.value)} ± ${formatPercent(figure.high - figure.value)}`] : [];
  });
  return {
    text: `Of ${questions} questions about garments that it has not seen: ${told.join(', ')}`,
    log: { questions, figures },
  };
}
