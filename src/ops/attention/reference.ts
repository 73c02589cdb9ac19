/** A call of attention, and of its gradients, in float64. */
import { evaluate, type Fixed } from '../../expressions/evaluate';
import type { Mask } from '../../masks/mask';
import type { Host } from '../../runtime/op';
import { placesOf, type Score } from '../../scores/score';
import type { HostTensor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import { rowsOf, Slabs } from '../cache/reference';
import type { AttentionBackwardCall, AttentionCall } from './call';
import type { CachedCall } from './decode/cached';
import { type Modifier, type RawScore, type Sees, softmaxAttention, softmaxAttentionBackward } from './softmax';

export function forward(call: AttentionCall, { tensor, numbers, store }: Host): void {
  const { q, k, v, out, lse, scale, mask, score } = call;
  const inputs = { q: tensor(q), k: tensor(k), v: tensor(v) };
  const modifier = score && modifierOf(score, fixedOf(score, q, k, numbers));
  const result = softmaxAttention(inputs, scale, seesOf(mask, q, k), modifier);
  store(out, result.out.data);
  store(lse, result.lse.data);
}

export function backward(call: AttentionBackwardCall, { tensor, numbers, store }: Host): void {
  const { q, k, v, gradOut, gradLse, gradQ, gradK, gradV, gradTables, scale, mask, score } = call;
  const joint = { out: tensor(call.out), lse: tensor(call.lse) };
  const inputs = { q: tensor(q), k: tensor(k), v: tensor(v), gradOut: tensor(gradOut), joint };
  const fixed = score && fixedOf(score, q, k, numbers);
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

export function seesOf(mask: Mask, q: Tensor, k: Tensor): Sees {
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  return (i, j, head, batch) => mask.sees(i, j, { b, n, m, h, g, batch, head });
}

/** What is the same for all pairs. */
type OfCall = Omit<Fixed, 'h' | 'b'>;

type Shaped = Pick<Tensor, 'shape'>;

const fixedOf = ({ numbers, tensors }: Score, q: Shaped, k: Shaped, read: Host['numbers']): OfCall => ({
  n: q.shape[1] as number,
  m: k.shape[1] as number,
  numbers,
  tensors: tensors.map(({ tensor }) => read(tensor)),
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

export function cached({ scale, score, ...call }: CachedCall, host: Host): void {
  eachCachedRow(call, host, ({ q, k, v, sees }) => {
    const modifier = score && modifierOf(score, fixedOf(score, q, k, host.numbers));
    return softmaxAttention({ q, k, v }, scale, sees, modifier);
  });
}

/** What the queries of a row of a cache attend to. */
export interface CachedInputs extends Record<'q' | 'k' | 'v', HostTensor<'f64'>> {
  readonly sees: Sees;
  /** The part of a tensor like q that belongs to the same queries. */
  queriesOf(x: Tensor): HostTensor<'f64'>;
}

/** Stores what `attend` makes of each row of a cache; queries that there are not give zeros and -Infinity. */
export function eachCachedRow(
  { q, out, lse, layout, rows, counts, masks }: Omit<CachedCall, 'scale' | 'score'>,
  host: Host,
  attend: (inputs: CachedInputs) => { readonly out: HostTensor<'f64'>; readonly lse: HostTensor<'f64'> },
): void {
  const { heads: g, d, e } = layout;
  const [, n, h] = q.shape as [number, number, number];
  const slabs = new Slabs(host);
  const [outs, sums] = [new Float64Array(out.size), new Float64Array(lse.size).fill(Number.NEGATIVE_INFINITY)];
  for (const [batch, { length: m, pages }] of rows.entries()) {
    const count = counts[batch] as number;
    if (count === 0) continue;
    const numbers = (shape: readonly number[], data: Float64Array) => ({ dtype: 'f64', shape, data }) as const;
    const from = batch * n * h;
    const queriesOf = (x: Tensor) => numbers([1, count, h, d], host.numbers(x).slice(from * d, (from + count * h) * d));
    const place = { b: 1, n: count, m, h, g, batch: 0 };
    const result = attend({
      q: queriesOf(q),
      k: numbers([1, m, g, d], rowsOf(slabs, layout, pages, 0, m)),
      v: numbers([1, m, g, e], rowsOf(slabs, layout, pages, 1, m)),
      sees: (i, j, head) => (masks[batch] as Mask).sees(i, j, { ...place, head }),
      queriesOf,
    });
    outs.set(result.out.data, from * e);
    sums.set(result.lse.data, from);
  }
  host.store(out, outs);
  host.store(lse, sums);
}
