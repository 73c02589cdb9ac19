/** A call of attention, and of its gradients, in float64. */
import { evaluate, type Fixed } from '../../expressions/evaluate';
import type { Mask } from '../../masks/mask';
import { placesOf, type Score } from '../../scores/score';
import type { Tensor } from '../../tensor/tensor';
import type { Host } from '../op';
import type { AttentionBackwardCall, AttentionCall } from './call';
import { type Modifier, type RawScore, type Sees, softmaxAttention, softmaxAttentionBackward } from './softmax';

export function forward(call: AttentionCall, { tensor, numbers, store }: Host): void {
  const { q, k, v, out, lse, scale, mask, score } = call;
  const inputs = { q: tensor(q), k: tensor(k), v: tensor(v) };
  const modifier = score && modifierOf(score, fixedOf(score, call, numbers));
  const result = softmaxAttention(inputs, scale, seesOf(mask, q, k), modifier);
  store(out, result.out.data);
  store(lse, result.lse.data);
}

export function backward(call: AttentionBackwardCall, { tensor, numbers, store }: Host): void {
  const { q, k, v, gradOut, gradLse, gradQ, gradK, gradV, gradTables, scale, mask, score } = call;
  const inputs = { q: tensor(q), k: tensor(k), v: tensor(v), gradOut: tensor(gradOut) };
  const fixed = score && fixedOf(score, call, numbers);
  const tables = fixed && gradTables ? new TableGradients(score, gradTables.size, fixed) : undefined;
  const result = softmaxAttentionBackward(
    { ...inputs, ...(gradLse && { gradLse: tensor(gradLse) }) },
    scale,
    seesOf(mask, q, k),
    fixed && modifierOf(score, fixed),
    tables?.add,
  );
  store(gradQ, result.gradQ.data);
  store(gradK, result.gradK.data);
  store(gradV, result.gradV.data);
  if (tables && gradTables) store(gradTables, tables.sums);
}

function seesOf(mask: Mask, q: Tensor, k: Tensor): Sees {
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  return (i, j, head, batch) => mask.sees(i, j, { b, n, m, h, g, batch, head });
}

/** What is the same for all pairs. */
type OfCall = Omit<Fixed, 'h' | 'b'>;

const fixedOf = ({ numbers, tensors }: Score, { q, k }: AttentionCall, read: Host['numbers']): OfCall => ({
  ...{ n: q.shape[1] as number, m: k.shape[1] as number },
  ...{ numbers, tensors: tensors.map(({ tensor }) => read(tensor)) },
});

function modifierOf(score: Score, fixed: OfCall): Modifier {
  return {
    value: (old, i, j, h, b) => evaluate(score.expression, i, j, { ...fixed, h, b }, old),
    slope: (old, i, j, h, b) => evaluate(score.derivative, i, j, { ...fixed, h, b }, old),
  };
}

/** Sums of the gradients with respect to the elements of what was captured, one array or tensor after the other. */
class TableGradients {
  readonly sums: Float64Array;
  readonly #places: ReturnType<typeof placesOf>;

  constructor(
    score: Score,
    elements: number,
    readonly fixed: OfCall,
  ) {
    this.sums = new Float64Array(elements);
    this.#places = placesOf(score);
  }

  readonly add = ({ score, i, j, head: h, batch: b }: RawScore, gradient: number): void => {
    const fixed = { ...this.fixed, h, b };
    for (const { index, factor, first, length } of this.#places) {
      const at = evaluate(index, i, j, fixed, score);
      if (!(at >= 0 && at < length)) continue;
      this.sums[first + at] = (this.sums[first + at] as number) + gradient * evaluate(factor, i, j, fixed, score);
    }
  };
}
