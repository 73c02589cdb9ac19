/** Parallax, its gradients and a step of decoding, on what attention's rows take: r are the queries the other way round. */
import { area } from '../masks/area';
import { type Expected, largestOf, spreadOver } from '../measure/gate';
import { parallax, parallaxBackward, parallaxWithMeans } from '../ops/parallax';
import { parallaxAttention, parallaxAttentionBackward } from '../ops/parallax/softmax';
import { type HostTensor, hostTensor, pickRows } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { cacheOf, inTurns, keyBytes, queriesOf, SHARED } from './decode-operations';
import type { Operation } from './operation';
import { extentOf, type Inputs, type Problem } from './problem';

/** Queries that are checked. */
const QUERIES = 8;

const pairs = (problem: Problem) => area(problem.mask, extentOf(problem));
const probesOf = (q: Float32Array) => q.map((_, at) => (q[q.length - 1 - at] as number) / 4);

function hostOf({ n, h, d }: Problem, { q, k, v }: Inputs) {
  const of = (x: Float32Array) => hostTensor(x, [1, n, h, d], 'f32');
  return { q: of(q), r: of(probesOf(q)), k: of(k), v: of(v) };
}

const gradientOf = ({ n, h, d }: Problem, { gradOut }: Inputs) => hostTensor(gradOut, [1, n, h, d], 'f32');

/** Some queries alone, and which keys they see. */
function someOf(problem: Problem, inputs: Inputs) {
  const { n, d, mask } = problem;
  const some = spreadOver(n, QUERIES);
  const { q, r, ...keys } = hostOf(problem, inputs);
  const picked = { ...keys, q: pickRows(q, some), r: pickRows(r, some) };
  const sees = (at: number, j: number, head: number, batch: number) =>
    mask.sees(some[at] as number, j, { ...extentOf(problem), head, batch });
  return { some, picked, sees, scale: 1 / Math.sqrt(d) };
}

/** Rows of [n, h, d], of which these are known. */
function expectation({ data }: HostTensor<'f64'>, some: readonly number[], from: number, of: string): Expected {
  const row = data.length / some.length;
  const known = some.map((query, at) => ({
    at: from + query * row,
    numbers: data.subarray(at * row, (at + 1) * row) as Float64Array,
  }));
  return { known, largest: largestOf(data), of };
}

export const parallaxForward: Operation = {
  name: 'parallax',
  growth: 2,
  flops: (problem) => 8 * problem.d * pairs(problem),
  size: ({ n, h, d }) => n * h * d,
  bytes: ({ n, h, d }) => 20 * n * h * d,
  expected(problem, inputs) {
    const { some, picked, sees, scale } = someOf(problem, inputs);
    return [expectation(parallaxAttention(picked, scale, sees).out, some, 0, 'largest result')];
  },
  open(runtime, { problem, inputs }) {
    const host = hostOf(problem, inputs);
    const [q, r, k, v] = [host.q, host.r, host.k, host.v].map((x) => runtime.fromHost(x)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const out = runtime.tensor(new Float32Array(q.size).fill(Number.NaN), q.shape);
    const { mask } = problem;
    return {
      call: (control) => parallax(q, r, k, v, { mask, out, ...control }).lse.dispose(),
      result: () => out.read() as Promise<Float32Array>,
      tensors: [q, r, k, v, out],
    };
  },
};

/** Eight products a pair. Of the gradients those with respect to queries and to r are checked. */
export const parallaxGradients: Operation = {
  name: 'parallax backward',
  growth: 2,
  takesGradient: true,
  flops: (problem) => 16 * problem.d * pairs(problem),
  size: ({ n, h, d }) => 2 * n * h * d,
  bytes: ({ n, h, d }) => 44 * n * h * d,
  expected(problem, inputs) {
    const { some, picked, sees, scale } = someOf(problem, inputs);
    const gradOut = pickRows(gradientOf(problem, inputs), some);
    const { gradQ, gradR } = parallaxAttentionBackward({ ...picked, gradOut }, scale, sees);
    const { n, h, d } = problem;
    return [
      expectation(gradQ, some, 0, 'largest gradient with respect to q'),
      expectation(gradR, some, n * h * d, 'largest gradient with respect to r'),
    ];
  },
  open(runtime, { problem, inputs }) {
    const host = hostOf(problem, inputs);
    const given = {
      ...{ q: runtime.fromHost(host.q), r: runtime.fromHost(host.r) },
      ...{ k: runtime.fromHost(host.k), v: runtime.fromHost(host.v) },
    };
    const { mask } = problem;
    const all = {
      ...given,
      ...parallaxWithMeans(given, { mask }),
      gradOut: runtime.fromHost(gradientOf(problem, inputs)),
    };
    let grads: Readonly<Record<string, Tensor>> = {};
    return {
      call(control) {
        for (const last of Object.values(grads)) last.dispose();
        grads = parallaxBackward(all, { mask }, control);
      },
      async result() {
        const joined = new Float32Array(2 * all.q.size);
        joined.set((await grads.q?.read()) as Float32Array);
        joined.set((await grads.r?.read()) as Float32Array, all.q.size);
        return joined;
      },
      get tensors() {
        return [...Object.values(all), ...Object.values(grads)];
      },
    };
  },
};

/** A step of 4 query heads for each key/value head, as attention's row `decoding`. */
export const decodingParallax: Operation = {
  name: 'parallax, one query, cache in f32',
  flops: ({ n, h, d }) => 8 * SHARED * h * d * n,
  size: ({ h, d }) => SHARED * h * d,
  bytes: keyBytes,
  expected(problem, inputs) {
    const { n, h, d } = problem;
    const queries = queriesOf(problem, inputs, 1);
    const [q, r] = [queries, probesOf(queries)].map((x) => hostTensor(x, [1, 1, SHARED * h, d]));
    const [k, v] = [inputs.k, inputs.v].map((x) => hostTensor(x, [1, n, h, d]));
    const { out } = parallaxAttention({ q: q!, r: r!, k: k!, v: v! }, 1 / Math.sqrt(d), () => true);
    return [expectation(out, [0], 0, 'largest result')];
  },
  open(runtime, { problem, inputs }) {
    const queries = queriesOf(problem, inputs, 1);
    const shape = [1, 1, SHARED * problem.h, problem.d];
    const [q, r] = [queries, probesOf(queries)].map((x) => runtime.tensor(x, shape)) as [Tensor, Tensor];
    const out = runtime.tensor(new Float32Array(q.size).fill(Number.NaN), shape);
    const sets = inTurns(keyBytes(problem), () => cacheOf(runtime, problem, inputs, 'f32'));
    return {
      call: () => parallax(q, r, sets.next().layer(0), { out }).lse.dispose(),
      result: () => out.read() as Promise<Float32Array>,
      tensors: [q, r, out, ...sets.all],
    };
  },
};
