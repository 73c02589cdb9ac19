/** The two branches and their norms: out = silu(gate) (w0 gain rms(softmax) + w1 gain rms(delta)). */
import { ParameterError } from '../../../errors';
import { expecting } from '../../../ops/copy';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { map } from '../../../ops/map/map';
import { rmsNorm } from '../../../ops/norm';
import type { Control } from '../../../runtime/backend';
import { controlOf } from '../../../runtime/guard';
import { withDerivative } from '../../../tape';
import { formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { deltaRule } from './delta';
import type { Params } from './params';
import { type INPUTS, OPTIONAL, type Problem, problemOf } from './problem';
import { softmaxAttention } from './softmax';

type Required = Readonly<Record<keyof typeof INPUTS, Tensor>>;
type Given = Required & Readonly<Partial<Record<keyof typeof OPTIONAL, Tensor>>>;
/** All but what becomes of chunks. */
export type Tokens = Omit<Given, 'route'>;

export function forward(
  tensors: Required,
  params: Params,
  control: Control = {},
): Record<'out' | 'softmax' | 'delta' | 'lse', Tensor> {
  const given: Given = tensors;
  const problem = checkInputs(given, params);
  const { b, n, h, e, a, p } = problem;
  const { forget, counterfactual, scale = 1 / Math.sqrt(p) } = params;
  return given.q.runtime.scope(() => {
    const kept = choices(given.route);
    const delta = deltaRule(
      { ...ofDelta(given, params), kept },
      { problem, forget, counterfactual, control: controlOf(control, 0, 2) },
    );
    const { out, lse } = softmaxAttention(
      { ...ofSoftmax(given, params, problem), kept },
      { problem, scale, counterfactual, control: controlOf(control, 1, 2) },
    );
    const softmax = out.reshape([b, n, h, e]);
    return { out: merge({ softmax, delta }, given, params, problem), softmax, delta, lse: lse.reshape([b, n, a]) };
  });
}

/** What the delta rule takes of tokens: queries and keys of unit length. */
export function ofDelta({ q, k, v, g, beta }: Tokens, { epsilon }: Params) {
  const d = q.shape[3] as number;
  // Over the root of the mean of squares times the root of d: unit length. Of q the scale takes in that factor.
  const toUnit = q.runtime.tensor(new Float32Array(d).fill(1 / Math.sqrt(d)), [d]);
  const unit = (x: Tensor, gain?: Tensor) => rmsNorm(x, { epsilon: epsilon / d, gain });
  return { q: unit(q), k: unit(k, toUnit), v, g, beta };
}

/** What softmax attention takes of them: the same channels as other heads, those of queries and keys normalised. */
export function ofSoftmax(
  { q, k, v, gain_q: gainQ, gain_k: gainK }: Tokens,
  { epsilon }: Params,
  { a, p, r }: Pick<Problem, 'a' | 'p' | 'r'>,
) {
  const [b, n] = q.shape as [number, number];
  const heads = (x: Tensor, gain?: Tensor) => rmsNorm(x.reshape([b, n, a, p]), { epsilon, gain });
  return { q: heads(q, gainQ), k: heads(k, gainK), v: v.reshape([b, n, a, r]) };
}

/** Of logits [b, c, h, 2], which must be finite: 1 for the chunks that the delta rule keeps, 0 for others, [b, c, h]. */
export const choices = (route: Tensor) => keptChunks(expecting(route, finite('route', route)));

/**
 * Which chunks the delta rule keeps by logits [b, c, h, 2]: 1, or 0 for those that go to softmax attention, which has the
 * ties; [b, c, h]. Straight through: the gradient is that of the softmax of the two.
 */
const keptChunks = withDerivative(
  (route: Tensor) => {
    const [softmax, delta] = logits(route);
    return map((softmax, delta) => (delta > softmax ? 1 : 0), softmax, delta).reshape(route.shape.slice(0, 3));
  },
  ({ inputs: [route], gradients }) => {
    const [softmax, delta] = logits(route);
    const gradient = (gradients as Tensor).reshape(softmax.shape);
    return [
      map(
        (softmax, delta, gradient, sign, { sigmoid }) =>
          sign * sigmoid(delta - softmax) * sigmoid(softmax - delta) * gradient,
        ...[softmax, delta, gradient, route.runtime.tensor([-1, 1], [2])],
      ),
    ];
  },
);

/** Each [..., 1] of the two that lie along the last axis. */
function logits(x: Tensor): [softmax: Tensor, delta: Tensor] {
  const axis = x.rank - 1;
  return [x.slice(axis, 0, 1), x.slice(axis, 1, 2)];
}

/** The weighted sum of both branches, times the gate. */
export function merge(
  branches: Readonly<Record<'softmax' | 'delta', Tensor>>,
  { mix, gate, gain_softmax: gainSoftmax, gain_delta: gainDelta }: Tokens,
  { epsilon }: Params,
  { b, n, h, e, a, r }: Problem,
): Tensor {
  const heads = (x: Tensor) => x.reshape([b, n, a, r]);
  const softmax = rmsNorm(heads(branches.softmax), { epsilon, gain: gainSoftmax });
  const delta = rmsNorm(heads(branches.delta), { epsilon, gain: gainDelta });
  const [first, second] = logits(mix);
  const operands = [softmax, delta, first, second] as const;
  const merged = gate
    ? map(
        (softmax, delta, first, second, gate, { sigmoid, silu }) =>
          silu(gate) * (sigmoid(first - second) * softmax + sigmoid(second - first) * delta),
        ...operands,
        heads(gate),
      )
    : map(
        (softmax, delta, first, second, { sigmoid }) =>
          sigmoid(first - second) * softmax + sigmoid(second - first) * delta,
        ...operands,
      );
  return merged.reshape([b, n, h, e]);
}

/** Throws unless shapes, types and gates fit. */
function checkInputs(given: Given, { chunk }: Params): Problem {
  const { q, k, v, g, beta, route, mix } = given;
  const tensors: Record<string, Tensor> = { q, k, v, g, beta, route, mix };
  for (const name of Object.keys(OPTIONAL) as (keyof typeof OPTIONAL)[]) {
    const tensor = given[name];
    if (tensor) tensors[name] = tensor;
  }
  checkFloat32('nats-linear', tensors, {});
  checkContiguous(tensors);
  const shapes = Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, shape]));
  const problem = problemOf(shapes, chunk);
  return problem;
}

const LARGEST = 3.4028234663852886e38;

/** Conditions on the elements of an input. */
function finite(name: string, { shape }: Tensor) {
  const error = (value: number, place: number) =>
    new ParameterError(`${name} must be finite, got ${value} at element ${place} of ${formatShape(shape)}`);
  return { least: -LARGEST, most: LARGEST, error };
}
