/** What networks on pictures share: pictures come channels first, as checkpoints and their users have them. */
import * as valibot from 'valibot';
import type { ModuleControl, Parameters } from '../../nn/module';
import { contiguous } from '../../ops/copy';
import { IMAGENET_COLOURS, type PictureSettings } from '../../pictures/preprocess';
import { type HostTensor, hostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { type Find, folded, type Layer, layerOf } from './layers';

/** The param `classes`. */
export const classesParam = (preset: number) =>
  valibot.optional(
    valibot.pipe(
      valibot.number(),
      valibot.integer(),
      valibot.minValue(1),
      valibot.description('classes to choose from'),
    ),
    preset,
  );

/** The param `features`. */
export const featuresParam = valibot.optional(
  valibot.pipe(valibot.boolean(), valibot.description('whether results have the features of the four stages, too')),
  false,
);

/** What a network ends with. */
export interface HeadSettings {
  readonly classes: number;
  /** Whether results have the features of stages; default false. */
  readonly features?: boolean | undefined;
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

/** Logits [b, classes] and, where they are asked for, features of stages. */
type Staged = { readonly logits: Tensor<'f32'> } & { readonly [Name in Stage]?: Tensor<'f32'> };

/**
 * The parts one after the other, the last of which gives [b, 1, 1, classes], or with `isOfPlaces` those of places; with `features`
 * also what the parts of these names give, channels first.
 */
export function stagedNetwork(
  parts: Readonly<Record<string, Layer>>,
  stages: readonly string[],
  features: boolean,
  isOfPlaces = false,
) {
  const layer = layerOf(parts, {}, (x, calls): Staged => {
    const found: Partial<Record<Stage, Tensor<'f32'>>> = {};
    let h = x as Tensor<'f32'>;
    for (const [name, call] of Object.entries<(x: Tensor) => Tensor<'f32'>>(calls)) {
      h = call(h);
      const stage = STAGE_NAMES[stages.indexOf(name)];
      if (features && stage) found[stage] = channelsFirst(h);
    }
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
