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
  openaiInterface(model, { name: 'tiny', queue, signal: ending.signal }).request(path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
  });
const chat = { messages: [{ role: 'user', content: [{ type: 'text', text: 'abc' }] }], temperature: 0, max_tokens: 5 };

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
      'format cannot be used: Unsupported type "wrong"',
    ]);
    expect((await asked({ type: 'xml' })).status).toBe(400);
  });

  test.each<[string, unknown, number, string]>([
    ['/v1/chat/completions', 'x', 400, 'the request must be JSON'],
    ['/v1/chat/completions', {}, 400, 'messages: '],
    ['/v1/chat/completions', { ...chat, tools: [{}] }, 400, 'tools: are not supported'],
    ['/v1/chat/completions', { ...chat, n: 2 }, 400, 'n: must be 1'],
    ['/v1/chat/completions', { ...chat, max_tokens: 0 }, 400, 'maxTokens must be an integer >= 1, got 0'],
    ['/v1/completions', { prompt: 'a'.repeat(17), stream: true }, 400, 'prompt must have at most 16 tokens'],
    ['/v1/completions', 'x'.repeat(2 ** 22 + 1), 413, 'the request must have at most 4194304 bytes'],
    ['/v1/other', {}, 404, 'there is no POST /v1/other'],
  ])('%s refuses %o', async (path, body, status, message) => {
    const response = await post(path, body);
    expect(response.status).toBe(status);
    expect((await response.json()).error.message).toContain(message);
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
