/** A classifier of scenes: which garments there are, anywhere. Its features tell how far pictures are from drawn ones. */
import type { Described } from '../../nn/module';
import { silu } from '../../ops/map';
import { map } from '../../ops/map/map';
import { logSumExp, mean, sum } from '../../ops/reduce';
import type { Tensor } from '../../tensor/tensor';
import { active, convolved, layers, norms, type Weights } from '../layers';

/** Numbers of a picture's features. */
export const FEATURES = 48;

export const judgeParameters = (classes: number): Described => ({
  ...layers({
    'judge.0': [16, 1, 3, 3],
    'judge.1': [32, 16, 3, 3],
    'judge.2': [FEATURES, 32, 3, 3],
    'judge.3': [FEATURES, FEATURES, 3, 3],
    'judge.last': [classes, FEATURES, 1, 1],
  }),
  ...norms({ 'judge.norm': FEATURES, 'judge.norm2': FEATURES }),
});

/** Pictures [b, 64, 64, 1] -> a logit for each class [b, classes], and features [b, 48]. */
export function judged(p: Weights, x: Tensor): Record<'logits' | 'features', Tensor<'f32'>> {
  const half = silu(convolved(p, 'judge.1', silu(convolved(p, 'judge.0', x, 2)), 2));
  const h = active(p, 'judge.norm', convolved(p, 'judge.2', half, 2));
  const places = active(p, 'judge.norm2', convolved(p, 'judge.3', h));
  const logits = logSumExp(convolved(p, 'judge.last', places), { axes: [1, 2] });
  return { logits, features: mean(places, { axes: [1, 2] }) };
}

/** The cross entropy of whether each class is there, [b, classes] of ones and zeros; the mean over all. */
export function judgeLoss(p: Weights, { x, present }: Readonly<Record<'x' | 'present', Tensor>>): Tensor<'f32'> {
  const { logits } = judged(p, x);
  const lost = sum(map((is, logit, { softplus }) => softplus(logit) - is * logit, present, logits));
  return map((lost, { count }) => lost / count, lost, { captured: { count: present.size } }) as Tensor<'f32'>;
}
