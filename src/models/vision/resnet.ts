/**
 * ResNet of basic blocks, beside which other networks on pictures are measured; it classifies pictures or, as a fully
 * convolutional network, their places.
 * Sources: He et al. 2015, arXiv 1512.03385, under the names of torchvision's checkpoints; Long et al. 2014, arXiv 1411.4038.
 */
import { add, relu } from '../../ops/map';
import { pool } from '../../ops/pool';
import type { Tensor } from '../../tensor/tensor';
import { defineModel } from '../define';
import { dense, type Layer, layerOf, normedConvolution, pooling, sequence } from './layers';
import {
  CLASSIFIER,
  type HeadSettings,
  photographs,
  pictureParams,
  placesTask,
  SMALL_PICTURES,
  samplePicture,
  stagedNetwork,
} from './picture-network';

interface ResnetConfig {
  readonly widths: readonly number[];
  readonly depths: readonly number[];
  /** Whether it begins with 7 x 7 pixels and a maximum, for large pictures, or with 3 x 3. */
  readonly hasPool: boolean;
}

const large = (depths: readonly number[]) => ({ widths: [64, 128, 256, 512], depths, hasPool: true });
const VARIANTS = {
  18: large([2, 2, 2, 2]),
  34: large([3, 4, 6, 3]),
  mini: { widths: [16, 32, 64], depths: [2, 2, 1], hasPool: false },
  micro: { widths: [8, 18, 36], depths: [2, 2, 1], hasPool: false },
} satisfies Record<string, ResnetConfig>;

/** Pixels of a place that is classified, along both axes. */
const PLACE = 8;

export const resnet = defineModel({
  name: 'resnet',
  summary: 'classes of a picture or of its places, by residual convolutions: the baseline of other networks',
  // The logits of places are [b, classes, down, across].
  ...CLASSIFIER,
  params: pictureParams(VARIANTS, '18', { task: placesTask('classify') }),
  network: ({ variant, task, ...settings }) => ({
    ...resnetNetwork(VARIANTS[variant], task, settings),
    pictures:
      task === 'segment'
        ? { ...photographs(1), size: undefined, multipleOf: 8 }
        : VARIANTS[variant].hasPool
          ? photographs(0.875)
          : SMALL_PICTURES,
  }),
  sample: () => ({ params: { variant: 'mini', classes: 10 }, inputs: { x: samplePicture(64) } }),
});

function resnetNetwork(
  { widths, depths, hasPool }: ResnetConfig,
  task: 'segment' | 'classify',
  { classes, features }: HeadSettings,
) {
  const first = widths[0] as number;
  const stem = normedConvolution(['conv1', 'bn1'], 3, first, {
    kernel: hasPool ? 7 : 3,
    stride: 2,
    padding: hasPool ? 3 : 1,
    bias: false,
    activation: 'relu',
  });
  let reached = hasPool ? 4 : 2;
  const stages = widths.map((c, at): readonly [string, Layer] => {
    const stride = at === 0 || (task === 'segment' && reached === PLACE) ? 1 : 2;
    reached *= stride;
    const blocks = Array.from({ length: depths[at] as number }, (_, block) =>
      block === 0 ? basic(widths[at - 1] ?? first, c, stride) : basic(c, c, 1),
    );
    return [`layer${at + 1}`, sequence(blocks)];
  });
  const isWhole = task === 'classify';
  const parts = {
    $stem: stem,
    ...(hasPool && { $pool: largest }),
    ...Object.fromEntries(stages),
    ...(isWhole && { $mean: pooling }),
    fc: dense(widths.at(-1) as number, classes),
  };
  const names = widths.map((_, at) => `layer${at + 1}`);
  return stagedNetwork(parts as Readonly<Record<string, Layer>>, { stages: names, features, isOfPlaces: !isWhole });
}

const largest: Layer = {
  parameters: {},
  forward: (x) => pool(x, { size: 3, stride: 2, padding: 1, kind: 'max' }),
};

/** Two convolutions beside x, or beside a product of it where its extents change. */
function basic(c: number, o: number, stride: number): Layer {
  const conv = { kernel: 3, padding: 1, bias: false } as const;
  const isSame = c === o && stride === 1;
  const parts = {
    $first: normedConvolution(['conv1', 'bn1'], c, o, { ...conv, stride, activation: 'relu' }),
    $second: normedConvolution(['conv2', 'bn2'], o, o, conv),
    ...(!isSame && {
      downsample: normedConvolution(['0', '1'], c, o, { kernel: 1, stride, padding: 0, bias: false }),
    }),
  };
  return layerOf(parts as Readonly<Record<string, Layer>>, {}, (x, calls) => {
    const { $first, $second, downsample } = calls as Readonly<Record<string, (x: Tensor) => Tensor<'f32'>>>;
    return relu(add($second!($first!(x)), downsample ? downsample(x) : x));
  });
}
