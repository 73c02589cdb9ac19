/** What networks on pictures share: pictures come channels first, as checkpoints and their users have them. */
import * as valibot from 'valibot';
import type { ModuleControl, Parameters } from '../../nn/module';
import { contiguous } from '../../ops/copy';
import { IMAGENET_COLOURS, type PictureSettings } from '../../pictures/preprocess';
import { type HostTensor, hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { type Find, folded, type Layer, layerOf } from './layers';

/**
 * The params of a network on pictures: which of its variants, what it has `more`, its classes, and whether it gives the features of
 * its stages.
 */
export const pictureParams = <const Variant extends string | number, const More extends valibot.ObjectEntries>(
  variants: Readonly<Record<Variant, unknown>>,
  preset: NoInfer<`${Variant}`>,
  more: More,
  classes = 1000,
) =>
  valibot.strictObject({
    variant: valibot.optional(valibot.picklist(Object.keys(variants) as `${Variant}`[]), preset),
    ...more,
    classes: countParam(classes, 'classes to choose from'),
    features: valibot.optional(
      valibot.pipe(valibot.boolean(), valibot.description('whether results have the features of the four stages, too')),
      false,
    ),
  });

const choice = <const Choice extends string>(choices: readonly Choice[], preset: NoInfer<Choice>, says: string) =>
  valibot.optional(valibot.pipe(valibot.picklist(choices), valibot.description(says)), preset);

/** The param `task` of networks that classify the places of pictures, too. */
export const placesTask = (preset: 'segment' | 'classify') =>
  choice(['segment', 'classify'], preset, 'classes of every eighth place along both axes, or of the picture');

/** The param `task` of networks whose authors use them under detection and segmentation, too. */
export const denseTask = choice(
  ['classify', 'dense'],
  'classify',
  'what it ends with: classes, or norms of the features of each stage, on which dense tasks stand',
);

/** A whole number from 1 on. */
export const countParam = (preset: number, says: string) =>
  valibot.optional(
    valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1), valibot.description(says)),
    preset,
  );

/** What a network ends with. */
export interface HeadSettings {
  readonly classes: number;
  /** Whether results have the features of stages; default false. */
  readonly features?: boolean | undefined;
  /** Whether a network that has norms for dense tasks ends with these; default classify. */
  readonly task?: 'classify' | 'dense' | undefined;
}

/** How photographs of ImageNet are taken, at 224 x 224 of a shorter side that is larger by 1 / crop. */
export const photographs = (crop: number, size = 224): PictureSettings => ({
  size,
  crop,
  interpolation: 'bicubic',
  ...IMAGENET_COLOURS,
});

/** The pictures of clothes, of 28 x 28 pixels, that the smallest variants have learned (Fashion-MNIST). */
export const SMALL_PICTURES: PictureSettings = {
  size: 28,
  interpolation: 'bilinear',
  mean: [0.286, 0.286, 0.286],
  std: [0.353, 0.353, 0.353],
};

export type PictureNetwork = Omit<ReturnType<typeof stagedNetwork>, 'ignored'>;

/** A network from x [b, c, rows, columns] to results by name, of a layer that computes channels last. */
export function networkOf<Out>(layer: Layer<Out>, ignored?: RegExp) {
  const lookUp =
    (parameters: Parameters): Find =>
    (name) =>
      parameters[name] as Tensor | undefined;
  return {
    parameters: layer.parameters,
    ...(ignored && { ignored }),
    fold: (parameters: Parameters) => folded(layer, lookUp(parameters)),
    forward: ({ x }: { readonly x: Tensor }, parameters: Parameters, control: ModuleControl) =>
      x.runtime.scope(() => layer.forward(channelsLast(x), lookUp(parameters), control)),
  };
}

/** What comes with channels first, as a view. */
export const channelsLast = (x: Tensor): Tensor => x.permute([0, 2, 3, 1]);

/** What comes with channels last. */
export const channelsFirst = (x: Tensor): Tensor<'f32'> => contiguous((x as Tensor<'f32'>).permute([0, 3, 1, 2]));

/** What the results of stages are called, in letters. */
export const STAGES = {
  stage1: 'b width1 down1 across1',
  stage2: 'b width2 down2 across2',
  stage3: 'b width3 down3 across3',
  stage4: 'b width4 down4 across4',
} as const;
type Stage = keyof typeof STAGES;
export const STAGE_NAMES = Object.keys(STAGES) as Stage[];

/** What a classifier of pictures takes and gives. */
export const CLASSIFIER = {
  inputs: { x: 'b 3 rows columns' },
  outputs: { logits: 'b classes', ...STAGES },
  sometimes: STAGE_NAMES,
} as const;

/** Logits [b, classes] and, where they are asked for, features of stages. */
type Staged = { readonly logits: Tensor<'f32'> } & { readonly [Name in Stage]?: Tensor<'f32'> };

interface StagedOptions extends Pick<HeadSettings, 'features'> {
  /** The parts whose results are the features of stages. */
  readonly stages: readonly string[];
  /** Whether the last part gives logits of places; default: [b, 1, 1, classes]. */
  readonly isOfPlaces?: boolean;
  /** Norms of the features of each stage, which no further part sees; with them there are these features alone. */
  readonly norms?: Readonly<Record<string, Layer>> | undefined;
}

/** The parts one after the other. */
export function stagedNetwork(
  parts: Readonly<Record<string, Layer>>,
  { stages, features = false, isOfPlaces = false, norms }: StagedOptions,
) {
  const names = Object.keys(norms ?? {});
  const layer = layerOf({ ...parts, ...norms }, {}, (x, calls): Staged => {
    const call = (name: string, y: Tensor) => (calls[name] as (y: Tensor) => Tensor<'f32'>)(y);
    const found: Partial<Record<Stage, Tensor<'f32'>>> = {};
    let h = x as Tensor<'f32'>;
    for (const name of Object.keys(parts)) {
      h = call(name, h);
      const at = stages.indexOf(name);
      const stage = STAGE_NAMES[at];
      if (stage && norms) found[stage] = channelsFirst(call(names[at] as string, h));
      else if (stage && features) found[stage] = channelsFirst(h);
    }
    if (norms) return found as Staged;
    return { logits: isOfPlaces ? channelsFirst(h) : h.reshape([x.shape[0] as number, -1]), ...found };
  });
  return networkOf(layer);
}

/** A disc on a ramp, [1, 3, size, size]. */
export function samplePicture(size: number): HostTensor<'f32'> {
  const at = (channel: number, row: number, column: number) =>
    Math.hypot(row - size / 2, column - size / 2) < size / 4 ? 1 - channel / 2 : (row + channel * column) / (3 * size);
  const places = Array.from({ length: 3 * size * size }, (_, i) =>
    at(Math.floor(i / size ** 2), Math.floor(i / size) % size, i % size),
  );
  return hostTensor(places, [1, 3, size, size], 'f32');
}
