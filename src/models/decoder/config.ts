/**
 * What a Hugging Face `config.json` says about a decoder: Llama, Mistral, Qwen 2 and Qwen 3. Settings of training, of tokens
 * and of generation are passed over; what would change the numbers and is not known here is refused.
 */
import { checkArray, checkBoolean, checkChoice, checkRecord, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { ACTIVATIONS, type Activation } from '../../nn/activation';
import type { RopeScaling, RopeSettings } from '../../ops/rope';
import { rotationOf } from '../../ops/rope/rotation';
import { LARGEST_HEAD } from '../../runtime/cpu/params';

/** As parsed from a file, under its names. */
export type DecoderConfig = Readonly<Record<string, unknown>>;

export interface Extents {
  readonly vocabulary: number;
  readonly width: number;
  /** Within the feed-forward networks. */
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly d: number;
  readonly epsilon: number;
  readonly activation: Activation;
  /** Whether the matrix of the logits is that of the embedding. */
  readonly isTied: boolean;
  readonly bias: { readonly qkv: boolean; readonly out: boolean; readonly mlp: boolean };
  readonly hasQkNorm: boolean;
  readonly rope: RopeSettings;
  /** How many keys a query sees in each layer, its own included; undefined for all. */
  readonly windows: readonly (number | undefined)[];
  /** The standard deviation of the normal numbers that training starts from. */
  readonly std: number;
}

/** Layers, and heads of each: more than any published model has, and few enough to be described at once. */
export const [MOST_LAYERS, MOST_HEADS] = [1024, 1024];

const TYPES = ['llama', 'mistral', 'qwen2', 'qwen3'] as const;
/** Settings of other models, and the values with which they have no effect. */
const REFUSED: Readonly<Record<string, unknown>> = {
  quantization_config: null,
  partial_rotary_factor: 1,
  num_experts: 0,
  num_local_experts: 0,
};
const LAYER_TYPES = ['full_attention', 'sliding_attention'];

/** @throws {ParameterError} a setting that is missing, out of range or of a model that is not known, by its name */
export function readConfig(config: DecoderConfig): Extents {
  checkRecord('config', config);
  const type = config.model_type as (typeof TYPES)[number];
  if (!TYPES.includes(type)) throw refusal('model_type', `one of ${TYPES.join(', ')}`, type);
  for (const [name, harmless] of Object.entries(REFUSED))
    if ((config[name] ?? harmless) !== harmless)
      throw new ParameterError(`config has ${name} ${show(config[name])}, which is not supported`);
  const given = <T>(name: string, usual: T) => (config[name] ?? usual) as T;
  const whole = (name: string, usual?: number, least = 1, most?: number) => {
    const value = given(name, usual) as number;
    checkWhole(`${name} of config`, value, least, most);
    return value;
  };
  const flag = (name: string, usual = false) => {
    const value = given(name, usual);
    checkBoolean(`${name} of config`, value);
    return value;
  };
  const number = (name: string, usual: number) => {
    const value = given(name, usual);
    if (!(typeof value === 'number' && value >= 0 && Number.isFinite(value)))
      throw refusal(name, 'a finite number >= 0', value);
    return value;
  };

  const layers = whole('num_hidden_layers', undefined, 1, MOST_LAYERS);
  const heads = whole('num_attention_heads', undefined, 1, MOST_HEADS);
  const width = whole('hidden_size');
  const keyHeads = whole('num_key_value_heads', heads);
  if (heads % keyHeads !== 0)
    throw refusal('num_key_value_heads', `a divisor of num_attention_heads ${heads}`, keyHeads);
  if (type !== 'qwen3' && config.head_dim === undefined && width % heads !== 0)
    throw refusal('num_attention_heads', `a divisor of hidden_size ${width} where there is no head_dim`, heads);
  const d = whole('head_dim', type === 'qwen3' ? 128 : width / heads);
  if (d % 2 !== 0 || d > LARGEST_HEAD) throw refusal('head_dim', `an even integer up to ${LARGEST_HEAD}`, d);
  const activation = given<Activation>('hidden_act', 'silu');
  checkChoice('hidden_act of config', activation, ACTIVATIONS);
  const isBiased = flag('attention_bias');
  return {
    width,
    layers,
    heads,
    keyHeads,
    d,
    activation,
    vocabulary: whole('vocab_size'),
    hidden: whole('intermediate_size'),
    epsilon: number('rms_norm_eps', 1e-6),
    isTied: flag('tie_word_embeddings'),
    bias: { qkv: type === 'qwen2' || isBiased, out: type !== 'qwen2' && isBiased, mlp: flag('mlp_bias') },
    hasQkNorm: type === 'qwen3',
    rope: ropeOf(config, d),
    windows: windowsOf(type),
    std: number('initializer_range', 0.02),
  };

  function windowsOf(type: (typeof TYPES)[number]): (number | undefined)[] {
    const isSliding =
      type === 'mistral' ? config.sliding_window !== null : type !== 'llama' && flag('use_sliding_window');
    const first = type === 'mistral' ? 0 : whole('max_window_layers', 28, 0);
    const usual = Array.from({ length: layers }, (_, at) => LAYER_TYPES[Number(isSliding && at >= first)]);
    const types = given('layer_types', usual);
    checkArray('layer_types of config', types);
    if (types.length !== layers) throw refusal('layer_types', `one for each of ${layers} layers`, types);
    return types.map((each) => {
      if (!LAYER_TYPES.includes(each as string)) throw refusal('layer_types', LAYER_TYPES.join(' or '), each);
      return each === LAYER_TYPES[1] ? whole('sliding_window', 4096) : undefined;
    });
  }
}

function ropeOf(config: DecoderConfig, d: number): RopeSettings {
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  checkRecord('rope_parameters of config', given);
  const parameters = given as Readonly<Record<string, unknown>>;
  const theta = (parameters.rope_theta ?? config.rope_theta ?? 10_000) as number;
  if (!(typeof theta === 'number' && theta >= 1 && Number.isFinite(theta)))
    throw refusal('rope_theta', 'a number >= 1', theta);
  const rope = { theta, scaling: scalingOf(parameters, config) };
  rotationOf(rope, d);
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
    default:
      throw refusal('rope_type', 'one of default, linear, llama3, yarn', type);
  }
}

function refusal(name: string, expected: string, value: unknown): ParameterError {
  return new ParameterError(`${name} of config must be ${expected}, got ${show(value)}`);
}
