/** Parallax, its gradients and a step of decoding, on what attention's rows take: r are the queries in reverse order. */
import { area } from '../masks/area';
import { spreadOver } from '../measure/gate';
import { parallax, parallaxBackwardOp, parallaxOp } from '../ops/parallax';
import { parallaxAttention, parallaxAttentionBackward } from '../ops/parallax/softmax';
import { type HostTensor, hostTensor, pickRows } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { cacheOf, keyBytes, lastQueries, SHARED } from './decode-operations';
import { knownRows } from './expected';
import { joined, tensorOperation } from './operation';
import { extentOf, type Inputs, type Operation, type Problem, type Task } from './problem';

/** Queries that are checked. */
const QUERIES = 8;

const pairs = (problem: Problem) => area(problem.mask, extentOf(problem));
const probesOf = ({ data, shape }: HostTensor) =>
  hostTensor(
    (data as Float32Array).map((_, at) => (data[data.length - 1 - at] as number) / 4),
    shape,
    'f32',
  );

function hostOf({ problem: { n, h, d }, inputs }: Task) {
  const host = (x: Float32Array) => hostTensor(x, [1, n, h, d], 'f32');
  return { q: host(inputs.q), r: probesOf(host(inputs.q)), k: host(inputs.k), v: host(inputs.v) };
}

const gradientOf = ({ problem: { n, h, d }, inputs }: Task) => hostTensor(inputs.gradOut, [1, n, h, d], 'f32');

/** Some of the queries, and which keys they see. */
function someOf(problem: Problem, inputs: Inputs) {
  const { n, d, mask } = problem;
  const some = spreadOver(n, QUERIES);
  const { q, r, ...keys } = hostOf({ problem, inputs });
  const picked = { ...keys, q: pickRows(q, some), r: pickRows(r, some) };
  const sees = (at: number, j: number, head: number, batch: number) =>
    mask.sees(some[at] as number, j, { ...extentOf(problem), head, batch });
  return { some, picked, sees, scale: 1 / Math.sqrt(d) };
}

export const parallaxForward = tensorOperation({
  name: 'parallax',
  growth: 2,
  flops: (problem) => 8 * problem.d * pairs(problem),
  bytes: ({ n, h, d }) => 20 * n * h * d,
  expected(problem, inputs) {
    const { some, picked, sees, scale } = someOf(problem, inputs);
    return [knownRows(parallaxAttention(picked, scale, sees).out.data, some)];
  },
  outputs: ({ n, h, d }) => ({ out: [1, n, h, d] }),
  operands(runtime, task) {
    const { q, r, k, v } = hostOf(task);
    const { mask } = task.problem;
    return { q: runtime.fromHost(q), r: runtime.fromHost(r), k: runtime.fromHost(k), v: runtime.fromHost(v), mask };
  },
  run: ({ q, r, k, v, mask, out }, control) => parallax(q, r, k, v, { mask, out, ...control }).lse.dispose(),
});

/** Eight products a pair. The gradients with respect to queries and to r are checked. */
export const parallaxGradients: Operation = {
  name: 'parallax backward',
  growth: 2,
  takesGradient: true,
  flops: (problem) => 16 * problem.d * pairs(problem),
  size: ({ n, h, d }) => 2 * n * h * d,
  bytes: ({ n, h, d }) => 44 * n * h * d,
  expected(problem, inputs) {
    const { some, picked, sees, scale } = someOf(problem, inputs);
    const gradOut = pickRows(gradientOf({ problem, inputs }), some);
    const { gradQ, gradR } = parallaxAttentionBackward({ ...picked, gradOut }, scale, sees);
    const { n, h, d } = problem;
    return [
      knownRows(gradQ.data, some, { of: 'largest gradient with respect to q' }),
      knownRows(gradR.data, some, { from: n * h * d, of: 'largest gradient with respect to r' }),
    ];
  },
  open(runtime, task) {
    const { q, r, k, v } = hostOf(task);
    const given = {
      q: runtime.fromHost(q),
      r: runtime.fromHost(r),
      k: runtime.fromHost(k),
      v: runtime.fromHost(v),
    };
    const { mask } = task.problem;
    const gradients = { ...parallaxOp(given, { mask }), gradOut: runtime.fromHost(gradientOf(task)) };
    let grads: Partial<ReturnType<typeof parallaxBackwardOp>> = {};
    return {
      call(control) {
        for (const last of Object.values(grads)) last.dispose();
        grads = parallaxBackwardOp({ ...given, gradients }, { mask, ...control });
      },
      result: () => joined([grads.gradQ as Tensor, grads.gradR as Tensor]),
      get tensors() {
        return [...Object.values({ ...given, ...gradients }), ...Object.values(grads)];
      },
    };
  },
};

/** A step with 4 query heads for each key/value head, as attention's row `decoding`. */
export const decodingParallax = tensorOperation({
  name: 'parallax, one query, cache in f32',
  flops: ({ n, h, d }) => 8 * SHARED * h * d * n,
  bytes: keyBytes,
  expected(problem, inputs) {
    const { n, h, d } = problem;
    const q = lastQueries(problem, inputs, 1);
    const host = (x: Float32Array) => hostTensor(x, [1, n, h, d]);
    const given = { q, r: probesOf(q), k: host(inputs.k), v: host(inputs.v) };
    return [knownRows(parallaxAttention(given, 1 / Math.sqrt(d), () => true).out.data, [0])];
  },
  outputs: ({ h, d }) => ({ out: [1, 1, SHARED * h, d] }),
  operands(runtime, { problem, inputs }) {
    const q = lastQueries(problem, inputs, 1);
    return { q: runtime.fromHost(q), r: runtime.fromHost(probesOf(q)) };
  },
  streamed: (runtime, task) => () => ({ cache: cacheOf(runtime, task, 'f32') }),
  run: ({ q, r, cache, out }) => parallax(q, r, cache.layer(0), { out }).lse.dispose(),
});
