/** OpenAI's interface over a language model: chat, completions, embeddings, models. */
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { streamSSE } from 'hono/streaming';
import * as valibot from 'valibot';
import { deferred } from '../deferred';
import { SaccadeError } from '../errors';
import type { GenerateOptions, Generation, GenerationResult, LanguageModel, Prompt } from '../models';

export interface InterfaceOptions {
  /** What the model is called. */
  readonly name: string;
  /** Requests under way and waiting, at most; others are told to come back. */
  readonly queue: number;
  /** Aborted when the server ends. */
  readonly signal: AbortSignal;
}

const LARGEST_BODY = 4 * 2 ** 20;

const number = valibot.nullish(valibot.number());
const whole = valibot.nullish(valibot.pipe(valibot.number(), valibot.integer()));

/** What requests for answers have in common; fields that are not here are passed over, as clients send many. */
const answerFields = {
  temperature: valibot.nullish(valibot.number(), 1),
  top_p: number,
  max_tokens: whole,
  stop: valibot.nullish(valibot.union([valibot.string(), valibot.array(valibot.string())])),
  seed: whole,
  presence_penalty: number,
  frequency_penalty: number,
  logit_bias: valibot.nullish(valibot.record(valibot.string(), valibot.number())),
  stream: valibot.nullish(valibot.boolean(), false),
  stream_options: valibot.nullish(valibot.looseObject({ include_usage: valibot.nullish(valibot.boolean()) })),
  n: valibot.nullish(valibot.literal(1, 'must be 1')),
  response_format: valibot.nullish(
    valibot.variant('type', [
      valibot.looseObject({ type: valibot.literal('text') }),
      valibot.looseObject({ type: valibot.literal('json_object') }),
      valibot.looseObject({
        type: valibot.literal('json_schema'),
        json_schema: valibot.looseObject({ schema: valibot.record(valibot.string(), valibot.unknown()) }),
      }),
    ]),
  ),
};

const text = valibot.union([
  valibot.string(),
  valibot.pipe(
    valibot.array(valibot.looseObject({ type: valibot.literal('text'), text: valibot.string() })),
    valibot.transform((parts) => parts.map(({ text }) => text).join('')),
  ),
]);

const chatRequest = valibot.looseObject({
  ...answerFields,
  messages: valibot.array(valibot.looseObject({ role: valibot.string(), content: text })),
  max_completion_tokens: whole,
  logprobs: valibot.nullish(valibot.boolean(), false),
  top_logprobs: whole,
  tools: valibot.nullish(valibot.pipe(valibot.array(valibot.unknown()), valibot.maxLength(0, 'are not supported'))),
});
const completionRequest = valibot.looseObject({
  ...answerFields,
  prompt: valibot.union([valibot.string(), valibot.array(valibot.pipe(valibot.number(), valibot.integer()))]),
  logprobs: whole,
});
const embeddingRequest = valibot.looseObject({
  input: valibot.union([valibot.string(), valibot.array(valibot.string())]),
  encoding_format: valibot.nullish(valibot.picklist(['float', 'base64']), 'float'),
});

type AnswerRequest = valibot.InferOutput<valibot.LooseObjectSchema<typeof answerFields, undefined>>;

/** A request that cannot be answered, with its status. */
class RefusedError extends Error {
  constructor(
    readonly status: 400 | 413 | 429 | 503,
    readonly type: string,
    message: string,
  ) {
    super(message);
  }
}

/** How one of the two kinds of answers is written. */
interface Kind {
  readonly prefix: string;
  readonly whole: string;
  readonly part: string;
  /** The choice of an answer, and that of a piece of one. */
  choice(result: GenerationResult, logprobs: unknown): object;
  delta(text: string, isFirst: boolean): object;
}

const CHAT: Kind = {
  prefix: 'chatcmpl',
  whole: 'chat.completion',
  part: 'chat.completion.chunk',
  choice: ({ text }, logprobs) => ({ message: { role: 'assistant', content: text, refusal: null }, logprobs }),
  delta: (text, isFirst) => ({ delta: { ...(isFirst && { role: 'assistant' }), content: text } }),
};
const COMPLETION: Kind = {
  prefix: 'cmpl',
  whole: 'text_completion',
  part: 'text_completion',
  choice: ({ text }, logprobs) => ({ text, logprobs }),
  delta: (text) => ({ text }),
};

/** The application, for any server that Hono has. */
export function openaiInterface(model: LanguageModel, { name, queue, signal }: InterfaceOptions): Hono {
  const app = new Hono();
  const created = Math.floor(Date.now() / 1000);
  let underWay = 0;

  refuseInItsWords(app);

  /** Does work, unless too much is under way; the signal is aborted once the client has left. */
  async function inTurn<T>(client: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (signal.aborted) throw new RefusedError(503, 'server_error', 'the server is ending');
    if (underWay >= queue)
      throw new RefusedError(429, 'rate_limit_error', `${queue} requests are under way: come back later`);
    underWay++;
    try {
      return await work(AbortSignal.any([client, signal]));
    } finally {
      underWay--;
    }
  }

  const answered = (
    request: Request,
    prompt: Prompt,
    given: AnswerRequest,
    more: GenerateOptions,
    kind: Kind,
    c: Context,
  ) => {
    const id = `${kind.prefix}-${crypto.randomUUID()}`;
    const head = { id, created: Math.floor(Date.now() / 1000), model: name };
    const start = (signal: AbortSignal) => model.generate(prompt, { ...optionsOf(given), ...more, signal });
    if (!given.stream)
      return inTurn(request.signal, async (signal) => {
        const generation = start(signal);
        const logprobs = more.logProbabilities === undefined ? null : await likeliest(model, generation);
        const result = await generation.finish();
        const choice = { index: 0, ...kind.choice(result, logprobs), finish_reason: finishOf(result) };
        return c.json({ ...head, object: kind.whole, choices: [choice], usage: usageOf(result) });
      });
    return streamAnswer(c, kind, head, given, (work) => inTurn(request.signal, (signal) => work(start(signal))));
  };

  app.get('/health', (c) => c.json({ status: 'ok' }));
  app.get('/v1/models', (c) =>
    c.json({ object: 'list', data: [{ id: name, object: 'model', created, owned_by: 'saccade' }] }),
  );
  app.post('/v1/chat/completions', async (c) => {
    const request = await read(c.req.raw, chatRequest);
    const more = {
      maxTokens: request.max_completion_tokens ?? request.max_tokens ?? undefined,
      logProbabilities: request.logprobs ? (request.top_logprobs ?? 0) : undefined,
    };
    return answered(c.req.raw, request.messages, request, more, CHAT, c);
  });
  app.post('/v1/completions', async (c) => {
    const request = await read(c.req.raw, completionRequest);
    const more = { maxTokens: request.max_tokens ?? 16, logProbabilities: request.logprobs ?? undefined };
    return answered(c.req.raw, request.prompt, request, more, COMPLETION, c);
  });
  app.post('/v1/embeddings', async (c) => {
    const { input, encoding_format: format } = await read(c.req.raw, embeddingRequest);
    const texts = [input].flat();
    return inTurn(c.req.raw.signal, async (signal) => {
      const data = [];
      let tokens = 0;
      for (const [index, text] of texts.entries()) {
        const vector = await model.embed(text, { signal });
        tokens += model.tokensOf(text).length;
        const embedding = format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
        data.push({ object: 'embedding', index, embedding });
      }
      return c.json({ object: 'list', data, model: name, usage: { prompt_tokens: tokens, total_tokens: tokens } });
    });
  });
  return app;
}

/** Bounds requests, and answers those that fail as the interface does. */
function refuseInItsWords(app: Hono): void {
  app.use(
    bodyLimit({
      maxSize: LARGEST_BODY,
      onError: () => {
        throw new RefusedError(413, 'invalid_request_error', `the request must have at most ${LARGEST_BODY} bytes`);
      },
    }),
  );
  app.onError((error, c) => {
    const refused = error instanceof RefusedError ? error : refusalOf(error);
    if (!refused) process.stderr.write(`${error.stack}\n`);
    const { status, type, message } = refused ?? {
      status: 500 as const,
      type: 'server_error',
      message: 'internal error',
    };
    return c.json({ error: { message, type, param: null, code: null } }, status);
  });
  app.notFound((c) =>
    c.json(
      {
        error: {
          message: `there is no ${c.req.method} ${c.req.path}`,
          type: 'invalid_request_error',
          param: null,
          code: null,
        },
      },
      404,
    ),
  );
}

type Context = Parameters<Parameters<Hono['notFound']>[0]>[0];

/** Server-sent events: a piece each, the reason of the end, and the counts of tokens if they are asked for. */
async function streamAnswer(
  c: Context,
  kind: Kind,
  head: object,
  { stream_options: more }: AnswerRequest,
  inTurn: (work: (generation: Generation) => Promise<void>) => Promise<void>,
): Promise<Response> {
  // What is wrong with a request is told by a status, so the first piece is awaited before anything is sent.
  const { promise: begun, resolve, reject } = deferred<Response>();
  const part = { ...head, object: kind.part };
  inTurn(async (generation) => {
    const pieces = generation[Symbol.asyncIterator]();
    let next = await pieces.next();
    const { promise: sent, resolve: end } = deferred<void>();
    resolve(
      streamSSE(c, async (stream) => {
        const send = (data: object) => stream.writeSSE({ data: JSON.stringify(data) });
        try {
          for (let isFirst = true; !next.done; next = await pieces.next(), isFirst = false)
            await send({
              ...part,
              choices: [{ index: 0, ...kind.delta(next.value.text, isFirst), finish_reason: null }],
            });
          const { result } = generation;
          await send({ ...part, choices: [{ index: 0, ...kind.delta('', false), finish_reason: finishOf(result) }] });
          if (more?.include_usage) await send({ ...part, choices: [], usage: usageOf(result) });
          await stream.writeSSE({ data: '[DONE]' });
        } catch (error) {
          await send({ error: { message: (error as Error).message, type: 'server_error', param: null, code: null } });
        } finally {
          await pieces.return?.(undefined);
          end();
        }
      }),
    );
    await sent;
  }).catch(reject);
  return begun;
}

async function read<Schema extends valibot.GenericSchema>(
  request: Request,
  schema: Schema,
): Promise<valibot.InferOutput<Schema>> {
  let body: unknown;
  try {
    body = await request.json();
  } catch (error) {
    if (error instanceof RefusedError) throw error;
    throw new RefusedError(400, 'invalid_request_error', 'the request must be JSON');
  }
  const { success, output, issues } = valibot.safeParse(schema, body);
  if (success) return output;
  const [issue] = issues;
  const where = valibot.getDotPath(issue) ?? 'the request';
  throw new RefusedError(400, 'invalid_request_error', `${where}: ${issue.message}`);
}

/** What the library refuses is a fault of the request. */
function refusalOf(error: Error): RefusedError | undefined {
  return error instanceof SaccadeError ? new RefusedError(400, 'invalid_request_error', error.message) : undefined;
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

const usageOf = ({ promptTokens, reusedTokens, tokens }: GenerationResult) => ({
  prompt_tokens: promptTokens,
  completion_tokens: tokens.length,
  total_tokens: promptTokens + tokens.length,
  prompt_tokens_details: { cached_tokens: reusedTokens },
});

/** The likeliest tokens at each place, as chats tell them. */
async function likeliest(model: LanguageModel, generation: Generation) {
  const told = (token: number, logprob: number) => {
    const text = model.tokenizer?.decode([token], { special: true }) ?? '';
    return { token: text, logprob, bytes: [...new TextEncoder().encode(text)] };
  };
  const content = [];
  for await (const { tokens } of generation)
    for (const { token, logProbability = 0, likeliest = [] } of tokens)
      content.push({
        ...told(token, logProbability),
        top_logprobs: likeliest.map((each) => told(each.token, each.logProbability)),
      });
  return { content };
}
