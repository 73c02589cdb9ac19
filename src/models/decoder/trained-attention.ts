/** The attention that a model was trained with, as its configuration remembers it. */
import { checkArray, checkRecord, show } from '../../check';
import { ParameterError } from '../../errors';
import type { AttentionLayer } from '../../nn/attention';
import type { Described } from '../../nn/module';
import type { DecoderConfig } from './architectures/settings';

/** A method by its name, with its params. */
interface TrainedAttention {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** What `saccade train` adds to configurations: methods that layers take in turn. None for exact attention. */
const OWN = 'saccade_attention';

export const withTrainedAttention = (config: DecoderConfig, attention: readonly TrainedAttention[]): DecoderConfig => {
  const { [OWN]: _, ...others } = config;
  const isExact = attention.every(({ method, params }) => method === 'attention' && Object.keys(params).length === 0);
  return isExact ? others : { ...others, [OWN]: attention };
};

/**
 * The methods that layers take in turn; undefined for a model that was trained with exact attention.
 *
 * @throws {ParameterError} a configuration that says something else there
 */
export function trainedAttention(config: DecoderConfig): readonly TrainedAttention[] | undefined {
  const { [OWN]: own, landmark_every: every, landmark_token_id: token } = config;
  if (own === undefined && every === undefined && token !== undefined)
    throw new ParameterError(
      'the model was trained with landmarks (landmark_token_id of its configuration), which does not say after how many tokens: name landmark-attention with its block, or attention for exact attention',
    );
  if (own === undefined)
    return every === undefined ? undefined : [{ method: 'landmark-attention', params: { block: every } }];
  const what = `${OWN} of the configuration`;
  checkArray(what, own);
  const all = own as readonly TrainedAttention[];
  if (all.length === 0) throw new ParameterError(`${what} must name a method, got none`);
  for (const [at, each] of all.entries()) {
    checkRecord(`${what}[${at}]`, each);
    if (typeof each.method !== 'string')
      throw new ParameterError(`method of ${what}[${at}] must be the name of a method, got ${show(each.method)}`);
    checkRecord(`params of ${what}[${at}]`, each.params);
  }
  return all;
}

/** Throws where a configuration says that its model was trained with other than exact attention, which would be taken unasked. */
export function checkUntrained(config: DecoderConfig): void {
  const [own] = trainedAttention(config) ?? [];
  if (!own) return;
  throw new ParameterError(
    `attention must be given, as the model was trained with ${own.method} ${JSON.stringify(own.params)}; pass exactAttention for exact attention`,
  );
}

/** Says that layers' methods must be trained, if they learn all parameters that are missing, and any attention has the others. */
export function whyUntrained(
  missing: readonly string[],
  plain: Described,
  attentions: readonly AttentionLayer[],
): string | undefined {
  if (missing.some((name) => Object.hasOwn(plain, name))) return undefined;
  const learning = attentions.flatMap(({ method }) => (method.layer ? [method.name] : []));
  const names = [...new Set(learning)];
  return `the model was not trained with ${names.join(' and ')}, which must learn ${missing.length} parameters of its own: train it first, by saccade train --method ${names.join()} --distill MODEL or, to learn from a text alone, --from MODEL`;
}
