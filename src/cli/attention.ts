/** The attention of decoders, as the command line names it. */
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { Method } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { findMethod, methods } from '../methods/registry';
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
  const own = ownAttention(config, params);
  if (!own) {
    if (params !== undefined) throw new ParameterError('--params are those of --attention: name its method too');
    return undefined;
  }
  const [first] = own;
  return attentionOf(
    own.map(({ method }) => libraryMethod(method)),
    JSON.stringify(own.length === 1 ? first?.params : own.map(({ params }) => params)),
    layersOf(),
    names,
  );
}

/** A method of the library that a model was trained with; one of the caller's has to be named by its module. */
function libraryMethod(name: string): Method {
  if (methods.some((each) => each.name === name)) return findMethod(name);
  throw new ParameterError(
    `the model was trained with ${name}, a method of yours: name its module, as in --attention ./mine.mjs`,
  );
}

/**
 * What a model was trained with, each method with those of its params replaced that are given: an object for all, or a list with one for
 * each. Undefined for exact attention.
 */
export function ownAttention(config: DecoderConfig, json: string | undefined): ReturnType<typeof trainedAttention> {
  const own = trainedAttention(config);
  if (!own || json === undefined) return own;
  const given: unknown = parseJson(json);
  const more = isRecord(given) ? own.map(() => given) : paramsOf(given, own.length, '--attention');
  return own.map(({ method, params }, at) => ({ method, params: { ...params, ...more[at] } }));
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
  if (count > layers) throw new ParameterError(`${option} must name at most as many as ${layersName}, got ${count}`);
  const params = json === undefined ? methods.map(() => ({})) : paramsOf(parseJson(json), count, option);
  const [only] = params;
  if (count === 1) return { method: methods[0] as Method, params: only };
  return Array.from({ length: layers }, (_, layer) => {
    const turn = layer % count;
    return { method: methods[turn] as Method, params: params[turn] };
  });
}

/** `--params` of so many methods, which `option` names. */
function paramsOf(given: unknown, count: number, option: string): readonly Readonly<Record<string, unknown>>[] {
  if (count === 1) {
    if (!isRecord(given)) throw new ParameterError(`--params must be an object, got ${show(given)}`);
    return [given];
  }
  if (!Array.isArray(given) || given.length !== count || !given.every(isRecord))
    throw new ParameterError(
      `--params must be a JSON array of ${count} objects, one for each of ${option}, got ${show(given)}`,
    );
  return given;
}
