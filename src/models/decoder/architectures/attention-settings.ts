/** Heads and windows of attention, as configurations have them. */
import { checkArray } from '../../../check';
import { LARGEST_HEAD } from '../../../runtime/cpu/params';
import { MOST_HEADS, refusal, type Settings } from './settings';

/** Query heads, heads of keys and values, and their dimension, by default `usual`, or width / heads. */
export function headsOf(settings: Settings, width: number, usual?: number) {
  const heads = settings.whole('num_attention_heads', undefined, 1, MOST_HEADS);
  const keyHeads = settings.whole('num_key_value_heads', heads);
  if (heads % keyHeads !== 0)
    throw refusal('num_key_value_heads', `a divisor of num_attention_heads ${heads}`, keyHeads);
  if (usual === undefined && settings.config.head_dim === undefined && width % heads !== 0)
    throw refusal('num_attention_heads', `a divisor of hidden_size ${width} where there is no head_dim`, heads);
  const d = settings.whole('head_dim', usual ?? width / heads);
  if (d % 2 !== 0 || d > LARGEST_HEAD) throw refusal('head_dim', `an even integer up to ${LARGEST_HEAD}`, d);
  return { heads, keyHeads, d };
}

const LAYER_TYPES = ['full_attention', 'sliding_attention'];

/**
 * How many keys a query sees in each layer, its own included; undefined for all. Unless the configuration lists the layers,
 * `isLocal` says which have a window.
 */
export function windowsOf(
  settings: Settings,
  layers: number,
  isLocal: (layer: number) => boolean,
): (number | undefined)[] {
  const usual = Array.from({ length: layers }, (_, at) => LAYER_TYPES[Number(isLocal(at))]);
  const types = settings.given('layer_types', usual);
  checkArray('layer_types of config', types);
  if (types.length !== layers) throw refusal('layer_types', `one for each of ${layers} layers`, types);
  return types.map((each) => {
    if (!LAYER_TYPES.includes(each as string)) throw refusal('layer_types', LAYER_TYPES.join(' or '), each);
    return each === LAYER_TYPES[1] ? settings.whole('sliding_window', 4096) : undefined;
  });
}

/** The params of exact attention for a window of so many keys. */
export const windowParams = (keys: number | undefined) => (keys === undefined ? {} : { window: [keys - 1, 0] });
