/** What methods cost the default model: losses of the next token, and needles that occur a second time. */
import {
  CONTEXT,
  type DefaultModel,
  drawText,
  lossOf,
  type Network,
  networkWith,
} from '../../experiments/default-model';
import { type LanguageModel, loadDecoder } from '../../models';
import type { Control } from '../../runtime/backend';
import type { WeightsLike } from '../../weights';
import { type LongContender, methodOf } from './contenders';
import type { LossRow } from './report';

/** Tokens of a needle, of which so many bring it up again. */
const NEEDLE = 24;
const CUE = 4;
const DEPTHS = [0.05, 0.25, 0.5, 0.75, 0.95];
const START = 'In the beginning';
const NEEDLE_START = 'The whale';

export interface Texts {
  readonly text: readonly number[];
  readonly needle: readonly number[];
}

/** A text of so many tokens, and a sentence that it does not have. */
export const textsOf = async (model: LanguageModel, count: number, control: Control): Promise<Texts> => ({
  text: await drawText(model, START, { count, seed: 1 }, control),
  needle: await drawText(model, NEEDLE_START, { count: NEEDLE, seed: 2 }, control),
});

/** The decoder of a contender, and its parameters: those of the default model, or of one that was trained with its method. */
type Contending = Network & { readonly dispose?: () => void };

/** @returns why there is none, if there is none */
async function contending(
  opened: DefaultModel,
  { label, params, ...contender }: LongContender,
  trained: WeightsLike | undefined,
  { signal }: Control,
): Promise<Contending | string> {
  const { model } = opened;
  const method = methodOf(contender.method);
  const attention = method && { method, params };
  if (trained !== undefined) {
    const own = await loadDecoder(trained, { runtime: model.runtime, attention, context: CONTEXT, signal });
    const { decoder, parameters, runtime } = own;
    if (own.tokenizer && own.tokensOf(START).join() === model.tokensOf(START).join())
      return { decoder, parameters, runtime, dispose: () => own.dispose() };
    own.dispose();
    return 'its tokens are not those of the default model';
  }
  const remedy = `name one that was trained with it: --trained ${label}=FOLDER`;
  if (method?.needsTraining) return `it needs training, which the default model has not had: ${remedy}`;
  const network = networkWith(opened, attention);
  const isThere = Object.keys(network.decoder.parameters).every((name) => name in model.parameters);
  return isThere ? network : `it needs training: ${remedy}`;
}

/** The losses of a contender on the first n tokens, by weights that were trained with its method if there are any. */
export async function lossesOf(
  opened: DefaultModel,
  contender: LongContender,
  { text, needle }: Texts,
  { n, trained }: { readonly n: number; readonly trained?: WeightsLike | undefined },
  control: Control,
): Promise<LossRow> {
  const { label, chunk } = contender;
  let own: Contending | string = '';
  try {
    own = await contending(opened, contender, trained, control);
    if (typeof own === 'string') return { label, n, reason: own };
    const { signal } = control;
    const loss = await lossOf(own, text.slice(0, n), { chunk, signal });
    const needles: { depth: number; loss: number }[] = [];
    for (const depth of DEPTHS) {
      const hay = text.slice(0, n - 2 * NEEDLE);
      const at = Math.floor(depth * hay.length);
      const tokens = [...hay.slice(0, at), ...needle, ...hay.slice(at), ...needle];
      needles.push({ depth, loss: await lossOf(own, tokens, { from: tokens.length - NEEDLE + CUE, chunk, signal }) });
    }
    return { label, n, loss, needles };
  } catch (error) {
    control.signal?.throwIfAborted();
    return { label, n, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    if (typeof own !== 'string') own.dispose?.();
  }
}
