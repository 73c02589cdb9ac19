/** The attention of decoders, as the command line names it. */
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { Method } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { findMethod } from '../methods/registry';
import { createDecoder, type DecoderAttention, type DecoderConfig } from '../models/decoder';
import { trainedAttention } from '../models/decoder/trained-attention';
import { readMethod } from './methods';
import { parseJson } from './options';

/** What the command line says of the attention of a model: names by commas, and params as JSON. */
interface Said {
  readonly attention?: string | undefined;
  readonly params?: string | undefined;
}

/**
 * The attention of a model's layers: that which is named, else that which the model was trained with, whose params those given
 * replace one by one. Undefined: exact attention, as the configuration says.
 */
export async function attentionOfModel(
  config: DecoderConfig,
  { attention, params }: Said = {},
): Promise<DecoderAttention | undefined> {
  const names = { option: '--attention', layersName: 'the layers' };
  const layersOf = () => createDecoder(config, { attention: exactAttention as Method }).layers;
  if (attention !== undefined)
    return attentionOf(await Promise.all(attention.split(',').map(readMethod)), params, layersOf(), names);
  const own = trainedAttention(config);
  if (!own) {
    if (params !== undefined) throw new ParameterError('--params are those of --attention: name its method too');
    return undefined;
  }
  const given: unknown = params === undefined ? undefined : parseJson(params);
  const merged = own.map((each, at) => {
    const more: unknown = Array.isArray(given) ? given[at] : given;
    return isRecord(more) ? { ...each.params, ...more } : each.params;
  });
  const isMergeable = given === undefined || isRecord(given) || (Array.isArray(given) && given.length === own.length);
  const json = isMergeable ? JSON.stringify(own.length === 1 ? merged[0] : merged) : params;
  return attentionOf(
    own.map(({ method }) => findMethod(method)),
    json,
    layersOf(),
    names,
  );
}

/**
 * One method for all layers, or several in turn, each with its own params, of which `--params` has one object or a list; `option`
 * names them, and `layersName` the layers, in messages.
 */
export function attentionOf(
  methods: readonly Method[],
  json: string | undefined,
  layers: number,
  { option, layersName }: Readonly<Record<'option' | 'layersName', string>>,
): DecoderAttention {
  const { length: count } = methods;
  const given: unknown = json === undefined ? (count === 1 ? {} : methods.map(() => ({}))) : parseJson(json);
  if (count === 1) {
    if (!isRecord(given)) throw new ParameterError(`--params must be an object, got ${show(given)}`);
    return { method: methods[0] as Method, params: given };
  }
  if (count > layers) throw new ParameterError(`${option} must name at most as many as ${layersName}, got ${count}`);
  if (!Array.isArray(given) || given.length !== count || !given.every(isRecord))
    throw new ParameterError(
      `--params must be a JSON array of ${count} objects, one for each of ${option}, got ${show(given)}`,
    );
  return Array.from({ length: layers }, (_, layer) => {
    const turn = layer % count;
    return { method: methods[turn] as Method, params: given[turn] };
  });
}
