/**
 * A block of TransNormerLLM: x1 = x + GLA(norm(x)), out = x1 + SGLU(norm(x1)), where the norm divides by the root mean
 * square and has no parameters. Letters: b batch, n tokens, D width.
 * Source: Qin et al. 2023, TransNormerLLM, arXiv 2307.14995.
 */
import { checkKnown } from '../check';
import { lightningDecays, type Schedule } from '../methods/linear/lightning-attention/schedules';
import { add } from '../ops/map';
import { rmsNorm } from '../ops/norm';
import { gatedLinearAttention } from './gated-linear-attention';
import { simpleGlu } from './mlp';
import { defineModule, type Module, partOf, prefixed } from './module';

export interface TransnormerConfig {
  readonly width: number;
  readonly heads: number;
  /** Width within SGLU; the released models have 2.75 times the width. */
  readonly hidden: number;
  /** Index of the block, from 0, and number of blocks: the decays depend on it, and the first one has LRPE. */
  readonly layer: number;
  readonly layers: number;
  /** The schedule of the decays: the paper's, or that of the released models, the default. */
  readonly schedule?: Schedule | undefined;
}

const NAMES = ['width', 'heads', 'hidden', 'layer', 'layers', 'schedule'];

/**
 * x [b, n, D] -> [b, n, D]. Parameters: those of `gatedLinearAttention` as `token_mixer.qkvu_proj.weight` and so on, those
 * of `simpleGlu` as `channel_mixer.l1.weight` and so on.
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function transnormerBlock(config: TransnormerConfig): Module {
  checkKnown('config', config, NAMES, (name) => `config has no '${name}'`);
  const { width, heads, hidden, layer, layers, schedule = 'released' } = config;
  const decay = lightningDecays(schedule, heads, { layer, layers });
  const mixer = gatedLinearAttention({ width, heads, decay, lrpe: layer === 0 });
  const channels = simpleGlu({ width, hidden });
  return defineModule({
    name: 'transnormerBlock',
    parameters: { ...prefixed(mixer.parameters, 'token_mixer'), ...prefixed(channels.parameters, 'channel_mixer') },
    forward(x, parameters, control) {
      const between = add(x, mixer.forward(rmsNorm(x), partOf(parameters, 'token_mixer'), control));
      return add(between, channels.forward(rmsNorm(between), partOf(parameters, 'channel_mixer'), control));
    },
  });
}
