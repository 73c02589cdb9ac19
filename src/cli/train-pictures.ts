/** Trainings of networks on pictures: what they learn from, what starts them, and how good they become. */
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { Model, Network } from '../models/define';
import { loaderOf } from '../models/load';
import { models } from '../models/registry';
import { asLarge, classLoss } from '../models/vision/losses';
import { type Described, initial, splitBuffers } from '../nn/module';
import { argmax } from '../ops/reduce';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import { sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { formatPercent } from '../text/format';
import { printable } from '../text/printable';
import { type TrainingSettings, warmupCosine } from '../train';
import {
  batchOf,
  type LabelledPictures,
  type Normalisation,
  normalisationOf,
  pictureBatches,
  splitPictures,
} from '../train/pictures';
import { STREET_CLASSES, streets } from '../train/streets';
import type { Weights } from '../weights';
import { parseJson } from './options';
import { type PictureData, readPictures } from './read-pictures';
import { openFile } from './read-tensors';
import { PICTURE_OPTIONS, type PictureOptions, settledOptions, type TrainOptions } from './train-options';
import { hashOf, MOST_VALIDATION_BATCHES, type Plan, parseOptimizer, WARMUP } from './train-plan';

/** One picture in so many is not learned from, and validates. */
const VALIDATES = 20;
/** Pixels by which pictures move at most, over their rows: 2 of 28. */
const SHIFT = 1 / 14;
/** Streets to learn from and to test with, and their extents. */
const STREETS = { learned: 1024, unseen: 128, rows: 64, columns: 128 };
/** Pictures that are tested at once. */
const TESTED = 64;
/** The seed of streets to test with, the same for all trainings. */
const UNSEEN_STREETS = 2 ** 32;

type AnyNetwork = Network<{ readonly x: Tensor }, Readonly<Record<string, Tensor>>>;
type Tensors = Record<string, Tensor>;

export async function planOfPictures(
  runtime: Runtime,
  given: TrainOptions,
  remembered: TrainingSettings,
): Promise<Plan> {
  const options = settledOptions(PICTURE_OPTIONS, given, remembered) as PictureOptions;
  const { steps, batch, seed, every, freeze } = options;
  const model = pictureModel(options.model);
  const data = await dataOf(options);
  const { params, classes, network, heads } = networkOf(model, options, data);
  const optimizer = parseOptimizer(options.optimizer);
  const isGoingOn = Object.keys(remembered).length > 0;
  const start = isGoingOn || options.weights === undefined ? undefined : options.weights;
  const all =
    start === undefined ? initial(network, runtime, seed) : await started(runtime, network, heads, start, seed);
  const { parameters, buffers } = freeze ? headOf(all, heads) : splitBuffers(network, all);
  const { learned, unseen } = splitPictures(data.learned, VALIDATES);
  const scales = forChannels(normalisationOf(learned), params);
  const batches = pictureBatches(learned, { ...scales, batch, seed, augmentation: augmentationOf(options, learned) });
  const onRuntime = ({ x, labels }: ReturnType<typeof batches>) => ({
    x: runtime.fromHost(x),
    labels: runtime.fromHost(labels),
  });
  return {
    title: `${model.name}, learned from ${options.task === 'street' ? 'drawn streets' : printable(options.data as string)}`,
    files: { 'config.json': configOf(model, params, classes, data, scales) },
    steps,
    every,
    parameters,
    buffers,
    optimizer,
    schedule: warmupCosine({ steps, warmup: Math.ceil(WARMUP * steps), floor: 0.01 }),
    batches: (index) => onRuntime(batches(index)),
    ...(unseen.shape[0] > 0 && {
      validate: {
        every,
        count: Math.min(MOST_VALIDATION_BATCHES, Math.ceil(unseen.shape[0] / batch)),
        batches: (index) => onRuntime(batchOf(unseen, numbersFrom(index * batch, batch, unseen), scales)),
      },
    }),
    // Features that are frozen are those of inference: batch norms keep their statistics.
    loss(own, { x, labels }, control) {
      const outputs = network.forward({ x: x as Tensor }, own, freeze ? {} : control);
      return control.training && !freeze && network.loss
        ? network.loss(outputs, labels as Tensor)
        : classLoss(outputs.logits as Tensor, labels as Tensor);
    },
    settings: { ...(options as TrainingSettings), hash: hashOf(data.learned.pixels) },
    unit: 'pictures',
    unitsOfBatch: batch,
    evaluate: (signal) =>
      qualityOf(runtime, network, { ...parameters, ...buffers }, { unseen: data.unseen, scales, classes, signal }),
  };
}

/** @throws {ParameterError} a name that no network on pictures has */
function pictureModel(name: string | undefined): Model {
  const known = models.filter(({ inputs, outputs }) => 'x' in inputs && 'logits' in outputs);
  const found = known.find((each) => each.name === name);
  if (found) return found;
  throw new ParameterError(`--model must be one of ${known.map((each) => each.name).join(', ')}, got ${show(name)}`);
}

async function dataOf({ task, data, size, seed }: PictureOptions): Promise<PictureData> {
  if (task === 'street') {
    if (data !== undefined) throw new ParameterError('--data must be left out: streets are drawn');
    const { rows, columns, ...counts } = STREETS;
    return {
      learned: streets({ count: counts.learned, rows, columns, seed }),
      unseen: streets({ count: counts.unseen, rows, columns, seed: UNSEEN_STREETS }),
      classes: STREET_CLASSES,
    };
  }
  if (data === undefined) throw new ParameterError('--data must name a folder of pictures to learn from');
  return readPictures(data, size?.split('x').map(Number));
}

/** The network with a class for each of the data's, and the names of the parameters that are made for them. */
function networkOf(model: Model, { params: text, classes: asked }: PictureOptions, data: PictureData) {
  const given = parseJson(text);
  if (!isRecord(given)) throw new ParameterError(`--params must be a JSON object, got '${text}'`);
  const found = 1 + data.learned.labels.reduce((most, label) => Math.max(most, label), 0);
  const classes = asked ?? (given.classes as number | undefined) ?? data.classes?.length ?? found;
  if (classes < found) throw new ParameterError(`--classes must be at least the ${found} of the data, got ${classes}`);
  const params = { ...given, classes };
  const of = (count: number) =>
    model.network(model.parse({ ...given, classes: count } as never)) as unknown as AnyNetwork;
  const [network, other] = [of(classes), of(classes + 1)];
  const heads = Object.keys(network.parameters).filter(
    (name) => !sameShape(shapeOf(network.parameters, name), shapeOf(other.parameters, name)),
  );
  if (heads.length === 0) throw new ParameterError(`--params must make a network that tells classes, got '${text}'`);
  return { params, classes, network, heads };
}

const shapeOf = (parameters: Described, name: string) => (parameters[name] as Described[string]).shape;

/** What a file gives, and new heads where it has none of their shapes. */
async function started(
  runtime: Runtime,
  network: AnyNetwork,
  heads: readonly string[],
  path: string,
  seed: number,
): Promise<Tensors> {
  await using file = await openFile(path);
  const isNew = (name: string) => {
    const shape = shapeInFile(file, name);
    if (heads.includes(name)) return !shape || !sameShape(shape, shapeOf(network.parameters, name));
    return !shape && (network.ignored?.test(name) ?? false);
  };
  const names = Object.keys(network.parameters).filter(isNew);
  const without = (form: Described) =>
    Object.fromEntries(Object.entries(form).filter(([name]) => !names.includes(name)));
  const load = loaderOf({
    ...network,
    parameters: without(network.parameters),
    otherForms: network.otherForms?.map(without),
    ignored: new RegExp(
      [network.ignored?.source, ...heads.map((name) => `^(module\\.|model\\.)?${name.replaceAll('.', '\\.')}$`)]
        .filter(Boolean)
        .join('|'),
    ),
  });
  const loaded = await load(runtime, file);
  const fresh = initial({ parameters: network.parameters }, runtime, seed);
  for (const [name, tensor] of Object.entries(fresh)) if (!names.includes(name)) tensor.dispose();
  return { ...loaded, ...Object.fromEntries(names.map((name) => [name, fresh[name] as Tensor])) };
}

/** The shape of a parameter in a file, whichever prefix its name has there. */
const shapeInFile = ({ tensors }: Weights, name: string) =>
  ['', 'module.', 'model.', 'parameters.'].map((prefix) => tensors.get(`${prefix}${name}`)).find(Boolean)?.shape;

/** Heads as what is trained, and all else as what is kept. */
function headOf(all: Tensors, heads: readonly string[]): { parameters: Tensors; buffers: Tensors } {
  const those = (isHead: boolean) =>
    Object.fromEntries(Object.entries(all).filter(([name]) => heads.includes(name) === isHead));
  return { parameters: those(true), buffers: those(false) };
}

/** Channels that a model wants: grey ones are repeated. */
function forChannels({ mean, std }: Normalisation, params: Readonly<Record<string, unknown>>): Normalisation {
  const { channels = 3 } = params as { channels?: number };
  const repeated = (values: readonly number[]) =>
    values.length === 1 ? new Array<number>(channels).fill(values[0] as number) : values;
  return { mean: repeated(mean), std: repeated(std) };
}

function augmentationOf({ augment, task }: PictureOptions, { shape: [, rows] }: LabelledPictures) {
  const changes = augment.split(',');
  const isStreet = task === 'street';
  return {
    shift: changes.includes('shift') && !isStreet ? Math.max(1, Math.round(SHIFT * rows)) : 0,
    flip: changes.includes('flip') || isStreet,
  };
}

/** What is to be known of the weights to use them, under timm's names where it has one. */
function configOf(
  { name }: Model,
  params: object,
  classes: number,
  { learned, classes: names }: PictureData,
  { mean, std }: Normalisation,
) {
  const [, rows, columns] = learned.shape;
  return {
    architecture: name,
    num_classes: classes,
    ...(names && { label_names: names }),
    params,
    pretrained_cfg: { input_size: [mean.length, rows, columns], mean, std, crop_pct: 1, interpolation: 'bilinear' },
  };
}

const numbersFrom = (from: number, count: number, { shape }: LabelledPictures) =>
  Array.from({ length: Math.min(count, shape[0] - from) }, (_, at) => from + at);

interface Tested {
  readonly unseen: LabelledPictures;
  readonly scales: Normalisation;
  readonly classes: number;
  readonly signal: AbortSignal;
}

/** How often it is right on pictures that it has not seen, of places as the mean over classes of intersection over union. */
async function qualityOf(
  runtime: Runtime,
  network: AnyNetwork,
  parameters: Tensors,
  { unseen, scales, classes, signal }: Tested,
) {
  const folded = runtime.scope(() => network.fold?.(parameters) ?? parameters);
  const counts = new Float64Array(classes * classes);
  for (let at = 0; at < unseen.shape[0]; at += TESTED) {
    signal.throwIfAborted();
    const { x, labels } = batchOf(unseen, numbersFrom(at, TESTED, unseen), scales);
    using tensor = runtime.fromHost(x as HostTensor<'f32'>);
    using found = runtime.scope(() => {
      const { logits } = network.forward({ x: tensor }, folded, {});
      return argmax(asLarge(logits as Tensor, labels as unknown as Tensor), { axes: [-1] });
    });
    (await found.read()).forEach((guess, place) => {
      const index = (labels.data[place] as number) * classes + guess;
      counts[index] = (counts[index] as number) + 1;
    });
  }
  return unseen.labels.length === unseen.shape[0] ? accuracyOf(counts, classes) : meanIouOf(counts, classes);
}

/** With the interval of 95% for so many pictures (Wilson 1927). */
function accuracyOf(counts: Float64Array, classes: number) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const accuracy = diagonal(counts, classes).reduce((sum, count) => sum + count, 0) / total;
  const z = 1.96;
  const middle = (accuracy + z ** 2 / (2 * total)) / (1 + z ** 2 / total);
  const half = (z / (1 + z ** 2 / total)) * Math.sqrt((accuracy * (1 - accuracy)) / total + (z / (2 * total)) ** 2);
  const interval = [middle - half, middle + half] as const;
  const [low, high] = interval.map((each) => formatPercent(each));
  return {
    text: `Right on ${formatPercent(accuracy)} of ${total.toLocaleString('en')} pictures that it has not seen (${low} to ${high})`,
    log: { pictures: total, accuracy, interval },
  };
}

/** Classes that the pictures do not have are left out. */
function meanIouOf(counts: Float64Array, classes: number) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const right = diagonal(counts, classes);
  const shares = right.flatMap((both, own) => {
    const either = Array.from({ length: classes }, (_, other) =>
      other === own ? both : (counts[own * classes + other] as number) + (counts[other * classes + own] as number),
    ).reduce((sum, count) => sum + count, 0);
    return either === 0 ? [] : [both / either];
  });
  const meanIou = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  const accuracy = right.reduce((sum, count) => sum + count, 0) / total;
  return {
    text: `Mean intersection over union ${formatPercent(meanIou)}, right on ${formatPercent(accuracy)} of the places of pictures that it has not seen`,
    log: { meanIou, accuracy, classes: shares },
  };
}

const diagonal = (counts: Float64Array, classes: number): number[] =>
  Array.from({ length: classes }, (_, at) => counts[at * classes + at] as number);
