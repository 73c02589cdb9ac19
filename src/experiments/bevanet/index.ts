/** Which places strips see, one after another and side by side, and what they weigh. */
import { effectiveReceptiveField } from '../../measure/receptive-field';
import { lska, slak } from '../../nn';
import { conv } from '../../ops/conv';
import { add } from '../../ops/map';
import type { Tensor } from '../../tensor/tensor';
import { formatPercent } from '../../text/format';
import { defineExperiment, figure, type MeasureContext, share } from '../experiment';

const SIZE = 41;

export const experiment = defineExperiment({
  title: 'places that strips see and taps that they take',
  claims: {
    cue: {
      claim: 'Wide strips see a cue of the same row or column that a 5 × 5 kernel does not.',
      source: 'a test on synthetic streets',
      criteria: {
        strips: figure('places of the middle row that strips of 23 see', [23, 23], [1, SIZE]),
        small: figure('places that 5 × 5 taps see', [5, 5], [1, SIZE]),
      },
      untested: 'that a trained network uses it',
    },
    cross: {
      claim: 'Strips side by side see a cross as thick as the small kernel, strips one after another the whole square.',
      source: "the authors' code: follows from the kernels",
      criteria: {
        parallel: share('share of the 23 × 23 places seen by strips side by side', [0.38, 0.4]),
        separable: share('by strips one after another', [1, 1]),
      },
      byConstruction: true,
    },
  },
  measure: { cue, cross },
});

/** Gates of ones, so that what is seen depends on extents alone. */
function gates(x: Tensor) {
  const { runtime } = x;
  const layer = (name: string, ...space: number[]) => ({
    [`${name}.weight`]: runtime.ones([1, 1, ...space]),
    [`${name}.bias`]: runtime.zeros([1]),
  });
  const mix = layer('pwconv', 1, 1);
  const kernels = {
    ...layer('DW_conv_h', 1, 5),
    ...layer('DW_conv_v', 5, 1),
    ...layer('DW_D_conv_h', 1, 7),
    ...layer('DW_D_conv_v', 7, 1),
  };
  const taps = (...space: number[]) => runtime.ones([1, 1, ...space]);
  const first = { padding: 'same', channelsFirst: true } as const;
  return {
    small: () => conv(x, taps(5, 5), first),
    strips() {
      const near = conv(x, taps(5, 5), first);
      return add(conv(near, taps(1, 7), { ...first, dilation: 3 }), conv(near, taps(7, 1), { ...first, dilation: 3 }));
    },
    lska: () => lska(x, { ...kernels, ...mix } as never, 3),
    slak: () =>
      slak(x, { ...layer('small', 5, 5), ...layer('across', 5, 23), ...layer('down', 23, 5), ...mix } as never),
  };
}

async function seenBy({ runtime }: MeasureContext, name: keyof ReturnType<typeof gates>): Promise<Float64Array> {
  const pictures = runtime.ones([1, 1, SIZE, SIZE]);
  const { field } = await effectiveReceptiveField((x) => gates(x)[name](), pictures, { channelsFirst: true });
  pictures.dispose();
  return field.data as Float64Array;
}

async function cue(context: MeasureContext) {
  await context.step(0.2, 'rows');
  const width = async (name: 'strips' | 'small') => {
    const row = (await seenBy(context, name)).subarray(SIZE * Math.floor(SIZE / 2)).subarray(0, SIZE);
    return row.filter((value) => value > 0).length;
  };
  const values = { strips: await width('strips'), small: await width('small') };
  return { measured: `strips ${values.strips} places of a row, 5 × 5 taps ${values.small}`, values };
}

async function cross(context: MeasureContext) {
  await context.step(0.6, 'squares');
  const part = async (name: 'slak' | 'lska') =>
    (await seenBy(context, name)).filter((value) => value > 0).length / 23 ** 2;
  const values = { parallel: await part('slak'), separable: await part('lska') };
  return {
    measured: `side by side ${formatPercent(values.parallel)}, one after another ${formatPercent(values.separable)}`,
    values,
  };
}
