/** Softmax attention to the chunks that go to it, and causally to the own one. */
import { chosenChunks } from '../../../masks/chosen-chunks';
import type { Mask } from '../../../masks/mask';
import { type AttentionResult, attention, attentionBackward } from '../../../ops/attention';
import { exp, multiply, subtract } from '../../../ops/elementwise';
import { sumRows } from '../../../ops/rows';
import type { Control } from '../../../runtime/backend';
import { from } from '../../../scores/from';
import { Temporaries } from '../../../tensor/temporaries';
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
  /** [b, c, h]: 1 for the chunks that are seen. */
  readonly chosen: Uint8Array;
}

/** What softmax attention of a NAtS-L layer sees. */
export function routedMask(chosen: Uint8Array, problem: Problem, own = true): Mask {
  const { b, n, h, chunk } = problem;
  return chosenChunks({ chunk, tokens: n, chosen: byHead(chosen, problem), batches: b, heads: h, own });
}

export function softmaxForward(
  { q, k, v }: SoftmaxInputs,
  { problem, scale, chosen }: SoftmaxSettings,
  control: Control = {},
): Promise<AttentionResult> {
  return attention(q, k, v, { mask: routedMask(chosen, problem), scale, ...control });
}

export interface SoftmaxGradients extends SoftmaxInputs {
  /** [b, c, h]: by the choices, of the chunks that are seen; of all, if the counterfactual ones are wanted. */
  readonly choices: Float64Array;
}

/** Gradients by the inputs and by the choices, from what the forward pass returned and the gradient by its out. */
export async function softmaxBackward(
  inputs: SoftmaxInputs,
  results: AttentionResult,
  gradOut: Tensor,
  settings: SoftmaxSettings & { readonly counterfactual: boolean },
  control: Control = {},
): Promise<SoftmaxGradients> {
  const { q, k, v } = inputs;
  const { problem, scale, chosen, counterfactual } = settings;
  const { signal, onProgress } = control;
  const share = counterfactual ? 0.5 : 1;
  const choices = new Float64Array(chosen.length);
  if (counterfactual) {
    const half = { signal, onProgress: (done: number) => onProgress?.(0.5 + done / 2) };
    await addUnseen(choices, inputs, results, gradOut, settings, half);
  }
  const { gradQ, gradK, gradV, gradCaptured } = await attentionBackward(
    q,
    k,
    v,
    { ...results, gradOut },
    {
      ...{ scale, mask: routedMask(chosen, problem), score: choiceScore(problem), captured: true, signal },
      onProgress: (done) => onProgress?.(share * done),
    },
  );
  using gradients = gradCaptured.choice as Tensor<'f32'>;
  addHeads(choices, await gradients.read(), problem);
  return { q: gradQ, k: gradK, v: gradV, choices };
}

/** log z beside the scores of later queries, for every head and chunk; at z = 1 its gradient is that by z. */
function choiceScore({ b, a, chunk, chunks }: Problem) {
  return from(
    (score, b, h, q, k, { choice, heads, chunk, chunks }) =>
      Math.floor(q / chunk) === Math.floor(k / chunk)
        ? score
        : score + (choice[(b * heads + h) * chunks + Math.floor(k / chunk)] as number),
    { choice: new Float64Array(b * a * chunks), heads: a, chunk, chunks },
  );
}

/** Sums of [b, a, c] over the heads that share a choice, in [b, c, h]. */
function addHeads(choices: Float64Array, gradients: Float32Array, { a, h, chunks }: Problem): void {
  gradients.forEach((value, at) => {
    const [batch, head, chunk] = [Math.floor(at / (a * chunks)), Math.floor(at / chunks) % a, at % chunks];
    const choice = (batch * chunks + chunk) * h + Math.floor((head * h) / a);
    choices[choice] = (choices[choice] as number) + value;
  });
}

/**
 * The gradients by the choices of the chunks that are not seen, at z = 0. Attention to these alone, with results `other`,
 * would join that to the chunks seen as z r other, r = e^(other.lse - lse); so its gradients are those of r other, and of
 * r (other - out) by what all of its weights have in common.
 */
async function addUnseen(
  choices: Float64Array,
  { q, k, v }: SoftmaxInputs,
  { out, lse }: AttentionResult,
  gradOut: Tensor,
  { problem, scale, chosen }: SoftmaxSettings,
  { signal, onProgress }: Control,
): Promise<void> {
  using temporaries = new Temporaries();
  const { own } = temporaries;
  const unseen = chosen.map((x) => 1 - x);
  const mask = routedMask(unseen, problem, false);
  const other = await temporaries.ownAll(
    attention(q, k, v, { mask, scale, signal, onProgress: (share) => onProgress?.(share / 3) }),
  );
  const column = [...lse.shape, 1];
  const ratio = await own(exp(await own(subtract(other.lse, lse))));
  const ratios = await own(ratio.reshape(column));
  const byOther = await own(multiply(gradOut, ratios));
  const apart = await own(subtract(other.out, out));
  const byCommon = await own(sumRows(await own(multiply(apart, byOther))));
  const gradLse = (await own(byCommon.reshape(lse.shape))) as Tensor<'f32'>;
  const grads = await attentionBackward(
    q,
    k,
    v,
    { ...other, gradOut: byOther, gradLse },
    {
      ...{ scale, mask, score: choiceScore(problem), captured: true, signal },
      onProgress: (share) => onProgress?.((1 + 2 * share) / 3),
    },
  );
  for (const tensor of [grads.gradQ, grads.gradK, grads.gradV]) tensor.dispose();
  using gradients = grads.gradCaptured.choice as Tensor<'f32'>;
  addHeads(choices, await gradients.read(), problem);
}
