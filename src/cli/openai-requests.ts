/** What requests of OpenAI's interface may say, within which limits, and how a refusal looks. */
import * as valibot from 'valibot';
import { SaccadeError, UnsupportedError } from '../errors';

/** The most that a request may have of these. */
const MOST = { messages: 2048, tools: 128, stops: 16, stopCharacters: 256, biases: 1024, likeliest: 20, inputs: 2048 };
/** Prompts of one request, each of which is an answer under way. */
const MOST_PROMPTS = 16;
/** No text has more characters for each of its tokens, so longer ones are refused before they are tokenised. */
const CHARACTERS_OF_TOKEN = 16;

type Status = 400 | 401 | 403 | 404 | 413 | 415 | 429 | 500 | 503;

interface ErrorDetails {
  readonly type?: string;
  readonly code?: string | null;
  readonly param?: string | null;
}

/** A request that is not answered, as OpenAI's interface says it. */
export class RefusedError extends Error {
  readonly #details: ErrorDetails;

  constructor(
    readonly status: Status,
    message: string,
    details: ErrorDetails = {},
  ) {
    super(message);
    this.#details = details;
  }

  get body() {
    const {
      type = this.status >= 500 ? 'server_error' : 'invalid_request_error',
      code = null,
      param = null,
    } = this.#details;
    return { error: { message: this.message, type, param, code } };
  }
}

export const tooMuch = (what: string) =>
  new RefusedError(429, `${what}: come back later`, { type: 'rate_limit_error', code: 'rate_limit_exceeded' });

/** What the library refuses is a fault of the request; anything else is one of the server, which its log tells. */
export function refusalOf(error: Error): RefusedError {
  if (error instanceof RefusedError) return error;
  if (error.name === 'TimeoutError')
    return new RefusedError(400, `the answer took longer than a request may: ask for fewer tokens`, {
      code: 'timeout',
    });
  if (error.name === 'AbortError') return new RefusedError(503, 'the client has left');
  // Whoever runs the server can install what is missing, and the client cannot.
  if (error instanceof UnsupportedError) process.stderr.write(`saccade: ${error.message}\n`);
  if (error instanceof SaccadeError) return new RefusedError(400, error.message);
  if (error instanceof RangeError && error.message.includes('call stack'))
    return new RefusedError(400, 'the request is nested too deeply');
  process.stderr.write(`${error.stack}\n`);
  return new RefusedError(500, 'internal error');
}

const number = valibot.nullish(valibot.number());
const whole = valibot.nullish(valibot.pipe(valibot.number(), valibot.integer()));

/** A list, whose length is looked at before its items. */
const list = <Item extends valibot.GenericSchema>(item: Item, most: number) =>
  valibot.pipe(
    valibot.custom<unknown[]>(Array.isArray, 'must be a list'),
    valibot.maxLength(most, ({ received }) => `must have at most ${most} items, got ${received}`),
    valibot.array(item),
  );
const likeliest = valibot.pipe(
  valibot.number(),
  valibot.integer(),
  valibot.minValue(0),
  valibot.maxValue(MOST.likeliest, ({ received }) => `must be at most ${MOST.likeliest}, got ${received}`),
);
const stop = valibot.pipe(
  valibot.string(),
  valibot.maxLength(
    MOST.stopCharacters,
    ({ received }) => `must have at most ${MOST.stopCharacters} characters, got ${received}`,
  ),
);

/** What requests for answers have in common; fields that are not here are passed over, as clients send many. */
const answerFields = {
  temperature: valibot.nullish(valibot.number(), 1),
  top_p: number,
  max_tokens: whole,
  stop: valibot.nullish(valibot.lazy((given) => (typeof given === 'string' ? stop : list(stop, MOST.stops)))),
  seed: whole,
  presence_penalty: number,
  frequency_penalty: number,
  logit_bias: valibot.nullish(
    valibot.pipe(
      valibot.looseObject({}),
      valibot.maxEntries(MOST.biases, ({ received }) => `must be of at most ${MOST.biases} tokens, got ${received}`),
      valibot.record(valibot.string(), valibot.number()),
    ),
  ),
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

const text = valibot.lazy((given) =>
  Array.isArray(given)
    ? valibot.pipe(
        list(valibot.looseObject({ type: valibot.literal('text'), text: valibot.string() }), MOST.messages),
        valibot.transform((parts) => parts.map(({ text }) => text).join('')),
      )
    : valibot.string(),
);

/** Templates write the arguments of a call themselves, so they get the object. */
const callArguments = valibot.pipe(
  valibot.string(),
  valibot.parseJson(undefined, 'must be JSON'),
  valibot.record(valibot.string(), valibot.unknown()),
);
const toolCall = valibot.looseObject({
  function: valibot.looseObject({ name: valibot.string(), arguments: callArguments }),
});
const message = valibot.pipe(
  valibot.looseObject({
    role: valibot.string(),
    content: valibot.nullish(text),
    tool_calls: valibot.nullish(list(toolCall, MOST.tools)),
  }),
  valibot.check(
    ({ role, content }) => role === 'assistant' || typeof content === 'string',
    ({ input }) => `content must be a text in a message of role ${input.role}, got ${input.content}`,
  ),
  valibot.transform(({ content, tool_calls: calls, ...rest }) => ({
    ...rest,
    content: content ?? '',
    ...(calls && { tool_calls: calls }),
  })),
);
const tool = valibot.looseObject({
  type: valibot.literal('function'),
  function: valibot.looseObject({ name: valibot.string() }),
});

export const chatRequest = valibot.looseObject({
  ...answerFields,
  messages: list(message, MOST.messages),
  max_completion_tokens: whole,
  logprobs: valibot.nullish(valibot.boolean(), false),
  top_logprobs: valibot.nullish(likeliest),
  tools: valibot.nullish(list(tool, MOST.tools)),
  tool_choice: valibot.nullish(valibot.picklist(['auto', 'none'], 'must be auto or none')),
});

const token = valibot.pipe(valibot.number(), valibot.integer());

/** Requests to continue texts, or tokens, of which the context has room for so many. */
export const completionRequest = (context: number) => {
  const tokens = list(token, context);
  const isTokens = (given: unknown) => Array.isArray(given) && typeof given[0] === 'number';
  const prompt = valibot.lazy((given) => (typeof given === 'string' ? valibot.string() : tokens));
  return valibot.looseObject({
    ...answerFields,
    prompt: valibot.lazy((given) =>
      typeof given === 'string' || isTokens(given)
        ? valibot.pipe(
            prompt,
            valibot.transform((one) => [one]),
          )
        : valibot.pipe(list(prompt, MOST_PROMPTS), valibot.minLength(1, 'must be one at least')),
    ),
    logprobs: valibot.nullish(likeliest),
  });
};

export const embeddingRequest = valibot.looseObject({
  input: valibot.lazy((given) => (typeof given === 'string' ? valibot.string() : list(valibot.string(), MOST.inputs))),
  encoding_format: valibot.nullish(valibot.picklist(['float', 'base64']), 'float'),
});

export type AnswerRequest = valibot.InferOutput<valibot.LooseObjectSchema<typeof answerFields, undefined>>;

/** The request of a body, by its schema. */
export function parseRequest<Schema extends valibot.GenericSchema>(
  body: string,
  schema: Schema,
): valibot.InferOutput<Schema> {
  let given: unknown;
  try {
    given = JSON.parse(body);
  } catch {
    throw new RefusedError(400, 'the request must be JSON');
  }
  const { success, output, issues } = valibot.safeParse(schema, given, { abortEarly: true });
  if (success) return output;
  const [issue] = issues;
  const where = valibot.getDotPath(issue);
  const param = where?.split('.')[0] ?? null;
  throw new RefusedError(400, `${where ?? 'the request'}: ${issue.message}`.slice(0, 1000), { param });
}

/** Refuses texts that are too long for the context before they are tokenised. */
export function checkLength(param: string, text: string, context: number): void {
  const most = CHARACTERS_OF_TOKEN * context;
  if (text.length > most)
    throw tooLong(
      param,
      `${most} characters, ${CHARACTERS_OF_TOKEN} for each of the ${context} tokens of the context, got ${text.length}`,
    );
}

export function checkTokens(param: string, tokens: readonly number[], context: number): void {
  if (tokens.length > context) throw tooLong(param, `${context} tokens, the context, got ${tokens.length}`);
}

const tooLong = (param: string, most: string) =>
  new RefusedError(400, `${param} must have at most ${most}`, { param, code: 'context_length_exceeded' });
