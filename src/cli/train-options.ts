/** The options of `saccade train` that determine a training: flags, defaults, and what checkpoints remember of them. */
import { InvalidArgumentError } from 'commander';
import { show } from '../check';
import { ParseError } from '../errors';
import { MOST_HEADS, MOST_LAYERS } from '../models/decoder/architectures/settings';
import type { RuntimeOptions } from '../ops/create-runtime';
import type { TrainingSettings } from '../train';
import { METHOD_OR_MODULE } from './methods';
import { extents, paramsOption, wholeNumber } from './options';

export interface TrainOptions
  extends Pick<RuntimeOptions, 'backend' | 'threads'>,
    Partial<TextOptions & PictureOptions> {
  readonly config?: string;
  readonly tokens?: string;
  readonly out: string;
  readonly resume?: true;
}

/** An option: flags, help, default value, and the parser of its value. */
const option = <T>(flags: string, help: string, preset: T, take: (text: string) => T) => ({
  flags,
  help,
  preset,
  take,
});

/** Options that determine a training on a text; its checkpoints remember them. */
export const TEXT_OPTIONS = {
  method: option(
    '--method <names>',
    `the attention, or several by commas, which layers take in turn, each ${METHOD_OR_MODULE}; default: attention`,
    'attention',
    String,
  ),
  params: option(paramsOption().flags, paramsOption().description, '{}', String),
  text: option<string | undefined>('--text <file>', 'text to learn, in UTF-8; default: Moby Dick', undefined, String),
  vocabulary: option(
    '--vocabulary <size>',
    "'characters', or how many byte-pair tokens; default: characters",
    'characters',
    parseVocabulary,
  ),
  steps: option('--steps <count>', 'batches to learn from; default: 1000, of pictures 2000', 1000, wholeNumber(1, 1e9)),
  length: option('--length <tokens>', 'tokens that it sees at once; default: 128', 128, wholeNumber(1, 2 ** 20)),
  context: option<number | undefined>(
    '--context <tokens>',
    'that it sees at once in the last tenth of the steps, of fewer texts at a time; default: as --length',
    undefined,
    wholeNumber(1, 2 ** 20),
  ),
  batch: option(
    '--batch <rows>',
    'texts of that length in a batch, or pictures; default: 16, of pictures 64',
    16,
    wholeNumber(1, 2 ** 20),
  ),
  from: option<string | undefined>(
    '--from <model>',
    "a model to go on from, with its vocabulary, layers, width and heads: a folder, or 'default' for the default model",
    undefined,
    String,
  ),
  distill: option<string | undefined>(
    '--distill <model>',
    'the same, and its attention maps, layers and logits are what the new attention learns to give',
    undefined,
    String,
  ),
  jump: option(
    '--jump <positions>',
    'with landmarks: positions jump by up to so many less one after each, for texts longer than --length; default: 1, no jumps',
    1,
    wholeNumber(1, 2 ** 16),
  ),
  layers: option('--layers <count>', 'default: 4', 4, wholeNumber(1, MOST_LAYERS)),
  width: option('--width <numbers>', 'of each token in a layer; default: 128', 128, wholeNumber(1, 2 ** 16)),
  heads: option('--heads <count>', 'of each layer; default: 4', 4, wholeNumber(1, MOST_HEADS)),
  seed: option('--seed <number>', 'of weights, order and samples; default: 0', 0, wholeNumber(0, 2 ** 31)),
  optimizer: option(
    '--optimizer <json>',
    'adamw, sgd or muon with its numbers, and clip',
    '{"name": "adamw", "learningRate": 0.003, "weightDecay": 0.1, "clip": 1}',
    String,
  ),
  every: option('--every <steps>', 'between checkpoints; default: 100, of pictures 500', 100, wholeNumber(1, 1e9)),
};
export type TextOptions = Presets<typeof TEXT_OPTIONS>;

export const OF_FILES = ['config', 'weights', 'tokens'] as const;
/** Options that determine a training on pictures. */
export const PICTURE_OPTIONS = {
  model: option<string | undefined>(
    '--model <name>',
    'a network on pictures to train, such as van, with --params of its own',
    undefined,
    String,
  ),
  data: option<string | undefined>(
    '--data <folder>',
    'pictures with classes: the four files of MNIST, safetensors, or a folder of pictures for each class',
    undefined,
    String,
  ),
  task: option(
    '--task <name>',
    "'pictures': the classes of those in --data, 'street': those of the places of drawn streets, or 'regions': answers about scenes of garments and, with --weights of that, where it looks; default: pictures",
    'pictures',
    oneOf('pictures', 'street', 'regions'),
  ),
  weights: option<string | undefined>('--weights <file>', 'what it starts from; default: random', undefined, String),
  classes: option<number | undefined>(
    '--classes <count>',
    'classes to tell apart; default: those of the data',
    undefined,
    wholeNumber(2, 1e6),
  ),
  freeze: option<string | undefined>(
    '--freeze <part>',
    "'features': only the head learns, on features that stay; default: all learns",
    undefined,
    oneOf('features'),
  ),
  augment: option(
    '--augment <changes>',
    "of pictures, drawn anew each time: 'shift', 'flip', 'shift,flip' or 'none'; default: shift",
    'shift',
    oneOf('shift', 'flip', 'shift,flip', 'none'),
  ),
  size: option<string | undefined>(
    '--size <extents>',
    'that files of pictures are cropped and scaled to, such as 64x64; default: that of the first',
    undefined,
    (text) => {
      if (extents(1, 4096)(text).length === 2) return text;
      throw new InvalidArgumentError('It must be rows and columns, such as 64x64.');
    },
  ),
  params: TEXT_OPTIONS.params,
  steps: { ...TEXT_OPTIONS.steps, preset: 2000 },
  batch: { ...TEXT_OPTIONS.batch, preset: 64 },
  seed: TEXT_OPTIONS.seed,
  optimizer: {
    ...TEXT_OPTIONS.optimizer,
    preset: '{"name": "adamw", "learningRate": 0.003, "weightDecay": 0.05, "clip": 1}',
  },
  every: { ...TEXT_OPTIONS.every, preset: 500 },
};
export type PictureOptions = Presets<typeof PICTURE_OPTIONS>;

function oneOf(...names: string[]): (text: string) => string {
  return (text) => {
    if (names.includes(text)) return text;
    throw new InvalidArgumentError(`It must be ${names.join(' or ')}.`);
  };
}

function parseVocabulary(text: string): string {
  const size = Number(text);
  if (text === 'characters' || (/^\d+$/.test(text) && size >= 256 && size <= 65_536)) return text;
  throw new InvalidArgumentError("It must be 'characters' or a whole number from 256 to 65536.");
}

type OptionTable = Readonly<Record<string, ReturnType<typeof option<unknown>>>>;
type Presets<T extends OptionTable> = { readonly [Name in keyof T]: T[Name]['preset'] };

/** The options of a training: as given, else as a checkpoint remembers them, else their presets. */
export function settledOptions<const T extends OptionTable>(
  table: T,
  given: object,
  remembered: TrainingSettings,
): Presets<T> {
  checkRemembered(table, remembered);
  const from: Readonly<Record<string, unknown>> = { ...remembered, ...given };
  const values = Object.entries(table).map(([name, { preset }]) => [name, from[name] ?? preset] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined)) as Presets<T>;
}

/** Throws unless the options of a checkpoint could have been given. */
function checkRemembered(table: OptionTable, settings: TrainingSettings): void {
  for (const [name, { take }] of Object.entries(table)) {
    const value = settings[name];
    if (value === undefined) continue;
    try {
      if (take(String(value)) === value) continue;
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
    }
    throw new ParseError(`checkpoint: its ${name} cannot be ${show(value)}: the file was altered`);
  }
}

/** Names of options that only trainings on texts take, and those that only trainings on pictures do. */
export const ONLY_OF_TEXTS = Object.keys(TEXT_OPTIONS).filter((name) => !Object.hasOwn(PICTURE_OPTIONS, name));
export const ONLY_OF_PICTURES = Object.keys(PICTURE_OPTIONS).filter(
  (name) => name !== 'weights' && !Object.hasOwn(TEXT_OPTIONS, name),
);
