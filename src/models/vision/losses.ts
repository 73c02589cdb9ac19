/** What networks on pictures learn by. */
import { cast, contiguous } from '../../ops/copy';
import { crossEntropy } from '../../ops/cross-entropy';
import { add, multiply } from '../../ops/map';
import { map } from '../../ops/map/map';
import { pool } from '../../ops/pool';
import { mean, sum } from '../../ops/reduce';
import { resize } from '../../ops/resize';
import { topK } from '../../ops/top-k';
import { stopGradient } from '../../tape';
import type { Tensor } from '../../tensor/tensor';
import { IGNORED } from '../../train';

/** Logits of pictures [b, classes] as they are; those of places [b, classes, down, across] with classes last and as large as labels. */
export function asLarge(logits: Tensor, { shape }: Pick<Tensor, 'shape'>): Tensor<'f32'> {
  if (logits.rank === 2) return logits as Tensor<'f32'>;
  return resize(contiguous(logits.permute([0, 2, 3, 1]) as Tensor<'f32'>), { size: shape.slice(1) });
}

/** The mean cross entropy of pictures, or of their places. */
export const classLoss = (logits: Tensor, labels: Tensor): Tensor<'f32'> =>
  crossEntropy(asLarge(logits, labels), labels as Tensor<'i32'>, { ignore: IGNORED });

/** The share of places that count in each step of the authors' training: 131,072 of twelve crops of 1024 x 1024. */
const LEAST_HARD = 1 / 96;
/** What is as likely as this is learned. */
const LEARNED = 0.9;
/** What is more likely than this is a boundary. */
const CERTAIN = 0.8;
const WEIGHTS = { auxiliary: 0.4, boundary: 20 };

/**
 * BEVANet's loss: of the hard places, once of all and once of those that it takes for boundaries; of the early head; and of the
 * boundaries. Source: the authors' code, but for where boundaries are: they take Canny's edges of the classes, widened by four pixels.
 */
export function streetLoss(
  { logits, auxiliary, boundary }: Readonly<Record<'logits' | 'auxiliary' | 'boundary', Tensor>>,
  labels: Tensor,
): Tensor<'f32'> {
  const losses = crossEntropy(asLarge(logits, labels), labels as Tensor<'i32'>, { ignore: IGNORED, reduction: 'none' });
  const edges = asLarge(boundary, labels).reshape(labels.shape);
  const isEdge = stopGradient(
    map((logit, { least }) => (logit > least ? 1 : 0), edges, {
      captured: { least: Math.log(CERTAIN / (1 - CERTAIN)) },
    }),
  );
  return [
    hardLoss(losses),
    hardLoss(multiply(losses, isEdge)),
    scaled(classLoss(auxiliary, labels), WEIGHTS.auxiliary),
    scaled(boundaryLoss(edges, boundariesOf(labels)), WEIGHTS.boundary),
  ].reduce((sum, each) => add(sum, each));
}

const scaled = (loss: Tensor, weight: number): Tensor<'f32'> =>
  map((value, { weight }) => weight * value, loss, { captured: { weight } }) as Tensor<'f32'>;

/** The mean of the losses that are larger than that of a class which is learned, or of the largest ones where these are few. */
function hardLoss(losses: Tensor<'f32'>): Tensor<'f32'> {
  const least = Math.ceil(LEAST_HARD * losses.size);
  const fixed = stopGradient(losses);
  const { values } = topK(fixed.reshape([1, losses.size]), least);
  const bound = values.slice(1, least - 1, least).reshape([1]);
  const isHard = map((loss, last, { most }) => (loss > Math.min(last, most) ? 1 : 0), fixed, bound, {
    captured: { most: -Math.log(LEARNED) },
  });
  return map((all, count) => all / Math.max(count, 1), sum(multiply(losses, isHard)), sum(isHard)) as Tensor<'f32'>;
}

/** 1 where classes meet in the 3 x 3 places around, else 0. */
function boundariesOf(labels: Tensor): Tensor<'f32'> {
  const [b, rows, columns] = labels.shape as [number, number, number];
  const classes = cast(labels, 'f32').reshape([b, rows, columns, 1]);
  const most = (x: Tensor) => pool(x, { size: 3, stride: 1, padding: 1, kind: 'max' });
  const least = most(map((value) => -value, classes));
  return map((high, low) => (high > -low ? 1 : 0), most(classes), least).reshape(labels.shape) as Tensor<'f32'>;
}

/** The mean binary cross entropy of logits, in which both kinds of places count as much. */
const boundaryLoss = (logits: Tensor, isBoundary: Tensor): Tensor<'f32'> =>
  mean(
    map(
      (logit, is, share) =>
        (is * (1 - share) + (1 - is) * share) *
        (Math.max(logit, 0) - is * logit + Math.log1p(Math.exp(-Math.abs(logit)))),
      logits,
      isBoundary,
      mean(isBoundary),
    ),
  );
