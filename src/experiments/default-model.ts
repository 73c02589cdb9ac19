/** The default model with other attention: what methods that need no training cost a model that was trained without them. */
import { defaultModelFiles } from '../default-model/files';
import {
  createDecoder,
  type Decoder,
  type DecoderAttention,
  type DecoderConfig,
  type LanguageModel,
  loadDecoder,
} from '../models';
import { insertTargets, NO_TARGET } from '../models/decoder/landmarks';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';
import { openWeights } from '../weights';

/** Tokens that it may see. */
export const CONTEXT = 4096;

export interface DefaultModel {
  readonly model: LanguageModel;
  readonly config: DecoderConfig;
}

export async function openDefaultModel(runtime: Runtime): Promise<DefaultModel> {
  await using weights = await openWeights(await defaultModelFiles());
  return { model: await loadDecoder(weights, { runtime, context: CONTEXT }), config: weights.config as DecoderConfig };
}

/** So many tokens that begin so and that the model goes on with, so that exact attention is at its best there. */
export async function drawText(
  model: LanguageModel,
  start: string,
  { count, seed }: Readonly<Record<'count' | 'seed', number>>,
  { signal }: Control = {},
): Promise<number[]> {
  const before = model.tokensOf(start);
  const options = { maxTokens: count, temperature: 0.8, topP: 0.95, seed, signal };
  const { tokens } = await model.generate(start, options).finish();
  return [...before, ...tokens].slice(0, count);
}

/** A decoder and its parameters. */
export type Network = Pick<LanguageModel, 'decoder' | 'parameters' | 'runtime'>;

/** The default model with other attention. */
export const networkWith = ({ model, config }: DefaultModel, attention?: DecoderAttention): Network => {
  const decoder: Decoder = attention ? createDecoder(config, { attention }) : model.decoder;
  return { decoder, parameters: model.parameters, runtime: model.runtime };
};

/** Nats a token from the one at `from` to before `to`. */
export async function lossOf(
  { decoder, parameters, runtime }: Network,
  tokens: readonly number[],
  {
    from = 0,
    to = tokens.length,
    signal,
  }: Pick<Control, 'signal'> & { readonly from?: number; readonly to?: number } = {},
): Promise<number> {
  signal?.throwIfAborted();
  const targets = tokens.slice(1).map((token, at) => (at + 1 < from || at + 1 >= to ? NO_TARGET : token));
  const part = insertTargets(tokens.slice(0, -1), targets, decoder.landmarks);
  const row = (of: readonly number[]) => runtime.tensor([...of], [1, of.length], 'i32');
  using loss = runtime.scope(() =>
    decoder.loss(parameters, row(part.tokens), row(part.targets), { ignore: NO_TARGET, signal }),
  );
  return (await loss.read())[0] as number;
}

/** The text on which experiments take losses, and its length. */
export const textOf = ({ model }: DefaultModel, count: number): Promise<number[]> =>
  drawText(model, 'In the beginning', { count, seed: 1 });

/** What a method's attention gets in each layer, [1, n, heads, d] each, one layer after the other. */
export async function eachLayer(
  { model: { decoder, parameters, runtime } }: DefaultModel,
  tokens: readonly number[],
  work: (inputs: Readonly<Record<'q' | 'k' | 'v', Tensor>>) => Promise<void>,
): Promise<void> {
  for (let layer = 0; layer < decoder.layers; layer++) {
    const inputs = runtime.scope(() =>
      decoder.attentionInputs(parameters, runtime.tensor([...tokens], [1, tokens.length], 'i32'), layer),
    );
    try {
      await work(inputs);
    } finally {
      for (const tensor of Object.values(inputs)) tensor.dispose();
    }
  }
}
