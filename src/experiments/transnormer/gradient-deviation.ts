/** How much gradients vary from step to step while one layer of attention learns, by the kind of attention. */

import { exactAttention } from '../../methods/dense/attention';
import { performer } from '../../methods/linear/performer';
import { transnormer } from '../../methods/linear/transnormer';
import * as linear from '../../ops/linear-attention/recurrence';
import { type HostTensor, hostTensor, toFloat64 } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { mean, product, transposed } from '../vectors';

type Qkv = Readonly<Record<'q' | 'k' | 'v', HostTensor>>;
type Attend = (inputs: Qkv, gradOut?: HostTensor) => Readonly<Record<string, HostTensor>>;

const N = 32;
const D = 16;
const RATE = 0.05;

export const ARMS: Readonly<Record<string, Attend>> = {
  '1+elu / sum': eluOverSum,
  Performer: (inputs, gradOut) => performer.reference(inputs, performer.parse({ features: D }), gradOut),
  softmax: (inputs, gradOut) => exactAttention.reference(inputs, exactAttention.parse({}), gradOut),
  NormAttention: (inputs, gradOut) => transnormer.reference(inputs, transnormer.parse({}), gradOut),
};

/**
 * The standard deviation over the mean, over `steps` steps of plain gradient descent, of the norm of the gradient with
 * respect to the projections of queries, keys, values and outputs. The layer learns what one of softmax attention with
 * projections of its own makes of new random tokens at each step.
 */
export function gradientDeviation(attend: Attend, steps: number, seed: number): number {
  const draw = (part: number, deviation: number) => normal(D * D, 1000 * seed + part).map((x) => deviation * x);
  const matrices = (first: number, deviation: number) =>
    [0, 1, 2, 3].map((part) => Float64Array.from(draw(first + part, deviation))) as Matrices;
  const [learnt, teacher] = [matrices(1, 1 / Math.sqrt(D)), matrices(5, 1.5 / Math.sqrt(D))];
  const norms = Array.from({ length: steps }, (_, step) => {
    const x = Float64Array.from(normal(N * D, 1000 * seed + 10 + step));
    const target = outputs(ARMS.softmax as Attend, x, teacher).out;
    const grads = gradients(attend, x, learnt, target);
    grads.forEach((grad, at) => {
      const matrix = learnt[at] as Float64Array;
      for (let c = 0; c < matrix.length; c++) matrix[c] = matrix[c]! - RATE * grad[c]!;
    });
    return Math.hypot(...grads.flatMap((grad) => [...grad]));
  });
  const average = mean(norms);
  return Math.sqrt(mean(norms.map((norm) => (norm - average) ** 2))) / average;
}

/** The projections of queries, keys, values and outputs, [D, D] each. */
type Matrices = [Float64Array, Float64Array, Float64Array, Float64Array];

function outputs(attend: Attend, x: Float64Array, [q, k, v, o]: Matrices) {
  const rows = (matrix: Float64Array) => hostTensor(product(x, matrix, D), [1, N, 1, D], 'f64');
  const inputs = { q: rows(q), k: rows(k), v: rows(v) };
  const mixed = toFloat64(attend(inputs).out as HostTensor);
  return { inputs, mixed, out: product(mixed, o, D) };
}

/** The gradients of half the mean squared distance of a token's output from its target. */
function gradients(attend: Attend, x: Float64Array, matrices: Matrices, target: Float64Array): Matrices {
  const { inputs, mixed, out } = outputs(attend, x, matrices);
  const byOut = out.map((value, at) => (value - target[at]!) / N);
  const gradMixed = product(byOut, transposed(matrices[3], D), D);
  const grads = attend(inputs, hostTensor(gradMixed, [1, N, 1, D], 'f64'));
  const across = transposed(x, D);
  const byMatrix = (name: string) => product(across, toFloat64(grads[name] as HostTensor), N);
  return [byMatrix('grad_q'), byMatrix('grad_k'), byMatrix('grad_v'), product(transposed(mixed, D), byOut, N)];
}

/** Linear attention over 1 + elu with a denominator. */
function eluOverSum({ q, k, v }: Qkv, gradOut?: HostTensor): Readonly<Record<string, HostTensor>> {
  const mapped = (x: HostTensor, map: (value: number, at: number) => number) =>
    hostTensor(toFloat64(x).map(map), x.shape, 'f64');
  const phi = (value: number) => (value > 0 ? 1 + value : Math.exp(value));
  const inputs = { q: mapped(q, phi), k: mapped(k, phi), v, causal: false, decay: [1], epsilon: 0 };
  const { out } = linear.linearAttention(inputs);
  if (!gradOut) return { out };
  const { gradQ, gradK, gradV } = linear.linearAttentionBackward({ ...inputs, gradOut });
  const gradSlope = (x: HostTensor, grad: HostTensor) => {
    const numbers = toFloat64(x);
    return mapped(grad, (value, at) => value * (numbers[at]! > 0 ? 1 : Math.exp(numbers[at]!)));
  };
  return { out, grad_q: gradSlope(q, gradQ), grad_k: gradSlope(k, gradK), grad_v: gradV };
}
