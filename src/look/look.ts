/** What a network on pictures makes of one: its classes, and what it looked at. */
import { isRecord } from '../check';
import { ParameterError } from '../errors';
import type { CreatedModel, Model } from '../models/define';
import type { biformerNetwork } from '../models/vision/biformer';
import type { Described, Parameters } from '../nn/module';
import { argmax } from '../ops/reduce';
import { resize } from '../ops/resize';
import { CITYSCAPES, imageNetNames, type Picture, type PictureSettings } from '../pictures';
import { framed, normalized } from '../pictures/preprocess';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';
import { atMost, type Colour, magnified } from './paint';
import {
  type DeitNetwork,
  receptiveField,
  routeSights,
  routesOf,
  type Sight,
  segmentSight,
  tokenSights,
} from './sights';

/** A class with its share of the picture, or its probability. */
interface NamedShare {
  readonly name: string;
  readonly share: number;
  /** In which its places are shown. */
  readonly colour?: Colour;
}

export interface Look {
  /** Rows and columns that the network was given. */
  readonly extents: readonly [rows: number, columns: number];
  /** Those of the largest share, the largest first. */
  readonly classes: readonly NamedShare[];
  readonly sights: readonly Sight[];
}

export interface LookOptions extends Pick<Control, 'signal'> {
  readonly params: Readonly<Record<string, unknown>>;
  readonly parameters: Parameters;
  /** Default: as the model takes pictures. */
  readonly settings?: PictureSettings | undefined;
  /** What the classes are called; default: as ImageNet has it for 1000, as Cityscapes for 19 classes of places, else by numbers. */
  readonly names?: readonly string[] | undefined;
}

type AnyNetwork = CreatedModel<{ readonly x: Tensor }, Readonly<Record<string, Tensor | undefined>>>;
interface Seen extends LookOptions {
  readonly runtime: Runtime;
  readonly model: Model;
  readonly x: Tensor;
  /** What the network was given, large enough to be looked at. */
  readonly shown: Picture;
}

/** Pixels of a side of a picture whose gradient is computed. */
const MOST_FIELD = 512;
const MOST_CLASSES = 5;

/** @throws {ParameterError} a model that takes no pictures */
export async function lookAt(runtime: Runtime, model: Model, picture: Picture, options: LookOptions): Promise<Look> {
  const created = model.create(options.params as never) as unknown as AnyNetwork;
  const settings = options.settings ?? created.pictures;
  if (!settings) throw new ParameterError(`${model.name} with these params takes no pictures`);
  const frame = framed(settings.size === undefined ? atMost(picture) : picture, settings);
  const shown = magnified(frame);
  using x = runtime.fromHost(normalized(frame, settings));
  const { signal } = options;
  const { logits, ...others } = await created.infer({ x }, options.parameters, { signal });
  for (const each of Object.values(others)) each?.dispose();
  if (!logits) throw new ParameterError(`${model.name} with these params tells no classes`);
  using scores = logits as Tensor<'f32'>;
  const seen = { ...options, runtime, model, x, shown };
  const { classes, sights } = await (scores.rank === 4 ? placesOf(scores, seen) : classesOf(scores, seen));
  const looked = [...sights, ...((await OWN_SIGHTS[model.name]?.(seen)) ?? [])];
  signal?.throwIfAborted();
  const field = await fieldOf(seen, framed(atMost(frame, MOST_FIELD), { ...settings, crop: 1 }), settings);
  const given = { name: 'seen', title: 'What the network was given', note: givenNote(picture, frame), picture: shown };
  return { extents: [frame.height, frame.width], classes, sights: [given, ...looked, field] };
}

const givenNote = (picture: Picture, { width, height }: Picture) =>
  `${width} x ${height} pixels, from a picture of ${picture.width} x ${picture.height}.`;

/** The sights that one kind of network has alone. */
const OWN_SIGHTS: Readonly<Record<string, (seen: Seen) => Promise<Sight[]>>> = {
  async deit({ model, params, parameters, x, shown, signal }) {
    const network = model.network(model.parse(params as never)) as unknown as DeitNetwork;
    const glances = await network.glances({ x }, parameters, { signal });
    const [, places] = (network.parameters.pos_embed as Described[string]).shape;
    return tokenSights(glances, Math.sqrt((places as number) - 1), shown);
  },
  async biformer({ model, params, parameters, x, shown }) {
    const network = model.network(model.parse(params as never)) as unknown as ReturnType<typeof biformerNetwork>;
    return routeSights(await routesOf(network, parameters, x), shown);
  },
};

async function fieldOf({ runtime, model, params, parameters }: Seen, frame: Picture, settings: PictureSettings) {
  const { prune: _, ...others } = params;
  const featured = model.create({ ...others, features: true } as never) as unknown as AnyNetwork;
  using x = runtime.fromHost(normalized(frame, settings));
  const sight = await receptiveField(featured, parameters, x);
  return { ...sight, picture: magnified(sight.picture) };
}

async function classesOf(logits: Tensor<'f32'>, { names }: Seen) {
  const values = [...(await logits.read())];
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const all = powers.reduce((sum, each) => sum + each, 0);
  const known = names ?? (values.length === 1000 ? await imageNetNames() : []);
  return {
    classes: largest(powers.map((each, at) => ({ name: known[at] ?? `class ${at}`, share: each / all }))),
    sights: [],
  };
}

async function placesOf(logits: Tensor<'f32'>, { names, shown, x }: Seen) {
  const count = logits.shape[1] as number;
  const [, , rows, columns] = x.shape as [number, number, number, number];
  using likeliest = logits.runtime.scope(() =>
    argmax(resize(logits, { size: [rows, columns], channelsFirst: true }), { axes: [1] }),
  );
  const classes = await likeliest.read();
  const isCityscapes = count === CITYSCAPES.length && !names;
  const colourOf = (index: number) => (isCityscapes ? cityColour(index) : colourAt(index));
  const shares = new Array<number>(count).fill(0);
  for (const index of classes) shares[index] = (shares[index] as number) + 1 / classes.length;
  const nameOf = (index: number) =>
    names?.[index] ?? (isCityscapes ? CITYSCAPES[index]?.[0] : undefined) ?? `class ${index}`;
  const all = shares.map((share, index) => ({ name: nameOf(index), share, colour: colourOf(index) }));
  return {
    classes: largest(all, count).filter(({ share }) => share > 0),
    sights: [segmentSight(classes, [rows, columns], colourOf, shown)],
  };
}

const largest = (classes: readonly NamedShare[], count = MOST_CLASSES): NamedShare[] =>
  [...classes].sort((a, b) => b.share - a.share).slice(0, count);

const cityColour = (index: number): Colour =>
  (CITYSCAPES[index] as (typeof CITYSCAPES)[number])[1].map((value) => value / 255) as unknown as Colour;

/** Colours that differ from their neighbours', by turns of the golden angle. */
function colourAt(index: number): Colour {
  const hue = (index * 0.618034) % 1;
  return [0, 1 / 3, 2 / 3].map((turn) => 0.5 + 0.45 * Math.cos(2 * Math.PI * (hue - turn))) as unknown as Colour;
}

/**
 * What a `config.json` beside weights says, as timm writes it: params of the model (under `params`, and `num_classes`), how pictures
 * are taken (`pretrained_cfg`) and the names of the classes (`label_names`).
 */
export function lookConfig(config: Readonly<Record<string, unknown>> | undefined): Partial<LookOptions> {
  if (!config) return {};
  const { params, num_classes: classes, label_names: names, pretrained_cfg: taken } = config;
  return {
    params: { ...(typeof classes === 'number' && { classes }), ...(isRecord(params) && params) },
    ...(Array.isArray(names) && { names: names.map(String) }),
    ...(isRecord(taken) && { settings: settingsIn(taken) }),
  };
}

function settingsIn(taken: Readonly<Record<string, unknown>>): PictureSettings | undefined {
  const { input_size: size, mean, std, crop_pct: crop = 1, interpolation = 'bicubic' } = taken;
  if (![size, mean, std].every(Array.isArray)) return undefined;
  const [, rows, columns] = size as readonly number[];
  return {
    // Pictures that are no squares are those of places, which are taken whole.
    ...(rows === columns ? { size: rows, crop: crop as number } : { multipleOf: 8 }),
    interpolation: interpolation as PictureSettings['interpolation'],
    mean: mean as readonly number[],
    std: std as readonly number[],
  };
}
