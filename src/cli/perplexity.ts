import { Command } from 'commander';
import { significant } from '../text/format';
import { formatTable, right } from '../text/table';
import { exactText, type LanguageOptions, languageOptions, withLanguageModel } from './language';
import { wholeNumber } from './options';
import { withProgress } from './progress';
import { readText } from './read-tensors';
import { checkWritable, say, writeFileAtomic } from './write-file';

/** Tokens at a time where keys and values are to be stored in another type. */
const CHUNK = 512;

interface Options extends LanguageOptions {
  readonly text: string;
  readonly chunk?: number;
  readonly json?: string;
}

export function perplexityCommand(): Command {
  return languageOptions(
    new Command('perplexity')
      .requiredOption('--text <file>', 'the text, in UTF-8')
      .option(
        '--chunk <tokens>',
        'read so many at a time, going on from a cache, as answers do; default: all of a piece at once, or 512 with --cache',
        wholeNumber(1, 2 ** 24),
      )
      .option('--json <file>', 'the same figures'),
  )
    .addHelpText(
      'after',
      '\nThe text is read in pieces of --context tokens, each without those before it. With --chunk, what methods choose from a cache counts, such as blocks that landmarks open.',
    )
    .action(async (options: Options) => {
      const { text: file, json, cache, chunk = cache && CHUNK } = options;
      if (json !== undefined) await checkWritable(json);
      const { name, text } = await readText(file);
      await withLanguageModel(options, async (model) => {
        const found = await withProgress('perplexity', (control) => model.perplexity(text, { chunk, ...control }));
        if (json !== undefined) await writeFileAtomic(json, `${JSON.stringify(found, undefined, 2)}\n`);
        process.stderr.write(exactText(model, Math.min(found.tokens, model.context)));
        const bits = (found.loss * found.tokens) / Math.LN2 / new TextEncoder().encode(text).length;
        await say(
          formatTable(
            ['text', ...['tokens', 'loss', 'perplexity', 'bits a byte'].map(right)],
            [[name, String(found.tokens), significant(found.loss), significant(found.perplexity), significant(bits)]],
          ),
          json,
        );
      });
    });
}
