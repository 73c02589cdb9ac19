/** What methods cost the default model: losses of the next token, and needles that occur a second time. */
import { defaultModelFiles } from '../../default-model/files';
import { createDecoder, type DecoderConfig, type LanguageModel, loadDecoder } from '../../models';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { openWeights } from '../../weights';
import { type LongContender, methodOf } from './contenders';
import type { LossRow } from './report';

/** Tokens of a needle, of which so many bring it up again. */
const NEEDLE = 24;
const CUE = 4;
const DEPTHS = [0.05, 0.25, 0.5, 0.75, 0.95];
const START = 'In the beginning';
const NEEDLE_START = 'The whale';

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
  return { model: await loadDecoder(weights, { runtime, context: 4096 }), config: weights.config as DecoderConfig };
}

/** The losses of a contender on the first n tokens. */
export async function lossesOf(
  { model, config }: DefaultModel,
  contender: LongContender,
  { text, needle }: Texts,
  n: number,
  { signal }: Control,
): Promise<LossRow> {
  const { label, params } = contender;
  const method = methodOf(contender.method);
  try {
    if (method?.needsTraining) return { label, n, reason: 'it needs training, which the model has not had' };
    const decoder = createDecoder(config, method && { attention: { method, params } });
    const missing = Object.keys(decoder.parameters).find((name) => !(name in model.parameters));
    if (missing) return { label, n, reason: `it needs training: the model has no ${missing}` };
    const lossOf = async (tokens: readonly number[], from: number) => {
      signal?.throwIfAborted();
      const { runtime } = model;
      using loss = runtime.scope(() => {
        const inputs = runtime.tensor(tokens.slice(0, -1), [1, tokens.length - 1], 'i32');
        const targets = tokens.slice(1).map((token, at) => (at + 1 < from ? -1 : token));
        return decoder.loss(model.parameters, inputs, runtime.tensor(targets, [1, targets.length], 'i32'), {
          ignore: -1,
          signal,
        });
      });
      return (await loss.read())[0] as number;
    };
    const loss = await lossOf(text.slice(0, n), 0);
    const needles: { depth: number; loss: number }[] = [];
    for (const depth of DEPTHS) {
      const hay = text.slice(0, n - 2 * NEEDLE);
      const at = Math.floor(depth * hay.length);
      const tokens = [...hay.slice(0, at), ...needle, ...hay.slice(at), ...needle];
      needles.push({ depth, loss: await lossOf(tokens, tokens.length - NEEDLE + CUE) });
    }
    return { label, n, loss, needles };
  } catch (error) {
    signal?.throwIfAborted();
    return { label, n, reason: error instanceof Error ? error.message : String(error) };
  }
}
