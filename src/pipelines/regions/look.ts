/**
 * A question about a picture, answered twice: after one look at all of it, and after another at the regions that the predictor found.
 * Source: Shi et al. 2025, arXiv 2509.16944, and the authors' code: boxes, masked upscaling, and where new tokens go.
 */
import { checkChoice, checkKnown, checkOptions, checkRecord, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { roiBoxes } from '../../methods/pipelines/roi-boxes';
import { boxesOf, placesAbove } from '../../methods/pipelines/roi-boxes/boxes';
import { checkTensors } from '../../ops/check';
import type { Picture } from '../../pictures';
import { checkPicture } from '../../pictures/preprocess';
import { Runtime } from '../../runtime/runtime';
import type { Tensor } from '../../tensor/tensor';
import { predictorParameters, regionLogits } from './predictor';
import {
  type Asked,
  answered,
  attentionTo,
  type Block,
  placesOf,
  type View,
  type ViewerConfig,
  viewerConfig,
  viewerParameters,
} from './viewer';
import { cropped, keptPlaces, type PlaceBox, type SourceBox, squared, toSource, viewOf } from './views';
import { ANSWERS, parseQuestion } from './words';

/** A model of pictures and words, with its predictor of regions. */
export interface Viewer {
  readonly config: ViewerConfig;
  readonly parameters: Readonly<Record<string, Tensor>>;
}

export interface Answer {
  readonly label: number;
  readonly name: string;
  readonly probability: number;
}

/** What was looked at again: a box of the picture, and its places that counted, all of them if undefined. */
export interface SecondLook {
  readonly box: PlaceBox;
  readonly source: SourceBox;
  readonly kept: readonly number[] | undefined;
}

export interface RegionsLook {
  /** All answers, the likeliest first; `after` is undefined where nothing was looked at again. */
  readonly before: readonly Answer[];
  readonly after: readonly Answer[] | undefined;
  /** How much the first answer attends to each place, and the predictor's logits, [side²], if the model has one. */
  readonly attention: Float32Array;
  readonly map: Float32Array | undefined;
  /** Boxes of the regions that were found, in places of the padded square and in pixels of the picture. */
  readonly boxes: readonly PlaceBox[];
  readonly sources: readonly SourceBox[];
  readonly second: readonly SecondLook[];
}

export const UPSCALING = ['masked', 'boxes'] as const;

export interface RegionsOptions {
  /** Places above it are of a region; below 0: above minus this share of the largest. Default 0.15. */
  readonly threshold?: number | undefined;
  /** Several regions become one view that leaves out other places (`masked`, default), or a view of each box. */
  readonly upscaling?: (typeof UPSCALING)[number] | undefined;
  /** With more boxes than this nothing is looked at again, unless masked; default 2. */
  readonly mostBoxes?: number | undefined;
}

/** The share of places that a region may have: 225 of 24 x 24. */
const MAXIMUM_AREA = 225 / 576;

/**
 * Answers a question about a picture, such as 'which red shoe', before and after a second look.
 *
 * @throws {ParameterError} a question of unknown words, a model without a predictor, a picture that is none, options out of range
 */
export async function lookTwice(
  runtime: Runtime,
  viewer: Viewer,
  picture: Picture,
  question: string,
  options: RegionsOptions = {},
): Promise<RegionsLook> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkViewer(viewer);
  checkPicture(picture);
  const words = parseQuestion(question);
  checkOptions('lookTwice', options, ['threshold', 'upscaling', 'mostBoxes']);
  const { upscaling = 'masked', mostBoxes = 2 } = options;
  checkChoice('upscaling', upscaling, UPSCALING);
  checkWhole('mostBoxes', mostBoxes, 1);
  const [looked] = await lookForRegions(runtime, viewer, picture, [{ words }], options);
  return looked as RegionsLook;
}

/** Throws unless it is a model with its predictor. */
function checkViewer(viewer: Viewer): void {
  checkKnown('viewer', viewer, ['config', 'parameters'], (name) => `viewer has no '${name}'`);
  const config = viewerConfig(viewer.config as unknown as Readonly<Record<string, unknown>>, 'config of viewer');
  checkRecord('parameters of viewer', viewer.parameters);
  checkTensors(viewer.parameters);
  const needed = Object.keys({ ...viewerParameters(config), ...predictorParameters(config) });
  const missing = needed.find((name) => viewer.parameters[name] === undefined);
  if (missing !== undefined)
    throw new ParameterError(`parameters of viewer must have '${missing}': take what loadViewer gives`);
}

/** A question by its tokens, and perhaps boxes in the place of those that the predictor finds. */
interface RegionsQuestion {
  readonly words: readonly number[];
  readonly boxes?: readonly PlaceBox[] | undefined;
}

/** The same for several questions, which share the first look. */
export async function lookForRegions(
  runtime: Runtime,
  viewer: Viewer,
  picture: Picture,
  questions: readonly RegionsQuestion[],
  options: RegionsOptions = {},
): Promise<RegionsLook[]> {
  const { side } = viewer.config;
  const first = viewOf(squared(picture), viewer.config);
  const maximumArea = Math.floor(MAXIMUM_AREA * side ** 2);
  const settings = roiBoxes.parse({ threshold: options.threshold, maximumArea });
  const seen = await firstLook(runtime, viewer, first, questions);
  const found: RegionsLook[] = [];
  for (const [at, { words, boxes: given }] of questions.entries()) {
    const { logits, attention, map } = seen[at] as FirstLook;
    const wide = Float64Array.from(map ?? []);
    const boxes = given ?? (map ? boxesOf(wide, side, side, settings) : []);
    const places = map && !given ? new Set(placesAbove(wide, side, side, settings)) : undefined;
    const second = secondLooks(boxes, places, picture, side, options);
    const again = second.length > 0 && (await secondLook(runtime, viewer, { picture, first, second }, words));
    found.push({
      before: answersOf(logits),
      after: again ? answersOf(again) : undefined,
      attention,
      map,
      boxes,
      sources: boxes.flatMap((box) => toSource(box, picture, side) ?? []),
      second,
    });
  }
  return found;
}

/** What to look at again: each box, or all regions in one, of which other places are left out. */
function secondLooks(
  boxes: readonly PlaceBox[],
  places: ReadonlySet<number> | undefined,
  picture: Picture,
  side: number,
  { upscaling = 'masked', mostBoxes = 2 }: RegionsOptions,
): SecondLook[] {
  const look = (box: PlaceBox, kept?: readonly number[]) => {
    const source = toSource(box, picture, side);
    return source ? [{ box, source, kept }] : [];
  };
  if (upscaling === 'masked' && places && boxes.length > 1) {
    const [xs, ys] = [[...places].map((at) => at % side), [...places].map((at) => Math.floor(at / side))];
    const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1] as const;
    return look(
      box,
      keptPlaces((x, y) => places.has(y * side + x), box, side),
    );
  }
  return boxes.length > mostBoxes ? [] : boxes.flatMap((box) => look(box));
}

/** What the first look gives for one question. */
interface FirstLook extends Pick<RegionsLook, 'attention' | 'map'> {
  readonly logits: Float32Array;
}

async function firstLook(
  runtime: Runtime,
  { config, parameters }: Viewer,
  first: Float32Array,
  questions: readonly RegionsQuestion[],
): Promise<FirstLook[]> {
  const words = questions.flatMap((question) => question.words);
  const results = runtime.scope(() => {
    const asked = tensorsOf(runtime, config, [{ pixels: first }], words);
    const n = placesOf(asked, config);
    const { logits, blocks } = answered(parameters, asked, config);
    const { layer, heads } = config.teacher;
    return {
      logits,
      attention: attentionTo(blocks[layer] as Block, n, config.side ** 2, heads),
      ...('twig_norm.weight' in parameters && {
        map: regionLogits(parameters, (blocks[config.frozen - 1] as Block).h, n, config),
      }),
    };
  });
  try {
    const [logits, attention] = [await results.logits.read(), await results.attention.read()];
    const map = await results.map?.read();
    const of = (all: Float32Array, at: number) =>
      all.slice((at * all.length) / questions.length, ((at + 1) * all.length) / questions.length);
    return questions.map((_, at) => ({
      logits: of(logits, at),
      attention: of(attention, at),
      map: map && of(map, at),
    }));
  } finally {
    for (const tensor of Object.values(results)) tensor?.dispose();
  }
}

interface Looked {
  readonly picture: Picture;
  readonly first: Float32Array;
  readonly second: readonly SecondLook[];
}

/** From the start, with the places of later views behind those of the first. */
async function secondLook(
  runtime: Runtime,
  { config, parameters }: Viewer,
  { picture, first, second }: Looked,
  words: readonly number[],
): Promise<Float32Array> {
  const later = second.map(({ source, kept }) => ({ pixels: viewOf(cropped(picture, source), config), kept }));
  using logits = runtime.scope(
    () => answered(parameters, tensorsOf(runtime, config, [{ pixels: first }, ...later], words), config).logits,
  );
  return await logits.read();
}

interface HostView {
  readonly pixels: Float32Array;
  readonly kept?: readonly number[] | undefined;
}

function tensorsOf(
  runtime: Runtime,
  { side }: ViewerConfig,
  views: readonly HostView[],
  words: readonly number[],
): Asked {
  return {
    views: views.map(
      ({ pixels, kept }): View => ({
        pixels: runtime.tensor(pixels, [1, 2 * side, 2 * side, 3]),
        kept: kept && kept.length > 0 ? runtime.tensor(Int32Array.from(kept), [kept.length], 'i32') : undefined,
      }),
    ),
    words: runtime.tensor(Int32Array.from(words), [1, words.length], 'i32'),
  };
}

/** The likeliest first. */
function answersOf(logits: Float32Array): Answer[] {
  const most = Math.max(...logits);
  const total = logits.reduce((sum, each) => sum + Math.exp(each - most), 0);
  return ANSWERS.map((name, label) => ({
    label,
    name,
    probability: Math.exp((logits[label] as number) - most) / total,
  })).sort((a, b) => b.probability - a.probability);
}
