/**
 * Whether attention of a diffusion model finds every subject of a prompt, and keeps them apart: what a first noise is steered by.
 * Sources: OptiPrune, 2025, arXiv 2507.00789, by a third party's summary; constants from the code of InitNO, on which it builds.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { concat, contiguous } from '../../../ops/copy';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { gather } from '../../../ops/gather';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { argmax, max, sum } from '../../../ops/reduce';
import { softmax } from '../../../ops/softmax';
import { stopGradient } from '../../../tape';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { flag } from '../../schema';
import { blurMatrix } from './blur';
import { reference, SHARPNESS, tokensOf } from './reference';

const SHAPES = { cross: 'b s s t', self: 'b s s places' } as const;

export const subjectScores = defineMethod({
  name: 'subject-scores',
  family: 'pipelines',
  summary: "how well a diffusion model's attention finds each subject of its prompt, and how far subjects overlap",
  paper: '2507.00789',
  inputs: SHAPES,
  outputs: { out: 'b 2' },
  params: valibot.strictObject({
    subjects: valibot.pipe(
      valibot.array(valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1))),
      valibot.minLength(1),
      valibot.description('indices of the subjects among the t tokens of the prompt, neither the first nor the last'),
    ),
    smooth: flag('whether maps of subjects are blurred', true),
  }),

  reference,

  forward({ cross, self }, { subjects, smooth }) {
    checkFloat32(subjectScores.name, { cross, self }, {});
    checkContiguous({ cross, self });
    const { b, s, t } = bindShapes(SHAPES, { cross: cross.shape, self: self.shape }) as Record<'b' | 's' | 't', number>;
    if (self.shape[3] !== s * s)
      throw new ParameterError(`self must have the ${s * s} places of its grid last, got ${self.shape[3]}`);
    const tokens = tokensOf(subjects, t);
    const { runtime } = cross;
    return runtime.scope(() => {
      const blur = smooth ? runtime.tensor(Float32Array.from(blurMatrix(s)), [s, s]) : undefined;
      const blurred = (x: Tensor) => (blur ? matmul(matmul(blur, x), blur, { transposeB: true }) : x);
      const logits = map((x, { sharpness }) => sharpness * x, cross.slice(3, 1, t - 1), {
        captured: { sharpness: SHARPNESS },
      });
      const shares = softmax(logits);
      /** Each subject's map [b, s, s], and the attention of the place where it is largest, alike. */
      const found = tokens.map((token) => {
        const own = blurred(contiguous(shares.slice(3, token - 1, token)).reshape([b, s, s]));
        const flat = own.reshape([b, s * s]);
        const places = argmax(stopGradient(flat), { axes: [1] });
        const rows = Array.from({ length: b }, (_, batch) =>
          gather(self.slice(0, batch, batch + 1).reshape([s * s, s * s]), places.slice(0, batch, batch + 1)),
        );
        return {
          largest: max(flat, { axes: [1], keepDims: true }),
          around: blurred(concat(rows as Tensor<'f32'>[], 0).reshape([b, s, s])),
        };
      });
      const missing = map(
        (x) => 1 - x,
        concat(
          found.map(({ largest }) => largest),
          1,
        ),
      );
      const byCross = max(missing, { axes: [1], keepDims: true });
      return { out: concat([byCross, overlapOf(found.map(({ around }) => around))], 1) };
    });
  },

  cost({ b, s, t }, { subjects }) {
    const pairs = (subjects.length * (subjects.length - 1)) / 2;
    const flops = b * s * s * (5 * t + 8 * s * subjects.length + 4 * pairs);
    return { flops, bytes: 4 * b * s * s * (t + s * s), state: 0 };
  },

  variants: ({ t }) => (t > 3 ? [{ subjects: [1, 2] as number[] }] : []),
  page: () => import('./page'),
});

/** The mean over pairs of what two maps [b, s, s] share, [b, 1]; 0 of one map. */
function overlapOf(maps: readonly Tensor[]): Tensor<'f32'> {
  const [first] = maps as readonly [Tensor];
  const pairs = maps.flatMap((a, i) => maps.slice(i + 1).map((c) => [a, c] as const));
  const all = (x: Tensor) => sum(x, { axes: [1, 2] }).reshape([-1, 1]);
  if (pairs.length === 0) return map((x) => 0 * x, all(first)) as Tensor<'f32'>;
  const shares = pairs.map(([a, c]) => {
    const common = all(map((x, y) => Math.min(x, y), a, c));
    return map((common, x, y) => common / (x + y + 1e-6), common, all(a), all(c));
  });
  const total = sum(concat(shares as Tensor<'f32'>[], 1), { axes: [1], keepDims: true });
  return map((x, { count }) => x / count, total, { captured: { count: pairs.length } }) as Tensor<'f32'>;
}
