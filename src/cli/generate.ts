import { Command, Option } from 'commander';
import { ParameterError, ParseError } from '../errors';
import type { AnswerFormat, LanguageModel } from '../models';
import { interruptible } from './interrupt';
import {
  type AnswerOptions,
  answerOptions,
  exactText,
  generateOptions,
  type LanguageOptions,
  languageOptions,
  speedText,
  withLanguageModel,
} from './language';
import { jsonOption } from './options';
import { readText } from './read-tensors';
import { checkWritable, isStdout, writeJson } from './write-file';

interface Options extends LanguageOptions, AnswerOptions {
  readonly prompt?: string;
  readonly in?: string;
  readonly chat?: true;
  readonly format?: 'json';
  readonly schema?: string;
  readonly grammar?: string;
  readonly json?: string;
}

export function generateCommand(): Command {
  return answerOptions(
    languageOptions(
      new Command('generate')
        .option('--prompt <text>', 'what the answer continues')
        .option('--in <file>', 'a text file with the prompt')
        .option('--chat', "the prompt is a user's message, put into the model's chat template")
        .addOption(new Option('--format <format>', 'what the answer must be').choices(['json']))
        .option('--schema <file>', 'the answer must be JSON of this schema')
        .option('--grammar <file>', 'the answer must be of this grammar, in EBNF')
        .addOption(jsonOption('the answer, its tokens, why it ended, and times')),
    ),
  )
    .addHelpText(
      'after',
      `\nExamples:\n  $ saccade generate --prompt 'Call me Ishmael.'\n  $ saccade generate --model trained --prompt 'Call me' --max-tokens 100\n  $ saccade generate --model model.gguf --chat --prompt 'Why is the sky blue?' --temperature 0.7 --top-p 0.9\n  $ saccade generate --model model.gguf --chat --prompt 'Ada is 36. Her name and age?' --schema person.json`,
    )
    .action(async (options: Options) => {
      const { prompt, in: file, json } = options;
      if ((prompt === undefined) === (file === undefined))
        throw new ParameterError('the prompt must be given, by --prompt or by --in, and by one of them only');
      if (json !== undefined) await checkWritable(json);
      const text = prompt ?? (await readText(file as string)).text;
      const format = await formatOf(options);
      await withLanguageModel(options, (model) => generate(model, text, options, format), {
        formats: format !== undefined,
      });
    });
}

async function formatOf({ format, schema, grammar }: Options): Promise<AnswerFormat | undefined> {
  if ([format, schema, grammar].filter((each) => each !== undefined).length > 1)
    throw new ParameterError('the answer can have one of --format, --schema and --grammar');
  if (grammar !== undefined) return { grammar: (await readText(grammar)).text };
  if (schema === undefined) return format;
  const { name, text } = await readText(schema);
  try {
    return { schema: JSON.parse(text) };
  } catch (error) {
    throw new ParseError(`${name} is not JSON: ${(error as Error).message}`);
  }
}

async function generate(
  model: LanguageModel,
  text: string,
  options: Options,
  format: AnswerFormat | undefined,
): Promise<void> {
  const prompt = options.chat ? [{ role: 'user', content: text }] : text;
  const isTaken = options.json !== undefined && (await isStdout(options.json));
  const out = isTaken ? process.stderr : process.stdout;
  const result = await interruptible(async (signal) => {
    const answer = model.generate(prompt, { ...generateOptions(options), format, signal });
    for await (const { text } of answer) out.write(text);
    return answer.result;
  });
  out.write('\n');
  process.stderr.write(`${speedText(result)}; ended by ${result.reason}\n`);
  process.stderr.write(exactText(model, result.promptTokens + result.tokens.length));
  await writeJson(options.json, result);
}
