/** Softmax attention to the chunks that go to it, and causally to the own one. */
import { chosenChunks } from '../../../masks/chosen-chunks';
import type { Mask } from '../../../masks/mask';
import { type AttentionResult, attention, attentionBackward, type DeferredMask } from '../../../ops/attention';
import { zeros } from '../../../ops/float32';
import { map } from '../../../ops/map/map';
import { sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { from } from '../../../scores/from';
import type { Score } from '../../../scores/score';
import { withDerivative } from '../../../tape';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import type { Tensor } from '../../../tensor/tensor';
import { byHead, type Problem } from './problem';

export interface SoftmaxInputs {
  /** [b, n, a, p], [b, n, a, p], [b, n, a, r]. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** [b, c, h]: 0 for the chunks that are seen, 1 for those that the delta rule keeps. */
  readonly kept: Tensor;
}

export interface SoftmaxSettings {
  readonly problem: Problem;
  readonly scale: number;
  /** Whether chunks that are not seen have a gradient, too. */
  readonly counterfactual: boolean;
  readonly control: Control;
}

/**
 * Its gradient with respect to `kept` is that with respect to log z of a chunk at z = 1, where it is seen, which no tape
 * would find.
 */
export function softmaxAttention({ q, k, v, kept }: SoftmaxInputs, settings: SoftmaxSettings): AttentionResult {
  const { problem, scale, control } = settings;
  return withDerivative(
    (q: Tensor, k: Tensor, v: Tensor, kept: Tensor): AttentionResult =>
      attention(q, k, v, { deferred: deferred(problem, kept, 'chosen'), scale, ...control }),
    ({ inputs: [q, k, v, kept], results, gradients: { out, lse } }) =>
      softmaxGradients(
        { q, k, v, kept },
        results,
        { gradOut: out ?? zeros(q.runtime, results.out.shape), gradLse: lse as Tensor<'f32'> | undefined },
        settings,
      ),
  )(q, k, v, kept);
}

/** The mask of softmax attention in a NAtS-L layer; `chosen` [b, c, h] has 1 for the chunks that go to it. */
function routedMask(chosen: Uint8Array, problem: Problem, own = true): Mask {
  const { b, n, h, chunk } = problem;
  return chosenChunks({ chunk, tokens: n, chosen: byHead(chosen, problem), batches: b, heads: h, own });
}

/** The mask of the chunks that are not kept, with the own one, or of those that are, without it. */
function deferred(problem: Problem, kept: Tensor, seen: 'chosen' | 'kept'): DeferredMask {
  return {
    tensors: { kept },
    mask({ kept: choices }) {
      const sees = Uint8Array.from(toFloat64(choices as HostTensor), (x) => Number((x === 1) === (seen === 'kept')));
      return routedMask(sees, problem, seen === 'chosen');
    },
  };
}

interface Gradients {
  readonly gradOut: Tensor;
  readonly gradLse: Tensor<'f32'> | undefined;
}

/** With respect to q, k, v and kept, which is 1 less the choice. */
function softmaxGradients(
  { q, k, v, kept }: SoftmaxInputs,
  results: AttentionResult,
  gradients: Gradients,
  { problem, scale, counterfactual }: SoftmaxSettings,
): Tensor[] {
  const { b, a, h, chunks } = problem;
  const score = choiceScore(problem, zeros(q.runtime, [b, a, chunks]));
  const backward = (seen: 'chosen' | 'kept', results: AttentionResult, { gradOut, gradLse }: Gradients) =>
    attentionBackward(
      q,
      k,
      v,
      { ...results, gradOut, gradLse },
      { scale, score, deferred: deferred(problem, kept, seen), captured: true },
    );
  /** Sums over the heads that share a choice, of [b, a, c], as [b, c, h]. */
  const sums = (choice: Tensor) => sum(choice.reshape([b, h, a / h, chunks]), { axes: [2] }).permute([0, 2, 1]);
  const { gradQ, gradK, gradV, gradCaptured } = backward('chosen', results, gradients);
  const seen = sums(gradCaptured.choice as Tensor);
  if (!counterfactual) return [gradQ, gradK, gradV, map((seen) => -seen, seen)];
  // At z = 0 attention to the chunks that are not seen alone, `other`, would join that to those seen as z r other,
  // r = e^(other.lse - lse): its gradients are those of r other, and of r (other - out) by what all of its weights share.
  const other = attention(q, k, v, { deferred: deferred(problem, kept, 'kept'), scale });
  const rows = ({ lse }: { readonly lse: Tensor }) => lse.reshape([...lse.shape, 1]);
  const [gradOut, byLse] = map(
    (gradOut, out, other, lse, otherLse) => {
      const gradOther = gradOut * Math.exp(otherLse - lse);
      return [gradOther, gradOther * (other - out)];
    },
    ...[gradients.gradOut, results.out, other.out, rows(results), rows(other)],
  );
  let gradLse = sum(byLse, { axes: [-1] });
  if (gradients.gradLse)
    gradLse = map(
      (gradLse, given, lse, otherLse) => gradLse + given * Math.exp(otherLse - lse),
      ...[gradLse, gradients.gradLse, results.lse, other.lse],
    ) as Tensor<'f32'>;
  const unseen = sums(backward('kept', other, { gradOut, gradLse }).gradCaptured.choice as Tensor);
  return [gradQ, gradK, gradV, map((seen, unseen) => -seen - unseen, seen, unseen)];
}

/** log z [b, a, c] beside the scores of later queries, for every head and chunk; at z = 1 its gradient is that of z. */
function choiceScore({ a, chunk, chunks }: Problem, choice: Tensor): Score {
  return from(
    (score, b, h, q, k, { choice, heads, chunk, chunks }) =>
      Math.floor(q / chunk) === Math.floor(k / chunk)
        ? score
        : score + (choice[(b * heads + h) * chunks + Math.floor(k / chunk)] as number),
    { choice, heads: a, chunk, chunks },
  );
}
