/** Grouped softmax and its gradients as plain loops in float64, straight from the definition. */
import { type HostTensor, toFloat64 } from '../../tensor/host';
import { add, addTo, at, dot, rowOf, type Wide, zeros } from '../../tensor/wide';

interface Inputs {
  /** [b, n, h, d], [b, n, g, d] and [b, n, g, e]. */
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  /** The key [g, d] of a context-miss token, and whether it stands before the block of each token, [n]: 0 for none. */
  readonly miss?: HostTensor | undefined;
  readonly gated?: HostTensor | undefined;
}

interface Grouping {
  /** Tokens of a block, without the landmark behind them. */
  readonly block: number;
  /** Earlier blocks that a query sees; default: all. */
  readonly topBlocks?: number | undefined;
  readonly scale: number;
}

/**
 * Softmax within each earlier block, times the weight of its landmark among the tokens of the query's own block: out [b, n, h, e], and
 * lse [b, n, h] over own tokens and landmarks; from gradients with respect to out, those with respect to q, k, v and miss. Landmarks
 * behind the context-miss token share out its weight by a softmax of theirs.
 */
export function groupedSoftmax(
  { q, k, v, miss, gated }: Inputs,
  { block, topBlocks = Number.POSITIVE_INFINITY, scale }: Grouping,
  gradOut?: HostTensor,
): Record<'out' | 'lse' | 'gradQ' | 'gradK' | 'gradV' | 'gradMiss', Wide> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [g, e] = v.shape.slice(2) as [number, number];
  const [queries, keys, values] = [q, k, v].map(toFloat64) as [Float64Array, Float64Array, Float64Array];
  const byOut = gradOut && toFloat64(gradOut);
  const [out, lse] = [zeros([b, n, h, e]), zeros([b, n, h])];
  const [gradQ, gradK, gradV] = [q, k, v].map(({ shape }) => zeros(shape)) as [Wide, Wide, Wide];
  const [gradMiss, missed] = [zeros(miss?.shape ?? [0]), miss && toFloat64(miss)];
  for (let row = 0; row < b * n * h; row++) {
    const [head, i, batch] = [row % h, Math.floor(row / h) % n, Math.floor(row / h / n)];
    const keyRow = (j: number) => (batch * n + j) * g + Math.floor((head * g) / h);
    const query = rowOf(queries, row, d);
    const score = (j: number) => scale * dot(query, rowOf(keys, keyRow(j), d));
    const own = Math.floor(i / (block + 1));
    const regular = (at: number) => range(at * (block + 1), block);
    const landmark = (at: number) => at * (block + 1) + block;
    const opened = range(0, own)
      .sort((one, other) => score(landmark(other)) - score(landmark(one)) || one - other)
      .slice(0, topBlocks)
      .sort((one, other) => one - other);
    const near = regular(own).filter((j) => j <= i);
    const missAt = Math.floor((head * g) / h);
    const behind = missed && gated ? opened.filter((each) => gated.data[landmark(each)]) : [];
    const amongBehind = softmax(behind.map((each) => score(landmark(each))));
    const scoreOfMiss = missed && scale * dot(query, rowOf(missed, missAt, d));
    const gate = (each: number) => {
      const place = behind.indexOf(each);
      return place < 0 ? score(landmark(each)) : (scoreOfMiss as number) + Math.log(at(amongBehind, place));
    };
    const logits = [...near.map(score), ...opened.map(gate)];
    const first = softmax(logits);
    const groups = [
      ...near.map((j, place) => ({ gate: j, behind: -1, share: at(first, place), tokens: [j] })),
      ...opened.map((each, place) => ({
        gate: landmark(each),
        behind: behind.indexOf(each),
        share: at(first, near.length + place),
        tokens: regular(each),
      })),
    ].map((group) => ({ ...group, within: softmax(group.tokens.map(score)) }));
    lse.data[row] = logSumExp(logits);
    const result = rowOf(out.data, row, e);
    for (const { share, tokens, within } of groups)
      for (const [place, j] of tokens.entries()) addTo(result, rowOf(values, keyRow(j), e), share * at(within, place));
    if (!byOut) continue;
    const by = rowOf(byOut, row, e);
    const mean = dot(by, result);
    const byScore = (j: number, gradient: number) => {
      addTo(rowOf(gradQ.data, row, d), rowOf(keys, keyRow(j), d), scale * gradient);
      addTo(rowOf(gradK.data, keyRow(j), d), query, scale * gradient);
    };
    const ofBehind = behind.map(() => 0);
    for (const { gate, behind, share, tokens, within } of groups) {
      const ofTokens = tokens.map((j) => dot(by, rowOf(values, keyRow(j), e)));
      const ofGroup = ofTokens.reduce((sum, each, place) => sum + each * at(within, place), 0);
      if (behind < 0) byScore(gate, share * (ofGroup - mean));
      else ofBehind[behind] = share * (ofGroup - mean);
      for (const [place, j] of tokens.entries()) {
        const weight = share * at(within, place);
        for (let c = 0; c < e; c++) add(gradV.data, keyRow(j) * e + c, weight * at(by, c));
        byScore(j, weight * (at(ofTokens, place) - ofGroup));
      }
    }
    if (!missed || behind.length === 0) continue;
    const total = ofBehind.reduce((sum, each) => sum + each, 0);
    for (const [place, each] of behind.entries())
      byScore(landmark(each), at(ofBehind, place) - at(amongBehind, place) * total);
    addTo(rowOf(gradQ.data, row, d), rowOf(missed, missAt, d), scale * total);
    addTo(rowOf(gradMiss.data, missAt, d), query, scale * total);
  }
  return { out, lse, gradQ, gradK, gradV, gradMiss };
}

const range = (first: number, count: number) => Array.from({ length: count }, (_, at) => first + at);

function softmax(scores: readonly number[]): number[] {
  const most = Math.max(...scores);
  const exponentials = scores.map((score) => Math.exp(score - most));
  const sum = exponentials.reduce((total, each) => total + each, 0);
  return exponentials.map((each) => each / sum);
}

function logSumExp(scores: readonly number[]): number {
  const most = Math.max(...scores);
  return most + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - most), 0));
}
