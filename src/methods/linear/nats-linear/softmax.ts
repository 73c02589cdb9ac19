/** Softmax attention to the chunks that go to it, and causally to the own one. */
import { chosenChunks } from '../../../masks/chosen-chunks';
import type { Mask } from '../../../masks/mask';
import { type AttentionResult, attention, attentionBackward, type DeferredSettings } from '../../../ops/attention';
import { contiguous } from '../../../ops/copy';
import { add, exp, multiply, subtract } from '../../../ops/map';
import { sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { controlOf } from '../../../runtime/turns';
import { from } from '../../../scores/from';
import type { Score } from '../../../scores/score';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import type { Tensor } from '../../../tensor/tensor';
import { byHead, type Problem } from './problem';

/** [b, n, a, p], [b, n, a, p], [b, n, a, r]. */
export interface SoftmaxInputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

export interface SoftmaxSettings {
  readonly problem: Problem;
  readonly scale: number;
  /** [b, c, h]: 0 for the chunks that are seen, 1 for those that the delta rule keeps. */
  readonly kept: Tensor;
}

/** What softmax attention of a NAtS-L layer sees; `chosen` [b, c, h] has 1 for the chunks that go to it. */
export function routedMask(chosen: Uint8Array, problem: Problem, own = true): Mask {
  const { b, n, h, chunk } = problem;
  return chosenChunks({ chunk, tokens: n, chosen: byHead(chosen, problem), batches: b, heads: h, own });
}

/** The mask of the chunks that are not kept, with the own one, or of those that are, without it. */
function deferred({ problem, kept }: SoftmaxSettings, seen: 'chosen' | 'kept', score?: Score): DeferredSettings {
  const { b, a, chunks } = problem;
  return {
    tensors: { kept },
    settings({ kept: choices }) {
      const sees = Uint8Array.from(toFloat64(choices as HostTensor), (x) => Number((x === 1) === (seen === 'kept')));
      return { mask: routedMask(sees, problem, seen === 'chosen'), score };
    },
    ...(score && { captured: { choice: b * a * chunks } }),
  };
}

export function softmaxForward(
  { q, k, v }: SoftmaxInputs,
  settings: SoftmaxSettings,
  control: Control,
): AttentionResult {
  return attention(q, k, v, { deferred: deferred(settings, 'chosen'), scale: settings.scale, ...control });
}

export interface SoftmaxGradients extends SoftmaxInputs {
  /**
   * [b, c, h]: with respect to the choices of the chunks that are seen; of all, if the counterfactual ones are wanted.
   */
  readonly choices: Tensor;
}

/** Gradients with respect to the inputs and the choices, from what the forward pass returned and that of its out. */
export function softmaxBackward(
  { q, k, v }: SoftmaxInputs,
  results: AttentionResult,
  gradOut: Tensor,
  settings: SoftmaxSettings & { readonly counterfactual: boolean },
  control: Control,
): SoftmaxGradients {
  const { problem, scale, counterfactual } = settings;
  return q.runtime.scope(() => {
    const score = choiceScore(problem);
    const parts = counterfactual ? 3 : 1;
    const { gradQ, gradK, gradV, gradCaptured } = attentionBackward(
      q,
      k,
      v,
      { ...results, gradOut },
      {
        ...{ scale, deferred: deferred(settings, 'chosen', score), captured: true },
        ...controlOf(control, 0, parts),
      },
    );
    const seen = sumsOfHeads(gradCaptured.choice as Tensor, problem);
    if (!counterfactual) return { q: gradQ, k: gradK, v: gradV, choices: seen };
    const unseen = unseenGradients({ q, k, v }, results, gradOut, settings, score, control);
    return { q: gradQ, k: gradK, v: gradV, choices: add(seen, unseen) };
  });
}

/** log z beside the scores of later queries, for every head and chunk; at z = 1 its gradient is that of z. */
function choiceScore({ b, a, chunk, chunks }: Problem): Score {
  return from(
    (score, b, h, q, k, { choice, heads, chunk, chunks }) =>
      Math.floor(q / chunk) === Math.floor(k / chunk)
        ? score
        : score + (choice[(b * heads + h) * chunks + Math.floor(k / chunk)] as number),
    { choice: new Float64Array(b * a * chunks), heads: a, chunk, chunks },
  );
}

/** Sums of [b, a, c] over the heads that share a choice, [b, c, h]. */
function sumsOfHeads(gradients: Tensor, { b, a, h, chunks }: Problem): Tensor {
  const sums = sum(gradients.reshape([b, h, a / h, chunks]), { axes: [2] });
  return contiguous(sums.permute([0, 2, 1]));
}

/**
 * The gradients with respect to the choices of the chunks that are not seen, at z = 0. Attention to these alone, with
 * results `other`, would join that to the chunks seen as z r other, r = e^(other.lse - lse); so its gradients are those of
 * r other, and of r (other - out) by what all of its weights have in common.
 */
function unseenGradients(
  { q, k, v }: SoftmaxInputs,
  { out, lse }: AttentionResult,
  gradOut: Tensor,
  settings: SoftmaxSettings,
  score: Score,
  control: Control,
): Tensor {
  const { problem, scale } = settings;
  const other = attention(q, k, v, { deferred: deferred(settings, 'kept'), scale, ...controlOf(control, 1, 3) });
  const ratios = exp(subtract(other.lse, lse)).reshape([...lse.shape, 1]);
  const gradOther = multiply(gradOut, ratios);
  const gradLse = sum(multiply(subtract(other.out, out), gradOther), { axes: [-1] });
  const { gradCaptured } = attentionBackward(
    q,
    k,
    v,
    { ...other, gradOut: gradOther, gradLse },
    {
      ...{ scale, deferred: deferred(settings, 'kept', score), captured: true },
      ...controlOf(control, 2, 3),
    },
  );
  return sumsOfHeads(gradCaptured.choice as Tensor, problem);
}
