/** Rotary positions as a `config.json` describes them. */
import { checkRecord, checkWhole, show } from '../../../check';
import { ParameterError } from '../../../errors';
import type { RopeScaling, RopeSettings } from '../../../ops/rope';
import { ropeSetting, rotationOf } from '../../../ops/rope/rotation';
import { type DecoderConfig, refusal } from './settings';

/** What the rotation is, where it depends on how many positions there are. */
type RopeByLength = (length: number) => RopeSettings;

/**
 * The rotary embedding of heads of d dimensions; theta, the scaling and the share of the dimensions that are rotated are in
 * `rope_parameters`, or in `rope_theta`, `rope_scaling` and `partial_rotary_factor`.
 */
export function ropeOf(config: DecoderConfig, d: number): RopeSettings | RopeByLength {
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
  const type = (parameters.rope_type ?? parameters.type ?? 'default') as string;
  const plain = { theta, dimensions };
  const byLength = Object.hasOwn(BY_LENGTH, type) ? BY_LENGTH[type]?.(plain, parameters, config) : undefined;
  const rope = byLength ?? { ...plain, scaling: scalingOf(type, parameters, config) };
  // Both kinds, where there are two.
  for (const length of [1, 2 ** 31])
    rotationOf(ropeSetting.check('rope', typeof rope === 'function' ? rope(length) : rope, { d }, {}));
  return rope;
}

type Plain = Readonly<Record<'theta' | 'dimensions', number>>;
type Parameters = Readonly<Record<string, unknown>>;

/** Positions that a model was trained with before its context was extended. */
function originalLength(parameters: Parameters, config: DecoderConfig): number {
  const { original_max_position_embeddings: own } = { ...config, ...parameters };
  const length = (own ?? config.max_position_embeddings) as number;
  checkWhole('original_max_position_embeddings of config', length, 2);
  return length;
}

const BY_LENGTH: Readonly<
  Record<string, (plain: Plain, parameters: Parameters, config: DecoderConfig) => RopeByLength>
> = {
  longrope,
  // As Phi-3's first configurations call it.
  su: longrope,
  /** Theta grows with the sequence. */
  dynamic({ theta, dimensions }, parameters, config) {
    const original = originalLength(parameters, config);
    const factor = numberIn(parameters, 'factor');
    const power = dimensions / (dimensions - 2);
    return (length) => {
      const grown = (factor * Math.max(length, original)) / original - (factor - 1);
      return { dimensions, theta: length > original ? theta * grown ** power : theta };
    };
  },
};

/** Pairs have factors for sequences as long as those of training, and others for longer ones. */
function longrope(plain: Plain, parameters: Parameters, config: DecoderConfig): RopeByLength {
  const original = originalLength(parameters, config);
  const factor = ((config.max_position_embeddings as number | undefined) ?? original) / original;
  const { attention_factor = factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(original)) : 1 } = parameters;
  const [short, long] = ['short_factor', 'long_factor'].map((name): RopeSettings => {
    const factors = parameters[name];
    if (!Array.isArray(factors) || factors.length !== plain.dimensions / 2)
      throw refusal(`${name} of rope_parameters`, `${plain.dimensions / 2} numbers, one for each pair`, factors);
    return { ...plain, scaling: { type: 'factors', factors, attentionFactor: attention_factor } as RopeScaling };
  }) as [RopeSettings, RopeSettings];
  return (length) => (length > original ? long : short);
}

function numberIn(parameters: Parameters, name: string): number {
  const value = parameters[name];
  if (typeof value === 'number' && value >= 1 && Number.isFinite(value)) return value;
  throw refusal(`${name} of rope_parameters`, 'a number >= 1', value);
}

function scalingOf(type: string, parameters: Parameters, config: DecoderConfig): RopeScaling | undefined {
  const { factor, ...more } = parameters as Readonly<Record<string, number | undefined>> & { readonly factor: number };
  switch (type) {
    case 'default':
      return undefined;
    case 'linear':
      return { type, factor };
    case 'llama3': {
      const [low, high] = [more.low_freq_factor, more.high_freq_factor] as [number, number];
      return {
        type,
        factor,
        originalLength: originalLength(parameters, config),
        lowFrequencyFactor: low,
        highFrequencyFactor: high,
      };
    }
    case 'yarn': {
      if (parameters.truncate !== undefined && parameters.truncate !== true)
        throw new ParameterError(`config has truncate ${show(parameters.truncate)} of yarn, which is not supported`);
      const { beta_fast: betaFast, beta_slow: betaSlow, mscale, mscale_all_dim: all } = more;
      const magnitude = (scale: number) => 0.1 * scale * Math.log(factor) + 1;
      const attentionFactor = more.attention_factor ?? (mscale && all ? magnitude(mscale) / magnitude(all) : undefined);
      return { type, factor, originalLength: originalLength(parameters, config), betaFast, betaSlow, attentionFactor };
    }
    case 'factors':
      return { type, factors: parameters.factors as readonly number[], attentionFactor: more.attention_factor };
    default:
      throw refusal('rope_type', 'one of default, linear, llama3, yarn, dynamic, longrope, factors', type);
  }
}
