import { Command } from 'commander';
import type { Communicator } from '../cluster';
import { ParameterError } from '../errors';
import type { LanguageModel, Perplexity } from '../models';
import type { Parallel } from '../models/decoder/over-ranks';
import { perplexityOverRanks } from '../models/language-model/over-ranks';
import { significant } from '../text/format';
import { formatTable, right } from '../text/table';
import { exactText, type LanguageOptions, languageOptions, withLanguageModel } from './language';
import { jsonOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { onRanks, type RankOptions, rankOptions } from './ranks';
import { readText } from './read-tensors';
import { checkWritable, say, writeJson } from './write-file';

/** Tokens at a time where keys and values are to be stored in another type. */
const CHUNK = 512;

interface Options extends LanguageOptions, RankOptions {
  readonly text: string;
  readonly chunk?: number;
  readonly json?: string;
}

export function perplexityCommand(): Command {
  const command = new Command('perplexity')
    .requiredOption('--text <file>', 'the text, in UTF-8')
    .option(
      '--chunk <tokens>',
      'read so many at a time, going on from a cache, as answers do; default: all of a piece at once, or 512 with --cache',
      wholeNumber(1, 2 ** 24),
    )
    .addOption(jsonOption('the figures'));
  return rankOptions(languageOptions(command), 'context')
    .addHelpText(
      'after',
      '\nThe text is read in pieces of --context tokens, each without those before it. With --chunk, what methods choose from a cache counts, such as blocks that landmarks open.',
    )
    .action(async (options: Options) => {
      const { json, cache, chunk, ranks = 1 } = options;
      if (json !== undefined) await checkWritable(json);
      if (ranks > 1 && (cache ?? chunk) !== undefined)
        throw new ParameterError(
          `--ranks reads without a cache: leave out ${cache === undefined ? '--chunk' : '--cache'}`,
        );
      const { name, bytes, note, ...found } =
        ranks > 1 ? await onRanks<Measured>('perplexity', options, 'context') : await measured(options);
      await writeJson(json, found);
      process.stderr.write(note);
      const bits = (found.loss * found.tokens) / Math.LN2 / bytes;
      await say(
        formatTable(
          ['text', ...['tokens', 'loss', 'perplexity', 'bits a byte'].map(right)],
          [[name, String(found.tokens), significant(found.loss), significant(found.perplexity), significant(bits)]],
        ),
        json,
      );
    });
}

interface Measured extends Perplexity {
  /** The name of the text and its bytes. */
  readonly name: string;
  readonly bytes: number;
  /** What to say of the model's attention. */
  readonly note: string;
}

/** How well a model predicts a text, on this machine or as one of several ranks, which all get the same. */
export async function measured(options: MeasuredOptions, communicator?: Communicator): Promise<Measured> {
  const { cache, chunk = cache && CHUNK, parallel = 'context' } = options;
  const { name, text } = await readText(options.text);
  const bytes = new TextEncoder().encode(text).length;
  const work = async (model: LanguageModel) => {
    const found = communicator
      ? await perplexityOverRanks(model, text, communicator, parallel)
      : await withProgress('perplexity', (control) => model.perplexity(text, { chunk, ...control }));
    return { ...found, name, bytes, note: exactText(model, Math.min(found.tokens, model.context)) };
  };
  return await withLanguageModel(options, work, { runtime: communicator?.runtime });
}

interface MeasuredOptions extends LanguageOptions {
  readonly text: string;
  readonly chunk?: number;
  readonly parallel?: Parallel;
}
