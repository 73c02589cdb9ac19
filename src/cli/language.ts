/** What the commands of language models share: their options, and how a model is opened. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { defaultModelFiles } from '../default-model/files';
import { type DecoderConfig, type GenerateOptions, type LanguageModel, loadDecoder } from '../models';
import { STORAGE } from '../ops/cache/params';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import { openWeights, type Weights } from '../weights';
import { attentionOfModel, ownAttention } from './attention';
import { METHOD_OR_MODULE } from './methods';
import { backendOption, paramsOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { openFile } from './read-tensors';

export interface LanguageOptions extends Pick<RuntimeOptions, 'backend' | 'threads'> {
  /** Default: the default model. */
  readonly model?: string;
  readonly attention?: string;
  readonly params?: string;
  readonly cache?: (typeof STORAGE)[number];
  readonly context?: number;
  readonly types?: 'f32' | 'stored';
}

/** The options by which a model is found, and how it computes. */
export function languageOptions(command: Command): Command {
  return command
    .option(
      '--model <path>',
      'a folder as Hugging Face has them, its weights, a GGUF file, or what `saccade train` wrote; default: a small model that continues texts in the style of old books',
    )
    .option(
      '--attention <names>',
      `the attention of all layers, or several by commas, which layers take in turn, each ${METHOD_OR_MODULE}; default: as the model was trained`,
    )
    .addOption(paramsOption())
    .addOption(new Option('--cache <type>', 'how keys and values are stored; default: f32').choices([...STORAGE]))
    .option('--context <tokens>', 'the most tokens of a prompt and its answer; default: 4096', wholeNumber(2, 2 ** 24))
    .addOption(
      new Option('--types <types>', 'matrices as the file has them, or in f32')
        .choices(['stored', 'f32'])
        .default('stored'),
    )
    .addOption(backendOption())
    .addOption(threadsOption());
}

export interface AnswerOptions {
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly seed?: number;
  readonly stop?: string[];
}

/** The options by which tokens are chosen. */
export function answerOptions(command: Command): Command {
  return command
    .option(
      '--max-tokens <count>',
      'where an answer ends at the latest; default: where the context does',
      wholeNumber(1, 2 ** 24),
    )
    .option(
      '--temperature <number>',
      'what logits are divided by before a token is drawn; 0 takes the likeliest',
      number,
    )
    .option('--top-k <count>', 'draw from so many of the likeliest tokens', wholeNumber(1, 2 ** 24))
    .option('--top-p <share>', 'draw from the fewest of the likeliest tokens with this sum of probabilities', number)
    .option('--min-p <share>', "draw from tokens with this share of the likeliest one's probability", number)
    .option('--repetition-penalty <number>', 'what the logits of tokens that there were are divided by', number)
    .option('--presence-penalty <number>', 'subtracted from the logits of tokens that were generated', number)
    .option('--frequency-penalty <number>', 'subtracted for each time that they were', number)
    .option('--seed <number>', 'of what is drawn; default: 0', wholeNumber(0, 2 ** 31 - 1))
    .option(
      '--stop <text>',
      'ends an answer and is no part of it; may be given several times',
      (text, all: string[] = []) => [...all, text],
    );
}

/** A number in words that JavaScript takes for one. */
function number(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('It must be a number.');
}

export const DEFAULT_MODEL = 'saccade-default';
/** How the default model's texts are drawn, unless options say otherwise: it has no token that ends them. */
const OF_DEFAULT_MODEL = { maxTokens: 200, temperature: 0.8, topP: 0.95 };

/** The weights of a path, or of the default model. */
export async function openModel(path: string | undefined): Promise<Weights> {
  return path === undefined ? openWeights(await defaultModelFiles()) : openFile(path);
}

/** What `generate` takes of the options of a command. */
export function generateOptions(given: AnswerOptions & Pick<LanguageOptions, 'model'>): GenerateOptions {
  const options = given.model === undefined ? { ...OF_DEFAULT_MODEL, ...given } : given;
  const { maxTokens, temperature, topK, topP, minP, seed, stop } = options;
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = options;
  const penalties = { repetitionPenalty, presencePenalty, frequencyPenalty };
  return { maxTokens, temperature, topK, topP, minP, seed, stop, ...penalties };
}

/** Opens the model, does `work`, and gives back what it held. */
export async function withLanguageModel<Result>(
  { model, attention, params, cache, context, types, backend, threads }: LanguageOptions,
  work: (model: LanguageModel, runtime: Runtime) => Promise<Result>,
  {
    runtime: given,
    ...more
  }: { readonly rows?: number; readonly formats?: boolean; readonly runtime?: Runtime | undefined } = {},
): Promise<Result> {
  await using weights = await openModel(model);
  const config = weights.config as DecoderConfig | undefined;
  const attended = config && (await attentionOfModel(config, { attention, params }));
  const trained = config && attention === undefined ? ownAttention(config, params) : undefined;
  if (!given) process.stderr.write(beyondText(config, context));
  if (trained && !given) process.stderr.write(`${ownText(trained, params !== undefined)}\n`);
  using own = given ? undefined : await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const runtime = given ?? (own as Runtime);
  using language = await withProgress(model ?? DEFAULT_MODEL, (control) =>
    loadDecoder(weights, { runtime, attention: attended, cache, context, types, ...more, ...control }),
  );
  return await work(language, runtime);
}

/** Says that a context was asked for that is longer than the model's own. */
export function beyondText(config: Readonly<Record<string, unknown>> | undefined, context = 0): string {
  const own = config?.max_position_embeddings;
  if (typeof own !== 'number' || context <= own) return '';
  return `A context of ${context} tokens is beyond the ${own} of the model (max_position_embeddings): it may go wrong from there on\n`;
}

/** What attention is taken if none is named. */
const ownText = (own: NonNullable<ReturnType<typeof ownAttention>>, isChanged: boolean) =>
  `Attention as in training${isChanged ? ', but for --params' : ''}, unless --attention names another: ${own.map(({ method, params }) => `${method} ${JSON.stringify(params)}`).join(', ')}`;

/** Says, of sequences of so many tokens, that a method had nothing to leave out. */
export function exactText({ decoder: { exactUpTo = 0 } }: LanguageModel, tokens: number): string {
  return tokens > exactUpTo ? '' : `Attention was exact, as it is up to ${exactUpTo} tokens with these params\n`;
}

/** Tokens a second, and how long the first took. */
export function speedText({
  promptTokens,
  reusedTokens,
  promptMilliseconds,
  stepMilliseconds,
  tokens,
}: Readonly<Record<'promptTokens' | 'reusedTokens' | 'promptMilliseconds' | 'stepMilliseconds', number>> & {
  readonly tokens: readonly number[];
}): string {
  const rate = (count: number, milliseconds: number) => ((1000 * count) / Math.max(1, milliseconds)).toFixed(1);
  const reused = reusedTokens > 0 ? `, ${reusedTokens} of them known` : '';
  const prompt = `prompt of ${promptTokens} tokens${reused} in ${(promptMilliseconds / 1000).toFixed(2)} s`;
  if (tokens.length < 2) return prompt;
  return `${prompt}; ${tokens.length} tokens, ${rate(tokens.length - 1, stepMilliseconds)} a second`;
}
