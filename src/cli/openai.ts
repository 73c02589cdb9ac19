/** OpenAI's interface over a language model: chat, completions, embeddings. */
import { type Context, type Env, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { deferred } from '../deferred';
import type {
  ChatMessage,
  Choice,
  GenerateOptions,
  Generation,
  GenerationResult,
  LanguageModel,
  Piece,
} from '../models';
import { type InterfaceOptions, isEnding, lineUp, type Turn, turnsOf } from './openai-queue';
import {
  type AnswerRequest,
  chatRequest,
  checkLength,
  checkTokens,
  completionRequest,
  embeddingRequest,
  parseRequest,
  RefusedError,
  refusalOf,
} from './openai-requests';
import { type ToolCall, ToolCalls } from './openai-tools';

type Tokens = readonly number[];

/** How one of the two kinds of answers is written. */
interface Kind {
  /** Where the request has its prompt. */
  readonly prompt: string;
  readonly prefix: string;
  readonly whole: string;
  readonly part: string;
  /** The choice of an answer, and that of a piece of one. */
  choice(text: string, calls: readonly ToolCall[]): object;
  delta(text: string, isFirst: boolean): object;
  /** `told` tokens, each with those that were likeliest in its place, behind `before` characters of the answer. */
  logprobs(told: readonly Told[], before: number): object;
}

interface Told {
  readonly token: string;
  readonly logprob: number;
  readonly likeliest: readonly { readonly token: string; readonly logprob: number }[];
}

const withBytes = ({ token, logprob }: Pick<Told, 'token' | 'logprob'>) => ({
  token,
  logprob,
  bytes: [...new TextEncoder().encode(token)],
});

const CHAT: Kind = {
  prompt: 'messages',
  prefix: 'chatcmpl',
  whole: 'chat.completion',
  part: 'chat.completion.chunk',
  choice: (text, calls) => ({
    message: {
      role: 'assistant',
      content: text === '' && calls.length > 0 ? null : text,
      refusal: null,
      ...(calls.length > 0 && { tool_calls: calls }),
    },
  }),
  delta: (text, isFirst) => ({ delta: { ...(isFirst && { role: 'assistant' }), content: text } }),
  logprobs: (told) => ({
    content: told.map((each) => ({ ...withBytes(each), top_logprobs: each.likeliest.map(withBytes) })),
    refusal: null,
  }),
};
const COMPLETION: Kind = {
  prompt: 'prompt',
  prefix: 'cmpl',
  whole: 'text_completion',
  part: 'text_completion',
  choice: (text) => ({ text }),
  delta: (text) => ({ text }),
  logprobs: (told, before) => ({
    tokens: told.map(({ token }) => token),
    token_logprobs: told.map(({ logprob }) => logprob),
    top_logprobs: told.map(({ likeliest }) =>
      Object.fromEntries(likeliest.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: told.map((_, at) => told.slice(0, at).reduce((sum, { token }) => sum + token.length, before)),
  }),
};

/** What is answered: prompts, how, and the tools that answers may call. */
interface Asked {
  readonly kind: Kind;
  readonly request: AnswerRequest;
  readonly prompts: readonly Tokens[];
  readonly more: GenerateOptions;
  readonly tools?: readonly string[] | undefined;
}

/** An answer to each prompt, under way. */
interface Answers extends Asked {
  readonly head: { readonly id: string; readonly created: number; readonly model: string };
  readonly generations: readonly Generation[];
  /** Likelihoods of tokens behind `before` characters, if they were asked for. */
  told(tokens: readonly Choice[], before: number): object | null;
}

/** The application, for any server that Hono has. */
export function openaiInterface(model: LanguageModel, options: InterfaceOptions): Hono {
  const app = new Hono();
  const { name, signal: ending } = options;
  const inOrder = lineUp();
  const inTurn = turnsOf(options);

  /** The tokens of a text, made when those before were, as many long ones at once would keep answers waiting. */
  const tokensOf = (
    param: string,
    text: string,
    { signal }: Turn,
    make: () => Tokens | Promise<Tokens> = () => model.tokensOf(text),
  ): Promise<Tokens> =>
    inOrder(() => {
      signal.throwIfAborted();
      checkLength(param, text, model.context);
      return make();
    });
  const answer = async (c: Context, turn: Turn, asked: Asked): Promise<void> => {
    const answers = answersOf(model, name, turn, asked);
    if (asked.request.stream) await stream(c, turn, answers, ending);
    else await whole(c, turn, answers);
  };

  app.post('/v1/chat/completions', (c) =>
    inTurn(c.req.raw.signal, async (turn) => {
      const body = await c.req.text();
      const request = await inOrder(() => parseRequest(body, chatRequest));
      const tools = request.tool_choice !== 'none' && request.tools?.length ? request.tools : undefined;
      const said = request.messages.map(({ content }) => content).join('');
      const tokens = await tokensOf('messages', said, turn, () => tokensOfChat(model, request.messages, tools));
      const more = {
        maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
        logProbabilities: request.logprobs ? (request.top_logprobs ?? 0) : undefined,
      };
      const names = tools?.map((tool) => tool.function.name);
      await answer(c, turn, { kind: CHAT, request, prompts: [tokens], more, tools: names });
    }),
  );
  app.post('/v1/completions', (c) =>
    inTurn(c.req.raw.signal, async (turn) => {
      const body = await c.req.text();
      const request = await inOrder(() => parseRequest(body, completionRequest(model.context)));
      turn.take(request.prompt.length - 1);
      const prompts = [];
      for (const prompt of request.prompt)
        prompts.push(typeof prompt === 'string' ? await tokensOf('prompt', prompt, turn) : prompt);
      const more = { maxTokens: request.max_tokens ?? 16, logProbabilities: request.logprobs ?? undefined };
      await answer(c, turn, { kind: COMPLETION, request, prompts, more });
    }),
  );
  app.post('/v1/embeddings', (c) =>
    inTurn(c.req.raw.signal, async (turn) => {
      const body = await c.req.text();
      const { input, encoding_format: format } = await inOrder(() => parseRequest(body, embeddingRequest));
      const data = [];
      let count = 0;
      for (const [index, text] of [input].flat().entries()) {
        const tokens = await tokensOf('input', text, turn);
        checkTokens('input', tokens, model.context);
        const vector = await model.embed(tokens, { signal: turn.signal });
        count += tokens.length;
        const embedding = format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
        data.push({ object: 'embedding', index, embedding });
      }
      const usage = { prompt_tokens: count, total_tokens: count };
      turn.respond(c.json({ object: 'list', data, model: name, usage }));
    }),
  );
  answerErrors(app);
  return app;
}

function answersOf(model: LanguageModel, name: string, { signal }: Turn, asked: Asked): Answers {
  const { kind, request, prompts, more } = asked;
  const head = { id: `${kind.prefix}-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000), model: name };
  const options = { ...optionsOf(request), ...more, signal };
  for (const prompt of prompts) checkTokens(kind.prompt, prompt, model.context);
  const generations = prompts.map((prompt) => model.generate(prompt, options));
  const tell = tellerOf(model);
  const told = (tokens: readonly Choice[], before: number) =>
    more.logProbabilities === undefined ? null : kind.logprobs(tokens.map(tell), before);
  return { ...asked, head, generations, told };
}

async function whole(c: Context, turn: Turn, { kind, tools = [], head, generations, told }: Answers): Promise<void> {
  const choices = generations.map(async (generation, index) => {
    const tokens: Choice[] = [];
    for await (const piece of generation) tokens.push(...piece.tokens);
    const { result } = generation;
    const found = new ToolCalls(tools);
    const text = tools.length > 0 ? found.push(result.text) : result.text;
    const { text: rest, calls } = found.end();
    const reason = calls.length > 0 ? 'tool_calls' : finishOf(result);
    return { index, ...kind.choice(text + rest, calls), logprobs: told(tokens, 0), finish_reason: reason };
  });
  const answers = { ...head, object: kind.whole, choices: await Promise.all(choices) };
  turn.respond(c.json({ ...answers, usage: usageOf(generations.map(({ result }) => result)) }));
}

async function stream(c: Context, turn: Turn, answers: Answers, ending: AbortSignal): Promise<void> {
  const { kind, request, head, generations } = answers;
  // What is wrong with a request is told by a status, so the first pieces are awaited before anything is sent.
  const begun = await Promise.all(
    generations.map(async (generation) => {
      const pieces = generation[Symbol.asyncIterator]();
      return { pieces, first: await pieces.next() };
    }),
  );
  const ended = deferred<void>();
  const response = streamSSE(c, async (stream) => {
    const send = (data: object) => stream.writeSSE({ data: JSON.stringify(data) });
    const withUsage = request.stream_options?.include_usage;
    const part = (choices: readonly object[], usage: object | null = null) =>
      send({ ...head, object: kind.part, choices, ...(withUsage && { usage }) });
    try {
      await Promise.all(begun.map(({ pieces, first }, index) => streamOne(answers, index, pieces, first, part)));
      if (withUsage) await part([], usageOf(generations.map(({ result }) => result)));
      await stream.writeSSE({ data: '[DONE]' });
    } catch (error) {
      await send(refusalOf(ending.aborted ? isEnding() : (error as Error)).body);
    } finally {
      ended.resolve();
    }
  });
  turn.respond(response);
  await ended.promise;
}

/** Writes one of the answers of a stream, from its first piece on. */
async function streamOne(
  { kind, tools = [], generations, told }: Answers,
  index: number,
  pieces: AsyncIterator<Piece>,
  first: IteratorResult<Piece>,
  part: (choices: readonly object[]) => Promise<void>,
): Promise<void> {
  const found = new ToolCalls(tools);
  let [length, isFirst] = [0, true];
  const choice = (more: object, logprobs: object | null = null, finish_reason: string | null = null) =>
    part([{ index, ...more, logprobs, finish_reason }]);
  for (let next = first; !next.done; next = await pieces.next()) {
    const { text: piece, tokens } = next.value;
    const text = tools.length > 0 ? found.push(piece) : piece;
    const logprobs = told(tokens, length);
    length += piece.length;
    if (text === '' && logprobs === null && !isFirst) continue;
    await choice(kind.delta(text, isFirst), logprobs);
    isFirst = false;
  }
  const { text, calls } = found.end();
  const listed = calls.map((call, index) => ({ index, ...call }));
  if (calls.length > 0) await choice({ delta: { tool_calls: listed } });
  const reason = calls.length > 0 ? 'tool_calls' : finishOf((generations[index] as Generation).result);
  await choice(kind.delta(text, isFirst), null, reason);
}

const tellerOf =
  ({ tokenizer }: LanguageModel) =>
  ({ token, logProbability = 0, likeliest = [] }: Choice): Told => {
    const tell = (token: number, logprob: number) => ({
      token: tokenizer?.decode([token], { special: true }) ?? '',
      logprob,
    });
    const others = likeliest.map((each) => tell(each.token, each.logProbability));
    return { ...tell(token, logProbability), likeliest: others };
  };

/** Answers requests that fail as the interface does. */
export function answerErrors<E extends Env>(app: Hono<E>): void {
  app.onError((error, c) => {
    const refused = refusalOf(error);
    return c.json(refused.body, refused.status, refused.status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {});
  });
  app.notFound((c) => c.json(new RefusedError(404, `there is no ${c.req.method} ${c.req.path}`).body, 404));
}

/** The tokens of a conversation in the model's template, which must have room for tools if there are any. */
async function tokensOfChat(
  { tokenizer, context }: LanguageModel,
  messages: readonly ChatMessage[],
  tools: readonly object[] | undefined,
): Promise<Tokens> {
  if (!tokenizer?.template)
    throw new RefusedError(400, 'messages: the model has no chat template, so it can continue texts only', {
      param: 'messages',
    });
  const text = await tokenizer.template.render(messages, { tools });
  if (tools && text === (await tokenizer.template.render(messages)))
    throw new RefusedError(400, "tools: the model's chat template has none", { param: 'tools' });
  checkLength('messages', text, context);
  return tokenizer.encode(text, { isWhole: false });
}

function optionsOf(given: AnswerRequest): GenerateOptions {
  return {
    temperature: given.temperature,
    topP: given.top_p ?? undefined,
    stop: given.stop ?? undefined,
    seed: given.seed ?? Math.floor(Math.random() * 2 ** 31),
    presencePenalty: given.presence_penalty ?? undefined,
    frequencyPenalty: given.frequency_penalty ?? undefined,
    bias: given.logit_bias ?? undefined,
    format: formatOf(given.response_format),
  };
}

function formatOf(given: AnswerRequest['response_format']): GenerateOptions['format'] {
  if (given?.type === 'json_schema') return { schema: given.json_schema.schema };
  return given?.type === 'json_object' ? 'json' : undefined;
}

const finishOf = ({ reason }: GenerationResult) => (reason === 'end' || reason === 'stop' ? 'stop' : 'length');

function usageOf(results: readonly GenerationResult[]) {
  const total = (of: (result: GenerationResult) => number) => results.reduce((sum, each) => sum + of(each), 0);
  const [prompt, completion] = [total(({ promptTokens }) => promptTokens), total(({ tokens }) => tokens.length)];
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: total(({ reusedTokens }) => reusedTokens) },
  };
}
