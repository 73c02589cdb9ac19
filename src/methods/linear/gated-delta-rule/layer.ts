/** The layer of the gated delta rule: its gates, as in flash-linear-attention's GatedDeltaNet. */
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { rmsNorm } from '../../../ops/norm';
import { uniform } from '../../../tensor/random';
import type { Tensor } from '../../../tensor/tensor';
import type { Layer, LayerConfig, LayerParameter } from '../../define';

/** Under the root of the sum of squares. */
const EPSILON = 1e-6;

export function layer(config: LayerConfig): Layer {
  return {
    parameters: gateParameters(config),
    inputs: (x, { q, k }, parameters) => ({ q: unit(q), k: unit(k), ...gates(x, parameters) }),
  };
}

/** Decays start at e^(-A dt), A uniform up to 16 and dt log-uniform from 0.001 to 0.1; other numbers for each layer. */
export function gateParameters({ width, heads, layer }: LayerConfig): Record<string, LayerParameter> {
  const projection: LayerParameter = { shape: [heads, width], initial: { std: 0.02 } };
  const shares = (seed: number) => Array.from(uniform(heads, 2 * layer + seed));
  const logs = shares(1).map((share) => Math.log(16 * Math.max(share, 2 ** -24)));
  const steps = shares(2).map((share) => 0.001 * 100 ** share);
  return {
    'a_proj.weight': projection,
    'b_proj.weight': projection,
    A_log: { shape: [heads], initial: { values: logs } },
    // Softplus of it is the step.
    dt_bias: { shape: [heads], initial: { values: steps.map((step) => step + Math.log(-Math.expm1(-step))) } },
  };
}

/** g and beta [b, n, h] of tokens x [b, n, width]. */
export function gates(x: Tensor, parameters: Readonly<Record<string, Tensor>>): Record<'g' | 'beta', Tensor> {
  const { 'a_proj.weight': a, 'b_proj.weight': b, A_log: logs, dt_bias: bias } = parameters as Record<string, Tensor>;
  const project = (weight: Tensor) => matmul(x, weight, { transposeB: true });
  return {
    g: map(
      (x, log, bias, { softplus }) => -Math.exp(log) * softplus(x + bias),
      ...[project(a as Tensor), logs as Tensor, bias as Tensor],
    ),
    beta: map((x, { sigmoid }) => sigmoid(x), project(b as Tensor)),
  };
}

/** Rows of length 1. */
function unit(x: Tensor): Tensor {
  const d = x.shape.at(-1) as number;
  const gain = x.runtime.tensor(new Float32Array(d).fill(1 / Math.sqrt(d)), [d]);
  return rmsNorm(x, { epsilon: EPSILON / d, gain });
}
