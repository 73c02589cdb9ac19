/** How well a model predicts a text, over ranks. */
import type { Communicator } from '../../cluster/communicator';
import { ParameterError } from '../../errors';
import { insertTargets, NO_TARGET } from '../decoder/landmarks';
import { lossOverRanks, type Parallel } from '../decoder/over-ranks';
import type { LanguageModel, Perplexity } from './language-model';

/**
 * What `perplexity` of a language model gives, on each rank. `context` divides the tokens of each piece, unless it has fewer than
 * there are ranks; `data` gives pieces to ranks in turn.
 *
 * @throws {ParameterError} a text of fewer than two tokens; for `context`, what `lossOverRanks` refuses
 */
export async function perplexityOverRanks(
  model: LanguageModel,
  text: string,
  communicator: Communicator,
  parallel: Parallel,
): Promise<Perplexity> {
  const { runtime, decoder, parameters, context } = model;
  const { rank, size } = communicator;
  const tokens = model.tokensOf(text);
  const count = tokens.length - 1;
  if (count < 1) throw new ParameterError('text must have two tokens at least, got 1');
  const shareOf = lossOverRanks(decoder, communicator, parallel);
  let sum = 0;
  for (let start = 0, piece = 0; start < count; start += context, piece++) {
    const end = Math.min(start + context, count);
    const isDivided = parallel === 'context' && end - start >= size;
    if (!isDivided && piece % size !== rank) continue;
    const part = insertTargets(tokens.slice(start, end), tokens.slice(start + 1, end + 1), decoder.landmarks);
    const row = (of: readonly number[]) => runtime.tensor(of, [1, of.length], 'i32');
    using loss = runtime.scope(() => {
      const batch = { tokens: row(part.tokens), targets: row(part.targets) };
      return isDivided
        ? shareOf(parameters, batch, { ignore: NO_TARGET })
        : decoder.loss(parameters, batch.tokens, batch.targets, { ignore: NO_TARGET });
    });
    sum += ((await loss.read())[0] as number) * (end - start);
  }
  using own = runtime.tensor([sum]);
  using total = communicator.allReduce(own);
  const loss = ((await total.read())[0] as number) / count;
  return { tokens: count, loss, perplexity: Math.exp(loss) };
}
