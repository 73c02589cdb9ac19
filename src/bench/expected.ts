/** Expected results and gradients for some of the tokens, in float64. */
import { type Expected, expectedAttention, type Known, largestOf, spreadOver } from '../measure/gate';
import { type Modifier, softmaxAttention, softmaxAttentionBackward } from '../ops/attention/softmax';
import { hostTensor, pickRows } from '../tensor/host';
import { extentOf, type Inputs, type Problem } from './problem';

/** All queries are checked if there are at most this many, otherwise a few from the first to the last. */
export const ALL_QUERIES = 256;
const SOME_QUERIES = 16;

export const someOf = (n: number): number[] => spreadOver(n, n <= ALL_QUERIES ? n : SOME_QUERIES);

/** Numbers of a result from place `at` on, whose errors are measured by the largest of them. */
export const known = (numbers: ArrayLike<number>, of: string, at = 0): Expected => ({
  known: [{ at, numbers }],
  largest: largestOf(numbers),
  of,
});

/** Some rows of a matrix that begins at place `from` of a result; `numbers` holds these rows, one after the other. */
export function knownRows(
  numbers: Float64Array,
  rows: readonly number[],
  { from = 0, of = 'largest result' }: { readonly from?: number; readonly of?: string } = {},
): Expected {
  const width = numbers.length / rows.length;
  const known = rows.map((row, i) => ({
    at: from + row * width,
    numbers: numbers.subarray(i * width, (i + 1) * width),
  }));
  return { known, largest: largestOf(numbers), of };
}

const extent = (x: Float32Array, n: number, heads: number, d: number) => hostTensor(x, [1, n, heads, d]);

/** The result of some queries; `bias` is added to the scores of a query head. */
export function expectedResult(
  { n, h, g = h, d, mask }: Pick<Problem, 'n' | 'h' | 'g' | 'd' | 'mask'>,
  { q, k, v }: Inputs,
  bias?: (head: number, query: number, key: number) => number,
): [Expected] {
  const queries = someOf(n);
  const modifier: Modifier | undefined = bias && {
    value: (score, at, j, head) => score + bias(head, queries[at] as number, j),
    slope: () => 1,
  };
  const host = { q: extent(q, n, h, d), k: extent(k, n, g, d), v: extent(v, n, g, d) };
  return [expectedAttention(host, queries, { mask, scale: 1 / Math.sqrt(d), modifier })];
}

const gradientWithRespectTo = (name: string) => `largest gradient with respect to ${name}`;

/**
 * The gradients with respect to q, k and v for some tokens. A gradient with respect to a query takes its own row of
 * weights; one with respect to a key takes those of every query, so with many tokens only the last key/value head is
 * checked. Places count through gradQ, gradK and gradV, one after the other. `last` is the forward pass of the heads of
 * that one, which takes long in float64; default: the reference's.
 */
export function expectedGradients(problem: Problem, inputs: Inputs, last?: Attended): Expected[] {
  const { n, h, g = h, d } = problem;
  const some = someOf(n);
  const all = Array.from({ length: g }, (_, head) => head);
  const heads = (some.length === n ? all : all.slice(-1)).map((head) => ({
    head,
    rows: keyGradients(problem, inputs, { head, keys: some, attended: head === g - 1 ? last : undefined }),
  }));
  const ofKeys = (name: 'k' | 'v', from: number): Expected => {
    const known = heads.flatMap(({ head, rows }) =>
      some.map((key, at): Known => ({ at: from + (key * g + head) * d, numbers: (rows[at] as KeyGradients)[name] })),
    );
    const largest = Math.max(...known.map(({ numbers }) => largestOf(numbers)));
    return { known, largest, of: gradientWithRespectTo(name) };
  };
  return [
    knownRows(queryGradients(problem, inputs, some), some, { of: gradientWithRespectTo('q') }),
    ofKeys('k', n * h * d),
    ofKeys('v', n * (h + g) * d),
  ];
}

function queryGradients(problem: Problem, inputs: Inputs, queries: readonly number[]): Float64Array {
  const { n, h, g = h, d, mask } = problem;
  const given = {
    q: pickRows(extent(inputs.q, n, h, d), queries),
    k: extent(inputs.k, n, g, d),
    v: extent(inputs.v, n, g, d),
    gradOut: pickRows(extent(inputs.gradOut, n, h, d), queries),
  };
  return softmaxAttentionBackward(given, 1 / Math.sqrt(d), (at, j, head) =>
    mask.sees(queries[at] as number, j, { ...extentOf(problem), batch: 0, head }),
  ).gradQ.data;
}

type KeyGradients = Readonly<Record<'k' | 'v', Float64Array>>;

/** The result and the lse of the query heads that share a key/value head, query by query. */
export type Attended = Readonly<Record<'out' | 'lse', Float32Array | Float64Array>>;

/** For some keys of a key/value head, from the result and lse of every query of the heads that share it. */
function keyGradients(
  problem: Problem,
  inputs: Inputs,
  {
    head,
    keys,
    attended,
  }: { readonly head: number; readonly keys: readonly number[]; readonly attended?: Attended | undefined },
): KeyGradients[] {
  const { n, h, g = h, d, mask } = problem;
  const shared = h / g;
  const scale = 1 / Math.sqrt(d);
  const shares = Array.from({ length: shared }, (_, r) => head * shared + r);
  const pick = (x: Float32Array, heads: number, picked: readonly number[]) => ({
    ...pickRows(hostTensor(x, [n, heads, d]), picked),
    shape: [1, n, picked.length, d],
  });
  const given = { q: pick(inputs.q, h, shares), k: pick(inputs.k, g, [head]), v: pick(inputs.v, g, [head]) };
  const [q, k, v, gradOut] = [given.q.data, given.k.data, given.v.data, pick(inputs.gradOut, h, shares).data];
  const places = shares.map((head) => ({ ...extentOf(problem), batch: 0, head }));
  const sees = (i: number, j: number, r: number) => mask.sees(i, j, places[r] as (typeof places)[number]);
  const { out, lse } = attended ?? attendedBy(softmaxAttention(given, scale, sees));
  return keys.map((key) => {
    const gradK = new Float64Array(d);
    const gradV = new Float64Array(d);
    for (let row = 0; row < n * shared; row++) {
      if (!sees(Math.floor(row / shared), key, row % shared)) continue;
      const weight = Math.exp(scale * dot(q, row * d, k, key * d, d) - (lse[row] as number));
      const byWeight = dot(gradOut, row * d, v, key * d, d) - dot(gradOut, row * d, out, row * d, d);
      for (let c = 0; c < d; c++) {
        gradV[c]! += weight * gradOut[row * d + c]!;
        gradK[c]! += scale * weight * byWeight * q[row * d + c]!;
      }
    }
    return { k: gradK, v: gradV };
  });
}

const attendedBy = ({ out, lse }: Readonly<Record<'out' | 'lse', { readonly data: Float64Array }>>): Attended => ({
  out: out.data,
  lse: lse.data,
});

function dot(a: Float64Array, fromA: number, b: Attended['out'], fromB: number, count: number): number {
  let sum = 0;
  for (let c = 0; c < count; c++) sum += (a[fromA + c] as number) * (b[fromB + c] as number);
  return sum;
}
