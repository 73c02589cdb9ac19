/** Rotary positions as a `config.json` describes them. */
import { checkRecord, show } from '../../../check';
import { ParameterError } from '../../../errors';
import type { RopeScaling, RopeSettings } from '../../../ops/rope';
import { ropeSetting, rotationOf } from '../../../ops/rope/rotation';
import { type DecoderConfig, refusal } from './settings';

/**
 * The rotary embedding of heads of d dimensions; theta, the scaling and the share of the dimensions that are rotated are in
 * `rope_parameters`, or in `rope_theta`, `rope_scaling` and `partial_rotary_factor`.
 */
export function ropeOf(config: DecoderConfig, d: number): RopeSettings {
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  checkRecord('rope_parameters of config', given);
  const parameters = given as Readonly<Record<string, unknown>>;
  const theta = (parameters.rope_theta ?? config.rope_theta ?? 10_000) as number;
  if (!(typeof theta === 'number' && theta >= 1 && Number.isFinite(theta)))
    throw refusal('rope_theta', 'a number >= 1', theta);
  const share = (parameters.partial_rotary_factor ?? config.partial_rotary_factor ?? 1) as number;
  const dimensions = Math.floor(d * share);
  if (!(share > 0 && share <= 1 && dimensions >= 2 && dimensions % 2 === 0))
    throw refusal('partial_rotary_factor', `a share up to 1 of head_dim ${d} that is an even number`, share);
  const rope = { theta, dimensions, scaling: scalingOf(parameters, config) };
  rotationOf(ropeSetting.check('rope', rope, { d }, {}));
  return rope;
}

function scalingOf(parameters: Readonly<Record<string, unknown>>, config: DecoderConfig): RopeScaling | undefined {
  const { factor, ...more } = parameters as Readonly<Record<string, number | undefined>> & { readonly factor: number };
  const type = (parameters.rope_type ?? parameters.type ?? 'default') as string;
  const originalLength = (more.original_max_position_embeddings ?? config.max_position_embeddings) as number;
  switch (type) {
    case 'default':
      return undefined;
    case 'linear':
      return { type, factor };
    case 'llama3': {
      const [low, high] = [more.low_freq_factor, more.high_freq_factor] as [number, number];
      return { type, factor, originalLength, lowFrequencyFactor: low, highFrequencyFactor: high };
    }
    case 'yarn': {
      for (const name of ['mscale', 'mscale_all_dim', 'truncate'])
        if (parameters[name] !== undefined)
          throw new ParameterError(`config has ${name} ${show(parameters[name])} of yarn, which is not supported`);
      const { beta_fast: betaFast, beta_slow: betaSlow, attention_factor: attentionFactor } = more;
      return { type, factor, originalLength, betaFast, betaSlow, attentionFactor };
    }
    case 'factors':
      return { type, factors: parameters.factors as readonly number[] };
    default:
      throw refusal('rope_type', 'one of default, linear, llama3, yarn, factors', type);
  }
}
