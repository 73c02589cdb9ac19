import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import configs from '../../test/fixtures/decoder.json';
import { createRuntime, type Runtime } from '../index';
import { createDecoder, type LanguageModel, languageModel, languageTokenizer } from '../models';
import { characterTokenizer } from '../train/tokenizer';
import { openaiInterface } from './openai';

const TEXT = '"abcdefg{}';
let runtime: Runtime;
let model: LanguageModel;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const decoder = createDecoder({ ...configs.llama, vocab_size: TEXT.length });
  const tokenizer = languageTokenizer({
    tokenizer: characterTokenizer(TEXT).file,
    config: { chat_template: "{% for m in messages %}{{ m['content'] }}{% endfor %}" },
  });
  model = languageModel(runtime, decoder, decoder.initialize(runtime, { seed: 3 }), { tokenizer, context: 16 });
});
afterAll(() => {
  model.dispose();
  runtime.dispose();
});

const ending = new AbortController();
const post = (path: string, body: unknown, queue = 4, init: RequestInit = {}) =>
  openaiInterface(model, { name: 'tiny', queue, seconds: 60, signal: ending.signal }).request(path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
  });
const chat = { messages: [{ role: 'user', content: [{ type: 'text', text: 'abc' }] }], temperature: 0, max_tokens: 5 };

const weather = { type: 'function', function: { name: 'abc', parameters: {} } };

describe("OpenAI's interface", () => {
  test('answers as the model does, whole and in pieces', async () => {
    const expected = await model.generate('abc', { maxTokens: 5 }).finish();
    const body = await (await post('/v1/chat/completions', { ...chat, logprobs: true, top_logprobs: 2 })).json();
    expect(body).toMatchObject({
      object: 'chat.completion',
      model: 'tiny',
      choices: [{ message: { role: 'assistant', content: expected.text }, finish_reason: 'length' }],
      usage: { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 },
    });
    expect(body.choices[0].logprobs.content).toHaveLength(5);
    const given = { ...chat, stream: true, stream_options: { include_usage: true } };
    const events = (await (await post('/v1/chat/completions', given)).text()).trim().split('\n\n');
    const parts = events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, '')));
    expect(events.at(-1)).toBe('data: [DONE]');
    expect(parts.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(expected.text);
    expect(parts[0].choices[0].delta.role).toBe('assistant');
    expect(parts.at(-2).choices[0].finish_reason).toBe('length');
    expect(parts.at(-1).usage.completion_tokens).toBe(5);
  });

  test('continues texts and tokens, and embeds', async () => {
    const answer = async (prompt: unknown) =>
      (await (await post('/v1/completions', { prompt, temperature: 0, max_tokens: 4 })).json()).choices[0].text;
    expect(await answer([1, 2, 3])).toBe(await answer('abc'));
    const { data } = await (await post('/v1/embeddings', { input: ['abc', 'ab'] })).json();
    expect(data.map(({ index }: { index: number }) => index)).toEqual([0, 1]);
    expect(Math.hypot(...data[0].embedding)).toBeCloseTo(1, 5);
    const packed = await (await post('/v1/embeddings', { input: 'ab', encoding_format: 'base64' })).json();
    const bytes = Buffer.from(packed.data[0].embedding, 'base64');
    expect(bytes.readFloatLE(0)).toBeCloseTo(data[1].embedding[0], 6);
  });

  test('answers in the format that was asked for', async () => {
    const format = (schema: unknown) => ({ type: 'json_schema', json_schema: { name: 'x', schema } });
    const asked = (response_format: unknown) => post('/v1/chat/completions', { ...chat, response_format });
    const { choices } = await (await asked(format({ enum: ['abc'] }))).json();
    expect(choices[0]).toMatchObject({ message: { content: '"abc"' }, finish_reason: 'stop' });
    const refused = await asked(format({ type: 'wrong' }));
    expect([refused.status, (await refused.json()).error.message]).toEqual([
      400,
      expect.stringContaining('#/type must be one or some of'),
    ]);
    expect((await asked({ type: 'xml' })).status).toBe(400);
  });

  test('completions tell probabilities in their own shape, of several prompts', async () => {
    const asked = { prompt: ['abc', 'ab'], temperature: 0, max_tokens: 3, logprobs: 2 };
    const { choices, usage } = await (await post('/v1/completions', asked)).json();
    expect(choices.map(({ index }: { index: number }) => index)).toEqual([0, 1]);
    const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0].logprobs;
    expect(tokens.join('')).toBe(choices[0].text);
    expect(text_offset).toEqual([0, 1, 2]);
    expect(Object.keys(top_logprobs[0])).toHaveLength(2);
    expect(top_logprobs[0][tokens[0]]).toBe(token_logprobs[0]);
    expect(usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 6 });
    expect((await post('/v1/completions', asked, 1)).status).toBe(429);
    const messages = [...chat.messages, { role: 'assistant', content: null }, { role: 'user', content: 'a' }];
    expect((await post('/v1/chat/completions', { ...chat, messages })).status).toBe(200);
  });

  test.each<[string, unknown, number, string]>([
    ['/v1/chat/completions', 'x', 400, 'the request must be JSON'],
    ['/v1/chat/completions', {}, 400, 'messages: '],
    ['/v1/chat/completions', { ...chat, tools: [weather] }, 400, "tools: the model's chat template has none"],
    ['/v1/chat/completions', { ...chat, n: 2 }, 400, 'n: must be 1'],
    ['/v1/chat/completions', { ...chat, max_tokens: 0 }, 400, 'maxTokens must be an integer >= 1, got 0'],
    ['/v1/chat/completions', { ...chat, logprobs: true, top_logprobs: 21 }, 400, 'must be at most 20, got 21'],
    ['/v1/completions', { prompt: 'a'.repeat(17), stream: true }, 400, 'prompt must have at most 16 tokens'],
    ['/v1/completions', { prompt: 'a'.repeat(257) }, 400, 'prompt must have at most 256 characters'],
    ['/v1/completions', { prompt: 'a', stop: Array(17).fill('a') }, 400, 'stop: must have at most 16 items, got 17'],
    ['/v1/completions', { prompt: 'a', stop: 'a'.repeat(257) }, 400, 'stop: must have at most 256 characters, got 257'],
    ['/v1/completions', { prompt: Array(17).fill(1) }, 400, 'prompt: must have at most 16 items, got 17'],
    ['/v1/embeddings', { input: Array(2049).fill('a') }, 400, 'input: must have at most 2048 items, got 2049'],
    ['/v1/other', {}, 404, 'there is no POST /v1/other'],
  ])('%s refuses %o', async (path, body, status, message) => {
    const response = await post(path, body);
    expect(response.status).toBe(status);
    expect((await response.json()).error.message).toContain(message);
  });

  test('tools come into the template, and calls of them out of answers', async () => {
    const template =
      "{% if tools %}{{ tools[0]['function']['name'][0] }}{% endif %}{% for m in messages %}{{ m['content'] }}{% if m.tool_calls %}{{ m.tool_calls[0].function.arguments.at }}{% endif %}{% endfor %}";
    const tokenizer = languageTokenizer({
      tokenizer: characterTokenizer(TEXT).file,
      config: { chat_template: template },
    });
    const answers = [
      '{"name": "abc", "parameters": {"at": "c"}}',
      'ag<tool_call>\n{"name": "abc"}\n</tool_call>',
      '[1]',
    ];
    const prompts: string[] = [];
    const fake = {
      tokenizer,
      context: 99,
      generate: (tokens: number[]) => {
        prompts.push(tokenizer.decode(tokens));
        const text = answers[(prompts.length - 1) % 3] as string;
        const result = { text, tokens: [], reason: 'end', promptTokens: 1, reusedTokens: 0 };
        const pieces = async function* () {
          for (const each of text) yield { text: each, tokens: [] };
        };
        return { result, [Symbol.asyncIterator]: pieces };
      },
    } as unknown as LanguageModel;
    const app = openaiInterface(fake, { name: 'tiny', queue: 3, seconds: 60, signal: ending.signal });
    const asked = async (more: object) => {
      const body = JSON.stringify({ messages: chat.messages, tools: [weather], ...more });
      return await app.request('/v1/chat/completions', { method: 'POST', body });
    };
    const called = [{ id: 'x', type: 'function', function: { name: 'abc', arguments: '{"at": "d"}' } }];
    const messages = [
      { role: 'assistant', content: null, tool_calls: called },
      { role: 'tool', content: 'e' },
    ];
    const [alone, tagged, none] = [await asked({ messages }), await asked({}), await asked({})];
    expect(prompts).toEqual(['ade', 'aabc', 'aabc']);
    expect((await alone.json()).choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: null,
        tool_calls: [{ type: 'function', function: { name: 'abc', arguments: '{"at":"c"}' } }],
      },
    });
    expect((await tagged.json()).choices[0].message).toMatchObject({ content: 'ag', tool_calls: [{}] });
    expect((await none.json()).choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: '[1]' } });
    const stream = { stream: true };
    const streamed = [await asked(stream), await asked(stream), await asked(stream)];
    const [first, second, third] = await Promise.all(streamed.map((each) => each.text()));
    expect(first).toContain('"tool_calls":[{"index":0,');
    expect(first).not.toContain('parameters');
    expect(second).toContain('"content":"a"');
    expect(second).toContain('"finish_reason":"tool_calls"');
    expect(third).toContain('"finish_reason":"stop"');
    const client = new OpenAI({
      apiKey: 'none',
      baseURL: 'http://localhost/v1',
      fetch: async (at, init) => app.request(String(at), init as RequestInit),
    });
    const given: string[] = [];
    const call = (text: string) => {
      given.push(text);
      return 'f';
    };
    const tool = {
      type: 'function',
      function: { name: 'abc', description: '', parameters: {}, function: call },
    } as const;
    const asking = [{ role: 'user', content: 'abc' }] as const;
    const run = client.chat.completions.runTools({ model: 'tiny', messages: [...asking], tools: [tool], stream: true });
    expect(await run.finalContent()).toBe('[1]');
    expect(given).toEqual(['{"at":"c"}', '{}']);
    expect(prompts.slice(-3)).toEqual(['aabc', 'aabccf', 'aabccfagf']);
  });

  test('refuses what is too much, and forgets clients that leave', async () => {
    expect((await post('/v1/completions', { prompt: 'a' }, 0)).status).toBe(429);
    const { live } = runtime.memory();
    const client = new AbortController();
    const response = await post('/v1/completions', { prompt: 'abc', stream: true, max_tokens: 12 }, 1, {
      signal: client.signal,
    });
    client.abort();
    await response.text().catch(() => undefined);
    expect((await post('/v1/completions', { prompt: 'a', max_tokens: 1 }, 1)).status).toBe(200);
    expect(runtime.memory().live).toBeLessThan(live + 2 ** 20);
  });
});
