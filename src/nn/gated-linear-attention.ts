/**
 * GLA, the token mixer of TransNormerLLM: causal linear attention with a decay for each head, normalised and gated.
 * q, k, v and u are projections of x; out = (rms(attention(silu(q), silu(k), v)) * u) Wo^T. The norm is over all heads.
 * Letters: b batch, n tokens, D width, h heads, d = D / h channels of a head.
 * Source: Qin et al. 2023, TransNormerLLM, arXiv 2307.14995.
 */
import { checkBoolean, checkKnown, checkNumbers, checkWhole } from '../check';
import { ParameterError } from '../errors';
import { linearAttention } from '../ops/linear-attention';
import { add, multiply, silu } from '../ops/map';
import { rmsNorm } from '../ops/norm';
import type { Tensor } from '../tensor/tensor';
import { linear } from './linear';
import { lrpe, lrpeAngles, lrpeFactors } from './lrpe';
import { checkTokens, defineModule, type Module } from './module';
import { matrix } from './projection';

export interface GatedLinearAttentionConfig {
  readonly width: number;
  readonly heads: number;
  /** For each head, in (0, 1]; default: none decays. */
  readonly decay?: readonly number[] | undefined;
  /** Whether positions enter by LRPE, with a learned angle for each channel. Default false. */
  readonly lrpe?: boolean | undefined;
}

/**
 * x [b, n, D] -> [b, n, D]. Parameters: `qkvu_proj.weight` [4 D, D], the four projections one below the other;
 * `out_proj.weight` [D, D]; with LRPE `lrpe.theta` [h, 1, d].
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function gatedLinearAttention(config: GatedLinearAttentionConfig): Module {
  checkKnown('config', config, ['width', 'heads', 'decay', 'lrpe'], (name) => `config has no '${name}'`);
  const { width, heads: h, decay, lrpe: hasAngles = false } = config;
  checkWhole('width', width, 1);
  checkWhole('heads', h, 1);
  if (width % h !== 0) throw new ParameterError(`heads must divide the width ${width}, got ${h}`);
  checkBoolean('lrpe', hasAngles);
  checkDecay(h, decay);
  const d = width / h;
  return defineModule({
    name: 'gatedLinearAttention',
    parameters: {
      'qkvu_proj.weight': matrix(4 * width, width),
      'out_proj.weight': matrix(width, width),
      ...(hasAngles && { 'lrpe.theta': { shape: [h, 1, d], initial: { values: lrpeAngles(width) } } }),
    },
    forward(x, { 'qkvu_proj.weight': weight, 'out_proj.weight': output, 'lrpe.theta': theta }, { signal }) {
      const [b, n] = checkTokens(x, width);
      const project = (at: number) => linear(x, weight.slice(0, at * width, (at + 1) * width), { signal });
      const heads = (projection: Tensor) => projection.reshape([b, n, h, d]);
      const [q, k, v] = [heads(silu(project(0))), heads(silu(project(1))), heads(project(2))];
      const attend = (queries: Tensor, keys: Tensor): Tensor =>
        linearAttention(queries, keys, v, { causal: true, decay, signal }).out;
      const mixed = theta ? rotated(q, k, theta.reshape([h, d]), attend) : attend(q, k);
      return linear(multiply(rmsNorm(mixed.reshape(x.shape)), project(3)), output, { signal });
    },
  });
}

/** What `attend` gives for queries and keys with LRPE: the sum over their two parts. */
function rotated(q: Tensor, k: Tensor, theta: Tensor, attend: (q: Tensor, k: Tensor) => Tensor): Tensor {
  const factors = lrpeFactors(theta, q.shape[1] as number);
  const [queries, keys] = [lrpe(q, factors), lrpe(k, factors)];
  return add(attend(queries.cos, keys.cos), attend(queries.sin, keys.sin));
}

/** There must be a decay for each head. */
function checkDecay(heads: number, decay: readonly number[] | undefined): void {
  if (decay === undefined) return;
  checkNumbers('decay', decay, 'numbers in (0, 1]', (value) => value > 0 && value <= 1);
  if (decay.length !== heads)
    throw new ParameterError(`decay must have one number for each of the ${heads} heads, got ${decay.length}`);
}
