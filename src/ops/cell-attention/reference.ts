/** Attention to the keys of chosen cells, and its gradients, in float64. */
import type { Host } from '../../runtime/op';
import { softmaxAttention, softmaxAttentionBackward } from '../attention/softmax';
import type { CellBackwardCall, CellCall } from './call';
import { cellOf, chosenCells, keptCells } from './cells';

export function forward(call: CellCall, { tensor, numbers, store }: Host): void {
  const { q, k, v, estimate, out, lse, bounds, ties, scale } = call;
  const [b, h, n, w] = estimate.shape as [number, number, number, number];
  const chosen = chosenCells(numbers(estimate), call, { b, h, n, m: k.shape[1] as number, w });
  const sees = seesOf(call, numbers(estimate), chosen.bounds, Float64Array.from(chosen.ties));
  const result = softmaxAttention({ q: tensor(q), k: tensor(k), v: tensor(v) }, scale, sees);
  store(out, result.out.data);
  store(lse, result.lse.data);
  store(bounds, chosen.bounds);
  store(ties, Float64Array.from(chosen.ties));
}

export function backward(call: CellBackwardCall, { tensor, numbers, store }: Host): void {
  const { q, k, v, gradOut, gradQ, gradK, gradV, estimate, bounds, ties, scale } = call;
  const inputs = { q: tensor(q), k: tensor(k), v: tensor(v), gradOut: tensor(gradOut) };
  const sees = seesOf(call, numbers(estimate), numbers(bounds), numbers(ties));
  const result = softmaxAttentionBackward(inputs, scale, sees);
  store(gradQ, result.gradQ.data);
  store(gradK, result.gradK.data);
  store(gradV, result.gradV.data);
}

function seesOf(
  { estimate, k, causal }: Pick<CellCall, 'estimate' | 'k' | 'causal'>,
  values: Float64Array,
  bounds: Float64Array,
  ties: Float64Array,
) {
  const [, h, n, w] = estimate.shape as [number, number, number, number];
  const m = k.shape[1] as number;
  const known = new Map<number, boolean[]>();
  return (i: number, j: number, head: number, batch: number): boolean => {
    const row = (batch * h + head) * n + i;
    const own = () => keptCells(values.subarray(row * w, (row + 1) * w), bounds[row] as number, ties[row] as number);
    const kept = known.get(row) ?? own();
    known.set(row, kept);
    const visible = causal ? i + 1 + m - n : m;
    return j < visible && (kept[cellOf(j, visible, w)] as boolean);
  };
}
