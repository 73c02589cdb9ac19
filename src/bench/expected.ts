/** What results and gradients should be, in float64, for some of the tokens. */
import { type Expected, expectedAttention, type Known, largestOf, spreadOver } from '../measure/gate';
import { type Modifier, softmaxAttention, softmaxAttentionBackward } from '../ops/attention/softmax';
import { type HostTensor, hostTensor, pickRows } from '../tensor/host';
import { extentOf, type Inputs, type Problem } from './problem';

/** Up to this many queries all of them are checked, beyond it a few from the first to the last. */
const ALL_QUERIES = 256;
const SOME_QUERIES = 16;

export const someOf = (n: number): number[] => spreadOver(n, n <= ALL_QUERIES ? n : SOME_QUERIES);

/** The result of some queries; `bias`, of a query head, is added to the scores. */
export function expectedResult(
  { n, h, g = h, d, mask }: Pick<Problem, 'n' | 'h' | 'g' | 'd' | 'mask'>,
  { q, k, v }: Inputs,
  bias?: (head: number, query: number, key: number) => number,
): [Expected] {
  const queries = someOf(n);
  const host = { q: hostTensor(q, [1, n, h, d]), k: hostTensor(k, [1, n, g, d]), v: hostTensor(v, [1, n, g, d]) };
  const modifier: Modifier | undefined = bias && {
    value: (score, at, j, head) => score + bias(head, queries[at] as number, j),
    slope: () => 1,
  };
  return [expectedAttention(host, queries, { mask, scale: 1 / Math.sqrt(d), modifier })];
}

/**
 * The gradients with respect to q of some tokens, of all heads, and by k and v of the same tokens: a gradient with
 * respect to a query takes
 * its own row of weights, but one by a key takes those of every query, so that of many tokens only the last key/value
 * head is checked. Places are those in gradQ, gradK and gradV one after the other.
 */
export function expectedGradients(problem: Problem, inputs: Inputs): Expected[] {
  const { n, h, g = h, d } = problem;
  const some = someOf(n);
  const all = Array.from({ length: g }, (_, head) => head);
  const byHead = (some.length === n ? all : all.slice(-1)).map((head) => ({
    head,
    rows: keyGradients(problem, inputs, { head, keys: some }),
  }));
  const knownAt = (from: number, part: 'gradK' | 'gradV'): Known[] =>
    byHead.flatMap(({ head, rows }) =>
      some.map((key, at) => ({ at: from + (key * g + head) * d, numbers: rows[at]?.[part] as Float64Array })),
    );
  return [
    expectation('q', queryGradients(problem, inputs, some)),
    expectation('k', knownAt(n * h * d, 'gradK')),
    expectation('v', knownAt(n * (h + g) * d, 'gradV')),
  ];
}

function expectation(by: string, known: readonly Known[]): Expected {
  const largest = known.reduce((most, { numbers }) => Math.max(most, largestOf(numbers)), 0);
  return { known, largest, of: `largest gradient with respect to ${by}` };
}

function queryGradients(problem: Problem, inputs: Inputs, queries: readonly number[]): Known[] {
  const { n, h, g = h, d, mask } = problem;
  const row = h * d;
  const [q, gradOut] = [inputs.q, inputs.gradOut].map((data) => pickRows(hostTensor(data, [1, n, h, d]), queries)) as [
    HostTensor,
    HostTensor,
  ];
  const [k, v] = [inputs.k, inputs.v].map((data) => hostTensor(data, [1, n, g, d])) as [HostTensor, HostTensor];
  const { data } = softmaxAttentionBackward({ q, k, v, gradOut }, 1 / Math.sqrt(d), (at, j, head) =>
    mask.sees(queries[at] as number, j, { ...extentOf(problem), batch: 0, head }),
  ).gradQ;
  return queries.map((query, at) => ({ at: query * row, numbers: data.subarray(at * row, (at + 1) * row) }));
}

/** Of some keys of a key/value head, from the result and lse of every query of the heads that share it. */
function keyGradients(
  problem: Problem,
  inputs: Inputs,
  { head, keys }: { readonly head: number; readonly keys: readonly number[] },
): Record<'gradK' | 'gradV', Float64Array>[] {
  const { n, h, g = h, d, mask } = problem;
  const shared = h / g;
  const scale = 1 / Math.sqrt(d);
  const [q, gradOut] = [inputs.q, inputs.gradOut].map((data) => columnsOf(data, h * d, head * shared * d, shared * d));
  const [k, v] = [inputs.k, inputs.v].map((data) => columnsOf(data, g * d, head * d, d));
  const places = Array.from({ length: shared }, (_, r) => ({
    ...extentOf(problem),
    batch: 0,
    head: head * shared + r,
  }));
  const sees = (i: number, j: number, r: number) => mask.sees(i, j, places[r] as (typeof places)[number]);
  const { out, lse } = softmaxAttention(
    { q: hostTensor(q!, [1, n, shared, d]), k: hostTensor(k!, [1, n, 1, d]), v: hostTensor(v!, [1, n, 1, d]) },
    scale,
    sees,
  );
  return keys.map((key) => {
    const gradK = new Float64Array(d);
    const gradV = new Float64Array(d);
    for (let row = 0; row < n * shared; row++) {
      if (!sees(Math.floor(row / shared), key, row % shared)) continue;
      const weight = Math.exp(scale * dot(q!, row * d, k!, key * d, d) - (lse.data[row] as number));
      const byWeight = dot(gradOut!, row * d, v!, key * d, d) - dot(gradOut!, row * d, out.data, row * d, d);
      for (let c = 0; c < d; c++) {
        gradV[c]! += weight * gradOut![row * d + c]!;
        gradK[c]! += scale * weight * byWeight * q![row * d + c]!;
      }
    }
    return { gradK, gradV };
  });
}

/** Of rows of `row` numbers the `width` from `first`. */
export function columnsOf(data: Float32Array, row: number, first: number, width: number): Float32Array {
  const picked = new Float32Array((data.length / row) * width);
  for (let from = first, to = 0; to < picked.length; from += row, to += width) {
    picked.set(data.subarray(from, from + width), to);
  }
  return picked;
}

type Numbers = Float32Array | Float64Array;

function dot(a: Numbers, fromA: number, b: Numbers, fromB: number, count: number): number {
  let sum = 0;
  for (let c = 0; c < count; c++) sum += (a[fromA + c] as number) * (b[fromB + c] as number);
  return sum;
}
