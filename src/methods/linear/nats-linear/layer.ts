/** The two branches and their norms: out = silu(gate) (w0 gain rms(softmax) + w1 gain rms(delta)), and the gradients. */
import { ParameterError } from '../../../errors';
import { contiguous, expecting } from '../../../ops/copy';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { add, multiply, silu, step, subtract, unaryBackward } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { rmsNorm, rmsNormBackward } from '../../../ops/norm';
import { sum } from '../../../ops/reduce';
import { softmax as softmaxRows } from '../../../ops/softmax';
import type { Control } from '../../../runtime/backend';
import { controlOf } from '../../../runtime/turns';
import { bindShapes, formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { deltaBackward, deltaForward } from './delta';
import type { Params } from './params';
import { INPUTS, OPTIONAL, type Problem, problemOf } from './problem';
import { softmaxBackward, softmaxForward } from './softmax';

type Required = Readonly<Record<keyof typeof INPUTS, Tensor>>;
type Given = Required & Readonly<Partial<Record<keyof typeof OPTIONAL, Tensor>>>;
type Results = Readonly<Record<'out' | 'softmax' | 'delta' | 'lse', Tensor>>;

/** Of the results of both branches softmax is the first, as of the logits. */
const BRANCHES = ['softmax', 'delta'] as const;
type Branch = (typeof BRANCHES)[number];

/** Of [b, n, a, c], what sums over all tokens and heads go over. */
const TOKENS = { axes: [0, 1, 2] } as const;

export function forward(tensors: Required, params: Params, control: Control = {}): Results {
  const given: Given = tensors;
  const problem = checkInputs(given, params);
  const { b, n, h, e, a } = problem;
  return given.q.runtime.scope(() => {
    const { kept, ...operands } = operandsOf(given, params, problem);
    const deltaSettings = { problem, kept, scale: operands.deltaScale, forget: params.forget };
    const delta = deltaForward(operands.delta, deltaSettings, controlOf(control, 0, 2));
    const settings = { problem, kept, scale: operands.softmaxScale };
    const attended = softmaxForward(operands.softmax, settings, controlOf(control, 1, 2));
    const softmax = attended.out.reshape([b, n, h, e]);
    const { merged } = merge({ softmax, delta }, given, params, problem);
    const out = given.gate ? multiply(merged, silu(given.gate)) : merged;
    return { out, softmax, delta, lse: attended.lse.reshape([b, n, a]) };
  });
}

export function backward(
  tensors: Required,
  results: Results,
  gradOut: Tensor,
  params: Params,
  control: Control = {},
): Record<string, Tensor> {
  const given: Given = tensors;
  const problem = checkInputs(given, params);
  checkFloat32('nats-linear', { gradOut }, {});
  checkContiguous({ gradOut });
  bindShapes({ v: INPUTS.v, gradOut: INPUTS.v }, { v: given.v.shape, gradOut: gradOut.shape });
  const { b, n, h, d, a, p, r } = problem;
  const { epsilon, counterfactual } = params;
  const { runtime } = gradOut;
  return runtime.scope(() => {
    const { kept, difference, ...operands } = operandsOf(given, params, problem);
    const { merged, weights, normal, scaled } = merge(results, given, params, problem);
    const grads: Record<string, Tensor> = {};

    let gradMerged = gradOut;
    if (given.gate) {
      gradMerged = multiply(gradOut, silu(given.gate));
      const gradGate = multiply(gradOut, merged);
      grads.gate = unaryBackward('silu', given.gate, gradGate);
    }
    const gradHeads = gradMerged.reshape([b, n, a, r]);
    const gradBranch = {} as Record<Branch, Tensor>;
    const byWeight = {} as Record<Branch, Tensor>;
    for (const name of BRANCHES) {
      byWeight[name] = sum(multiply(gradHeads, scaled[name]), { axes: [-1], keepDims: true });
      const gradScaled = multiply(gradHeads, weights[name]);
      const gain = given[`gain_${name}`];
      if (gain) grads[`gain_${name}`] = sum(multiply(gradScaled, normal[name]), TOKENS);
      const gradNormal = gain ? multiply(gradScaled, gain) : gradScaled;
      const branch = results[name].reshape([b, n, a, r]);
      gradBranch[name] = rmsNormBackward(branch, gradNormal, { epsilon });
    }
    // The slope of a softmax of two: w0 w1 (by0 - by1), and its negative.
    const both = multiply(weights.softmax, weights.delta);
    const slope = multiply(both, subtract(byWeight.softmax, byWeight.delta));
    grads.mix = matmul(slope, runtime.tensor([1, -1], [1, 2]));

    const gradDelta = gradBranch.delta.reshape(results.delta.shape);
    const throughDelta = deltaBackward(
      operands.delta,
      gradDelta,
      { problem, kept, scale: operands.deltaScale, forget: params.forget, counterfactual },
      controlOf(control, 0, 2),
    );
    const { choices: deltaChoices, ...deltaGrads } = throughDelta;
    deltaGrads;
    const attended = {
      out: results.softmax.reshape([b, n, a, r]),
      lse: results.lse.reshape([b, n, a]) as Tensor<'f32'>,
    };
    const { choices: softmaxChoices, ...softmaxGrads } = softmaxBackward(
      operands.softmax,
      attended,
      gradBranch.softmax,
      { problem, kept, scale: operands.softmaxScale, counterfactual },
      controlOf(control, 1, 2),
    );
    softmaxGrads;

    for (const name of ['q', 'k'] as const) {
      const heads = given[name].reshape([b, n, a, p]);
      const gain = given[`gain_${name}`];
      if (gain) grads[`gain_${name}`] = sum(multiply(softmaxGrads[name], operands.normal[name]), TOKENS);
      const gradNormal = gain ? multiply(softmaxGrads[name], gain) : softmaxGrads[name];
      const fromHeads = rmsNormBackward(heads, gradNormal, { epsilon });
      const gradUnit = name === 'k' ? multiply(deltaGrads.k, operands.toUnit) : deltaGrads.q;
      const fromUnit = rmsNormBackward(given[name], gradUnit, { epsilon: epsilon / d });
      grads[name] = add(fromUnit, fromHeads.reshape([b, n, h, d]));
    }
    const gradValues = softmaxGrads.v.reshape(given.v.shape);
    grads.v = add(deltaGrads.v, gradValues);
    grads.g = deltaGrads.g;
    grads.beta = deltaGrads.beta;
    grads.route = routeGradient(difference, softmaxChoices, deltaChoices);
    return grads;
  });
}

/**
 * The gradient with respect to the logits [b, c, h, 2], from `difference`, that of the second less that of the first,
 * and the
 * gradients with respect to the choices z: forward z is one-hot, backward the softmax of the logits
 * (straight-through), so
 * softmax's p (1 - p) (z0 - z1) and its negative.
 */
function routeGradient(difference: Tensor, softmax: Tensor, delta: Tensor): Tensor {
  const slope = unaryBackward('sigmoid', difference, subtract(softmax, delta));
  return matmul(slope.reshape([...slope.shape, 1]), difference.runtime.tensor([1, -1], [1, 2]));
}

/** What both operators take: unit keys and queries for the delta rule, normalised heads for softmax attention. */
function operandsOf(given: Given, params: Params, problem: Problem) {
  const { b, n, d, a, p, r } = problem;
  const { epsilon, scale = 1 / Math.sqrt(p) } = params;
  const { q, k, v } = given;
  const g = expecting(given.g, gates('g', given.g, 0, 'finite and at most 0'));
  const beta = expecting(given.beta, gates('beta', given.beta, LARGEST, 'finite'));
  const route = expecting(given.route, gates('route', given.route, LARGEST, 'finite'));
  const logit = (at: number) => contiguous(route.slice(3, at, at + 1)).reshape(route.shape.slice(0, 3));
  const difference = subtract(logit(1), logit(0));
  const heads = (x: Tensor) => rmsNorm(x.reshape([b, n, a, p]), { epsilon });
  const scaled = (x: Tensor, gain: Tensor | undefined) => (gain ? multiply(x, gain) : x);
  const normal = { q: heads(q), k: heads(k) };
  // Over the root of the mean of squares times the root of d: unit length. Of q the scale takes in that factor.
  const toUnit = q.runtime.tensor([1 / Math.sqrt(d)], []);
  const [lengthQ, lengthK] = [rmsNorm(q, { epsilon: epsilon / d }), rmsNorm(k, { epsilon: epsilon / d })];
  return {
    difference,
    // Softmax attention has the ties.
    kept: step(difference),
    normal,
    toUnit,
    softmax: {
      q: scaled(normal.q, given.gain_q),
      k: scaled(normal.k, given.gain_k),
      v: v.reshape([b, n, a, r]),
    },
    softmaxScale: scale,
    delta: { q: lengthQ, k: multiply(lengthK, toUnit), v, g, beta },
    deltaScale: 1 / d,
  };
}

/** The weighted sum of both branches, before the gate, and what it is made from, in heads of softmax attention. */
function merge(
  branches: Readonly<Record<Branch, Tensor>>,
  given: Given,
  { epsilon }: Params,
  { b, n, h, e, a, r }: Problem,
) {
  const both = softmaxRows(given.mix);
  const [weights, normal, scaled, parts] = [{}, {}, {}, {}] as Record<Branch, Tensor>[] as [
    Record<Branch, Tensor>,
    Record<Branch, Tensor>,
    Record<Branch, Tensor>,
    Record<Branch, Tensor>,
  ];
  for (const [at, name] of BRANCHES.entries()) {
    const column = given.mix.runtime.tensor([1 - at, at], [2, 1]);
    weights[name] = matmul(both, column);
    normal[name] = rmsNorm(branches[name].reshape([b, n, a, r]), { epsilon });
    const gain = given[`gain_${name}`];
    scaled[name] = gain ? multiply(normal[name], gain) : normal[name];
    parts[name] = multiply(scaled[name], weights[name]);
  }
  const sum = add(parts.softmax, parts.delta);
  return { merged: sum.reshape([b, n, h, e]), weights, normal, scaled };
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

/** What the elements of an input must be: finite, and at most `most`. */
function gates(name: string, { shape }: Tensor, most: number, expected: string) {
  const error = (value: number, place: number) =>
    new ParameterError(`${name} must be ${expected}, got ${value} at element ${place} of ${formatShape(shape)}`);
  return { least: -LARGEST, most, error };
}
