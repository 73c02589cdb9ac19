/** The attention of decoders, as the command line names it. */
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { Method } from '../methods/define';
import type { DecoderAttention } from '../models/decoder';
import { parseJson } from './options';

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
