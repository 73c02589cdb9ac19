/** What methods cost the default model: losses of the next token, and needles that occur a second time. */
import { defaultModelFiles } from '../../default-model/files';
import { createDecoder, type DecoderConfig, type LanguageModel, loadDecoder } from '../../models';
import { insertTargets, NO_TARGET } from '../../models/decoder/landmarks';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { openWeights, type WeightsLike } from '../../weights';
import { type LongContender, methodOf } from './contenders';
import type { LossRow } from './report';

/** Tokens of a needle, of which so many bring it up again. */
const NEEDLE = 24;
const CUE = 4;
const DEPTHS = [0.05, 0.25, 0.5, 0.75, 0.95];
const START = 'In the beginning';
const NEEDLE_START = 'The whale';
const CONTEXT = 4096;

/** What the model writes itself, so that exact attention is at its best there. */
async function draw(model: LanguageModel, start: string, count: number, seed: number, { signal }: Control) {
  const before = model.tokensOf(start);
  const options = { maxTokens: count, temperature: 0.8, topP: 0.95, seed, signal };
  const { tokens } = await model.generate(start, options).finish();
  return [...before, ...tokens].slice(0, count);
}

export interface Texts {
  readonly text: readonly number[];
  readonly needle: readonly number[];
}

/** A text of so many tokens, and a sentence that it does not have. */
export const textsOf = async (model: LanguageModel, count: number, control: Control): Promise<Texts> => ({
  text: await draw(model, START, count, 1, control),
  needle: await draw(model, NEEDLE_START, NEEDLE, 2, control),
});

export interface DefaultModel {
  readonly model: LanguageModel;
  readonly config: DecoderConfig;
}

export async function openDefaultModel(runtime: Runtime): Promise<DefaultModel> {
  await using weights = await openWeights(await defaultModelFiles());
  return { model: await loadDecoder(weights, { runtime, context: CONTEXT }), config: weights.config as DecoderConfig };
}

/** The decoder of a contender, and its parameters: those of the default model, or of one that was trained with its method. */
type Contending = Pick<LanguageModel, 'decoder' | 'parameters' | 'runtime'> & { readonly dispose?: () => void };

/** @returns why there is none, if there is none */
async function contending(
  { model, config }: DefaultModel,
  { label, params, ...contender }: LongContender,
  trained: WeightsLike | undefined,
  { signal }: Control,
): Promise<Contending | string> {
  const method = methodOf(contender.method);
  const attention = method && { method, params };
  const { runtime } = model;
  if (trained !== undefined) {
    const own = await loadDecoder(trained, { runtime, attention, context: CONTEXT, signal });
    const { decoder, parameters } = own;
    if (own.tokenizer && own.tokensOf(START).join() === model.tokensOf(START).join())
      return { decoder, parameters, runtime, dispose: () => own.dispose() };
    own.dispose();
    return 'its tokens are not those of the default model';
  }
  const remedy = `name one that was trained with it: --trained ${label}=FOLDER`;
  if (method?.needsTraining) return `it needs training, which the default model has not had: ${remedy}`;
  const decoder = createDecoder(config, { attention });
  const isThere = Object.keys(decoder.parameters).every((name) => name in model.parameters);
  return isThere ? { decoder, parameters: model.parameters, runtime } : `it needs training: ${remedy}`;
}

/** Nats a token from the one at `from` on. */
async function lossOf(
  { decoder, parameters, runtime }: Contending,
  tokens: readonly number[],
  from: number,
  { signal }: Control,
): Promise<number> {
  signal?.throwIfAborted();
  const targets = tokens.slice(1).map((token, at) => (at + 1 < from ? NO_TARGET : token));
  const part = insertTargets(tokens.slice(0, -1), targets, decoder.landmarks);
  const row = (of: readonly number[]) => runtime.tensor(of, [1, of.length], 'i32');
  using loss = runtime.scope(() =>
    decoder.loss(parameters, row(part.tokens), row(part.targets), { ignore: NO_TARGET, signal }),
  );
  return (await loss.read())[0] as number;
}

/** The losses of a contender on the first n tokens, by weights that were trained with its method if there are any. */
export async function lossesOf(
  opened: DefaultModel,
  contender: LongContender,
  { text, needle }: Texts,
  { n, trained }: { readonly n: number; readonly trained?: WeightsLike | undefined },
  control: Control,
): Promise<LossRow> {
  const { label } = contender;
  let own: Contending | string = '';
  try {
    own = await contending(opened, contender, trained, control);
    if (typeof own === 'string') return { label, n, reason: own };
    const loss = await lossOf(own, text.slice(0, n), 0, control);
    const needles: { depth: number; loss: number }[] = [];
    for (const depth of DEPTHS) {
      const hay = text.slice(0, n - 2 * NEEDLE);
      const at = Math.floor(depth * hay.length);
      const tokens = [...hay.slice(0, at), ...needle, ...hay.slice(at), ...needle];
      needles.push({ depth, loss: await lossOf(own, tokens, tokens.length - NEEDLE + CUE, control) });
    }
    return { label, n, loss, needles };
  } catch (error) {
    control.signal?.throwIfAborted();
    return { label, n, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    if (typeof own !== 'string') own.dispose?.();
  }
}
