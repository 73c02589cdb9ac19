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

interface LossOptions extends Pick<Control, 'signal'> {
  /** Which tokens count; default: all. */
  readonly from?: number;
  readonly to?: number;
  /** Tokens that are read at a time, going on from a cache; default: all, without one. */
  readonly chunk?: number | undefined;
}

/** Nats a token from the one at `from` to before `to`. */
export async function lossOf(
  network: Network,
  tokens: readonly number[],
  { from = 0, to = tokens.length, chunk, signal }: LossOptions = {},
): Promise<number> {
  const { decoder, parameters, runtime } = network;
  signal?.throwIfAborted();
  const targets = tokens.slice(1).map((token, at) => (at + 1 < from || at + 1 >= to ? NO_TARGET : token));
  if (chunk !== undefined) return lossThroughCache(network, tokens.slice(0, -1), targets, chunk, { signal });
  const part = insertTargets(tokens.slice(0, -1), targets, decoder.landmarks);
  using loss = runtime.scope(() =>
    decoder.loss(parameters, rowOf(runtime, part.tokens), rowOf(runtime, part.targets), { ignore: NO_TARGET, signal }),
  );
  return (await loss.read())[0] as number;
}

async function lossThroughCache(
  { decoder, parameters, runtime }: Network,
  tokens: readonly number[],
  targets: readonly number[],
  chunk: number,
  { signal }: Pick<Control, 'signal'>,
): Promise<number> {
  using cache = decoder.cache(runtime, { capacity: tokens.length });
  let [sum, counted] = [0, 0];
  for (let at = 0; at < tokens.length; at += chunk) {
    signal?.throwIfAborted();
    const [own, wanted] = [tokens.slice(at, at + chunk), targets.slice(at, at + chunk)];
    const count = wanted.filter((target) => target !== NO_TARGET).length;
    using loss = runtime.scope(() =>
      decoder.loss(parameters, rowOf(runtime, own), rowOf(runtime, wanted), { cache, ignore: NO_TARGET, signal }),
    );
    const [mean = 0] = await loss.read();
    if (count > 0) sum += count * mean;
    counted += count;
  }
  return sum / counted;
}

const rowOf = (runtime: Runtime, of: readonly number[]): Tensor => runtime.tensor([...of], [1, of.length], 'i32');

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
