import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import configs from '../../../test/fixtures/decoder.json';
import { show } from '../../check';
import { createRuntime, type Runtime } from '../../index';
import { exactAttention, gatedDeltaRule } from '../../methods';
import { characterTokenizer } from '../../train/tokenizer';
import { createDecoder, type DecoderAttention } from '../decoder';
import { chatTemplate, type LanguageModelOptions, languageModel, languageTokenizer, type Prompt } from '.';
import { filesOfGguf } from './gguf-tokenizer';
import { statesOfGrammar } from './grammar-states';
import { StopWords, TextOfTokens } from './pieces';
import { Sampler, type SamplingOptions } from './sampling';

const TEXT = 'abcdefg';
const config = { ...configs.llama, vocab_size: TEXT.length };
let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', threads: 1 });
});
afterAll(() => runtime.dispose());

function model(options: LanguageModelOptions = {}, attention: DecoderAttention = exactAttention) {
  const decoder = createDecoder(config, { attention });
  return languageModel(runtime, decoder, decoder.initialize(runtime, { seed: 3 }), { context: 32, ...options });
}

/** The likeliest tokens behind a prompt, by whole forward passes. */
async function expected({ decoder, parameters }: ReturnType<typeof model>, prompt: readonly number[], count: number) {
  const tokens = [...prompt];
  while (tokens.length < prompt.length + count) {
    using row = runtime.tensor(tokens, [1, tokens.length], 'i32');
    using logits = decoder.forward(parameters, row);
    const last = (await logits.read()).slice(-TEXT.length);
    tokens.push(last.indexOf(Math.max(...last)));
  }
  return tokens.slice(prompt.length);
}

describe('a language model', () => {
  test.each<[string, DecoderAttention]>([
    ['keys and values', exactAttention],
    ['states', gatedDeltaRule],
    ['both', [gatedDeltaRule, exactAttention]],
  ])('continues several prompts at once as each would be alone: %s', async (_, attention) => {
    using own = model({ chunk: 3, rows: 2 }, attention);
    const prompts = [[1, 2, 3, 4, 5, 6, 0, 1], [2], [1, 2, 3, 4, 5, 5]];
    const answers = await Promise.all(prompts.map((prompt) => own.generate(prompt, { maxTokens: 6 }).finish()));
    for (const [at, prompt] of prompts.entries()) {
      expect(answers[at]?.tokens).toEqual(await expected(own, prompt, 6));
      expect(answers[at]).toMatchObject({ reason: 'length', promptTokens: prompt.length });
    }
  });

  test('goes on from the cache of a prompt that began alike', async () => {
    using own = model();
    await own.generate([1, 2, 3, 4], { maxTokens: 3 }).finish();
    const again = await own.generate([1, 2, 3, 5], { maxTokens: 4 }).finish();
    expect(again.reusedTokens).toBe(3);
    expect(again.tokens).toEqual(await expected(own, [1, 2, 3, 5], 4));
  });

  test('ends at its context, or forgets the older half', async () => {
    using own = model({ context: 8 });
    expect(await own.generate([1, 2, 3]).finish()).toMatchObject({ reason: 'context', tokens: { length: 6 } });
    const longer = await own.generate([1, 2, 3], { overflow: 'forget', maxTokens: 9 }).finish();
    expect(longer).toMatchObject({ reason: 'length', tokens: { length: 9 } });
    const prompt = new Array(9).fill(1);
    expect(() => own.generate(prompt)).toThrow('prompt must have at most 8 tokens, the context, got 9');
    expect((await own.generate(prompt, { overflow: 'forget', maxTokens: 2 }).finish()).tokens).toHaveLength(2);
  });

  test('an answer that is ended early, by the caller or a signal, leaves the model usable, and nothing stays allocated', async () => {
    const { live } = runtime.memory();
    {
      using own = model({ tokenizer: tokenizer() });
      const controller = new AbortController();
      const pieces: string[] = [];
      await expect(async () => {
        for await (const { text } of own.generate('abc', { signal: controller.signal })) {
          pieces.push(text);
          if (pieces.length === 3) controller.abort();
        }
      }).rejects.toThrow(/aborted/);
      expect(pieces).toHaveLength(3);
      for await (const _ of own.generate('abc')) break;
      const { text, tokens } = await own.generate('abc', { maxTokens: 5 }).finish();
      expect(text.startsWith(pieces.join(''))).toBe(true);
      expect(tokens).toEqual(await expected(own, [0, 1, 2], 5));
      const stop = text.slice(2, 4);
      expect(await own.generate('abc', { stop, maxTokens: 9 }).finish()).toMatchObject({
        reason: 'stop',
        stopWord: stop,
        text: text.slice(0, text.indexOf(stop)),
      });
    }
    await runtime.finish();
    expect(runtime.memory().live).toBe(live);
  });

  test('names the layer whose results are no numbers, and others go on', async () => {
    using own = model();
    const name = 'model.layers.1.mlp.down_proj.weight';
    const broken = { ...own.parameters, [name]: runtime.full(own.parameters[name]?.shape as number[], Number.NaN) };
    const other = languageModel(runtime, own.decoder, broken, { context: 8 });
    await expect(other.generate([1]).finish()).rejects.toThrow(
      'logits hold numbers that are not finite: the first results that are not come from layer 1 of 2',
    );
    broken[name]?.dispose();
  });

  test('refuses what does not fit, by name', () => {
    using own = model();
    const refuse = (prompt: unknown, message: string, options = {}) =>
      expect(() => own.generate(prompt as Prompt, options)).toThrow(message);
    refuse('abc', 'prompt is a text, but the model has no tokenizer: pass tokens');
    refuse([], 'prompt must have a token at least, got none');
    refuse([7], 'prompt[0] must be an integer from 0 to 6, got 7');
    refuse([1], 'topK must be an integer from 1 to 7, got 8', { topK: 8 });
    refuse([1], 'temperature must be a finite number >= 0, got NaN', { temperature: Number.NaN });
    refuse([1], "generate has no option 'heat'", { heat: 1 });
    refuse([1], 'stop[0] must be a text that is not empty', { stop: '' });
    refuse([1], "overflow must be end or forget, got 'wrap'", { overflow: 'wrap' });
    expect(() => model({ context: 1 })).toThrow('context must be an integer >= 2, got 1');
    expect(() => model({ tokenizer: tokenizer(`${TEXT}hi`) })).toThrow('tokenizer has 9 tokens, more than the vocab');
  });
});

describe('the format of an answer', () => {
  const text = '{}[]":, \n0123456789abeflnrstu';
  const schema = {
    type: 'object',
    properties: { a: { type: 'integer', minimum: 0, maximum: 99 }, b: { enum: ['r', 'l'] } },
    required: ['a', 'b'],
    additionalProperties: false,
  };
  const jsonModel = () => {
    const tokens = tokenizer(text);
    const decoder = createDecoder({ ...config, vocab_size: tokens.size + 1 });
    const parameters = decoder.initialize(runtime, { seed: 3 });
    return languageModel(runtime, decoder, parameters, { context: 128, tokenizer: tokens, ends: [tokens.size] });
  };

  test('is JSON, of a schema or of a grammar, whatever the logits', async () => {
    using own = jsonModel();
    for (const seed of [1, 2]) {
      const bias = Object.fromEntries((own.tokenizer?.encode(' \n') ?? []).map((token) => [token, -20]));
      const options = { temperature: 4, seed, bias };
      const { text: answer, reason } = await own.generate('[', { ...options, format: { schema } }).finish();
      expect(reason).toBe('end');
      const { a, b, ...rest } = JSON.parse(answer);
      expect([Number.isInteger(a) && a >= 0 && a < 100, ['r', 'l'].includes(b), rest]).toEqual([true, true, {}]);
      const format = { grammar: 'root ::= "true" | "false" [0-9]{2}' };
      expect((await own.generate('[', { ...options, format }).finish()).text).toMatch(/^(true|false\d\d)$/);
      const any = await own.generate('[', { ...options, format: 'json' }).finish();
      if (any.reason === 'end') JSON.parse(any.text);
      else expect(any.reason).toBe('context');
    }
  });

  test('that is none is refused, and the next works', async () => {
    using own = jsonModel();
    const refused = (format: unknown) => own.generate('[', { format: format as 'json', maxTokens: 1 }).finish();
    expect(() => own.generate('[', { format: { schema: { type: 'wrong' } } })).toThrow('#/type must be one or some of');
    await expect(refused({ grammar: 'root ::= [a' })).rejects.toThrow('format cannot be used: EBNF lexer error');
    expect((await own.generate('[', { format: { grammar: 'root ::= "7"' } }).finish()).text).toBe('7');
    await expect(async () => refused('xml')).rejects.toThrow(
      "format must be json, { schema } or { grammar }, got 'xml'",
    );
    const circular: Record<string, unknown> = {};
    circular.items = circular;
    const deep = JSON.parse(`${'{"items":'.repeat(7000)}{}${'}'.repeat(7000)}`);
    expect(() => refused({ schema: circular })).toThrow('schema of format must be JSON: Converting circular');
    expect(() => refused({ schema: deep })).toThrow(
      /^schema of format: .* must not nest deeper than 100|must be JSON: Max/,
    );
    await expect(async () => refused({ schema: 1 })).rejects.toThrow('schema of format must be an object or a boolean');
    using wordless = model();
    expect(() => wordless.generate([1], { format: 'json' })).toThrow('the model has no tokenizer');
  });

  test.each<[string, unknown]>([
    ['a count', { type: 'string', maxLength: 1e5 }],
    ['nested counts', { type: 'string', pattern: '(a{0,4096}){0,4096}' }],
    ['counts beside others', { properties: { a: { pattern: '^(a+)+(b|c|d)*(e{0,4096}f{0,4096}){0,4096}$' } } }],
    ['four counts', { anyOf: [{ type: 'string', pattern: '(((a{1,1000}){1,1000}){1,1000}){1,1000}' }] }],
    ['names as patterns', { patternProperties: { '(a{1,100}){101}': true } }],
  ])('that grows beyond what is computed is refused before it does: %s', (_, schema) => {
    using own = jsonModel();
    const message =
      /^schema of format must have at most 10000 states once its repetitions are written out, got about \d{5}/;
    expect(() => own.generate('[', { format: { schema } })).toThrow(message);
  });

  test.each([
    ['root ::= ("a" {0,200} | [b-d]{2} other){0,60}', 12_120 + 60 * 3],
    ['root ::= "abc" "(a{9}" [{9}"] # {9}', 10],
    ['x ::= ((("a"){10}){10}){10} y-z', 1003],
  ])('has as many states as its repetitions say: %s', (grammar, states) => {
    expect(Math.abs(statesOfGrammar(grammar) - states)).toBeLessThan(0.02 * states + 1);
  });

  test('is compiled beside the thread that serves, and answers under way go on behind one that ends the worker', async () => {
    using own = jsonModel();
    const fields = 'abel'.split('').map((name) => [name, { enum: ['true', 'false', 'truerrrrrrrr'] }] as const);
    const format = {
      schema: { type: 'object', properties: Object.fromEntries(fields), required: fields.map(([name]) => name) },
    };
    const alone = await own.generate('[', { temperature: 2, seed: 4, format }).finish();
    let turns = 0;
    const ticking = setInterval(() => turns++);
    const answer = own.generate('[', { temperature: 2, seed: 4, format });
    let pieces = 0;
    for await (const _ of answer)
      if (++pieces === 3) {
        const refused = own.generate('[', { format: { grammar: 'root ::= [a' } }).finish();
        await expect(refused).rejects.toThrow('format cannot be used: EBNF lexer error');
      }
    clearInterval(ticking);
    expect(answer.result.text).toBe(alone.text);
    expect(Object.keys(JSON.parse(alone.text))).toEqual([...'abel']);
    expect(turns).toBeGreaterThan(10);
  });

  test('is not all white space, however likely that is', async () => {
    using own = jsonModel();
    const bias = Object.fromEntries((own.tokenizer?.encode(' \n') ?? []).map((token) => [token, 90]));
    const { text } = await own.generate('[', { bias, format: 'json', maxTokens: 100 }).finish();
    expect(text.match(/\s+|\S+/g)?.map((run) => (run.trim() ? 'x' : run.length))).toEqual(
      expect.arrayContaining([16, 'x']),
    );
    expect(text).not.toMatch(/\s{17}/);
  });

  test('works with the largest vocabularies', async () => {
    const more = Object.fromEntries(Array.from({ length: 200_000 }, (_, at) => [`${text}${at}`, at + text.length]));
    const { file } = characterTokenizer(text);
    const { model, ...rest } = file as { model: { vocab: object } };
    const tokens = languageTokenizer({
      tokenizer: { ...rest, model: { ...model, vocab: { ...model.vocab, ...more } } },
    });
    const decoder = createDecoder({ ...config, vocab_size: tokens.size, hidden_size: 8, num_attention_heads: 2 });
    using own = languageModel(runtime, decoder, decoder.initialize(runtime, { seed: 3 }), { tokenizer: tokens });
    const { text: answer } = await own.generate('[', { format: { schema: { enum: ['true'] } } }).finish();
    expect(answer).toBe('"true"');
  });
});

const tokenizer = (text = TEXT) => languageTokenizer({ tokenizer: characterTokenizer(text).file });

describe('sampling', () => {
  const logits = [1, 3, 2, 0, 3, -1];
  const draw = (options: SamplingOptions, times = 400) => {
    const sampler = new Sampler({ temperature: 1, ...options }, [0]);
    const counts = new Array<number>(logits.length).fill(0);
    for (let at = 0; at < times; at++) {
      const { token } = sampler.choose(Float32Array.from(logits), [0]) as { token: number };
      counts[token] = (counts[token] as number) + 1;
    }
    return counts;
  };
  const drawn = (options: SamplingOptions) => draw(options).flatMap((count, token) => (count > 0 ? [token] : []));

  test('draws by the probabilities', () => {
    const weights = logits.map(Math.exp);
    const sum = weights.reduce((a, b) => a + b);
    for (const [token, count] of draw({}, 20_000).entries())
      expect(count / 20_000).toBeCloseTo((weights[token] as number) / sum, 1.5);
    expect(draw({ seed: 5 })).toEqual(draw({ seed: 5 }));
    expect(draw({ seed: 5 })).not.toEqual(draw({ seed: 6 }));
  });

  test.each<[SamplingOptions, number[]]>([
    [{ temperature: 0 }, [1]],
    [{ topK: 1 }, [1]],
    [{ topK: 3 }, [1, 2, 4]],
    [{ topP: 0.3 }, [1]],
    [{ topP: 0.75 }, [1, 4]],
    [{ minP: 0.3 }, [1, 2, 4]],
    [{ temperature: 0, bias: { 5: 9 } }, [5]],
    [{ topK: 2, bias: { 1: Number.NEGATIVE_INFINITY } }, [2, 4]],
    [{ temperature: 0, presencePenalty: 10 }, [0, 1, 2, 3, 4, 5]],
    [{ temperature: 0, process: (own) => own.fill(-1, 0, 5) }, [0]],
  ])('%o draws from %o', (options, wanted) => expect(drawn(options)).toEqual(wanted));

  test('tells the probabilities of the model itself', () => {
    const sampler = new Sampler({ logProbabilities: 2, bias: { 3: 9 } }, []);
    const choice = sampler.choose(Float32Array.from(logits), []);
    const lse = Math.log(logits.map(Math.exp).reduce((a, b) => a + b));
    expect(choice?.token).toBe(3);
    expect(choice?.logProbability).toBeCloseTo(-lse, 5);
    expect(choice?.likeliest?.map(({ token }) => token)).toEqual([1, 4]);
    expect(choice?.likeliest?.[0]?.logProbability).toBeCloseTo(3 - lse, 5);
  });

  test.each([[[Number.NaN, 1]], [[Number.POSITIVE_INFINITY, 1]], [[Number.NEGATIVE_INFINITY]]])('%o has none', (row) =>
    expect(new Sampler({}, []).choose(Float32Array.from(row), [])).toBeUndefined(),
  );
});

describe('pieces', () => {
  const bytes = new TextEncoder().encode('a€🙂b');
  const decode = (tokens: readonly number[]) => new TextDecoder().decode(Uint8Array.from(tokens));

  test('hold back characters until they are whole', () => {
    const text = new TextOfTokens(decode);
    expect([...bytes].map((byte) => text.push(byte))).toEqual(['a', '', '', '€', '', '', '', '🙂', 'b']);
    expect(text.push(0xe2)).toBe('');
    expect(text.flush()).toBe('\ufffd');
  });

  test('hold back what may begin a stop word', () => {
    const stops = new StopWords(['END', '\n\n']);
    expect(['a E', 'x', 'N\n', 'b', 'E', 'N'].map((text) => stops.push(text).text)).toEqual([
      ...['a ', 'Ex', 'N', '\nb', '', ''],
    ]);
    expect(stops.push('DE')).toEqual({ text: '', word: 'END' });
  });
});

describe('the tokenizer of a GGUF file', () => {
  const ids = (text: string, files: Parameters<typeof filesOfGguf>[0]) =>
    languageTokenizer(filesOfGguf(files)).encode(text);

  test('of SentencePiece merges by scores, and falls back to bytes', () => {
    const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    const tokens = ['<unk>', '<s>', '</s>', ...bytes, '▁', 'a', 'b', '▁a', 'ab', '▁ab'];
    const scores = Float32Array.from(tokens, (_, id) => (id < 259 ? 0 : -id));
    scores[tokens.indexOf('ab')] = -1;
    const files = {
      model: 'llama',
      tokens,
      scores,
      types: tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1)),
      special: { bos: 1, eos: 2, unknown: 0 },
      addBos: true,
    };
    const at = (...names: string[]) => names.map((name) => tokens.indexOf(name));
    expect(ids('ab a', files)).toEqual([1, ...at('▁ab', '▁a')]);
    expect(ids('é', files)).toEqual([1, ...at('▁', '<0xC3>', '<0xA9>')]);
    const tokenizer = languageTokenizer(filesOfGguf(files));
    expect(tokenizer.ends).toEqual([2]);
    expect(tokenizer.decode(tokenizer.encode('ab é a'))).toBe('ab é a');
  });

  test('of SentencePiece takes a token of any length', () => {
    const tokens = ['<unk>', 'a', 'b'.repeat(9), 'ab', `a${'b'.repeat(300_000)}`, 'b', 'b'.repeat(300_000)];
    const { model } = filesOfGguf({ model: 'llama', tokens, special: {} }).tokenizer as {
      model: { merges: string[][] };
    };
    expect(model.merges.map(([left, right]) => `${left?.length} ${right?.length}`)).toEqual(['1 1', '1 300000']);
  });

  test.each<[string, object, string]>([
    [
      'an id',
      { model: { type: 'BPE', merges: [], vocab: { a: 1e9 } } },
      'must be an integer from 0 to 4194303, got 1000000000',
    ],
    ['an added id', { added_tokens: [{ content: 'b', id: 1e9 }] }, "id of token 'b' must be an integer"],
    ...['(a+)+$', '(a|a)*$', '(a{0,40}){0,40}b', '(?:(?:x|a+))*b', 'a*a*a*a*b', '(a*)\\1'].map(
      (Regex): [string, object, string] => [
        Regex,
        { pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated' } },
        `the pattern ${show(Regex)} of the tokenizer `,
      ],
    ),
    ['of a decoder', { decoder: { type: 'Replace', pattern: { Regex: '(a*)*b' }, content: '' } }, 'repeats a part'],
  ])('that could take for ever is refused: %s', (_, part, message) => {
    const { file } = characterTokenizer('ab');
    expect(() => languageTokenizer({ tokenizer: { ...file, ...part } })).toThrow(message);
  });

  test.each([
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{M}]*[\\p{Ll}\\p{M}]+(?i:'s|'t)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s+",
    '[!-/:-~][A-Za-z]+|[^\\r\\n]?[\\p{L}]+|\\d{1,3}(?=(?:\\d{3})*\\b)| ?[^(\\s|[.,!?])]+',
  ])('with a pattern as models have them is not: %s', (Regex) => {
    const { file } = characterTokenizer('ab');
    const split = { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false };
    expect(languageTokenizer({ tokenizer: { ...file, pre_tokenizer: split } }).encode('ab')).toEqual([0, 1]);
  });

  test('of byte pairs parts texts as its kind says, around special tokens', () => {
    const tokens = ['1', '2', 'Ġ', 'a', '12', 'Ġa', '<|end|>'];
    const files = {
      model: 'gpt2',
      pre: 'qwen2',
      tokens,
      types: tokens.map((token) => (token.startsWith('<') ? 3 : 1)),
      merges: ['1 2', 'Ġ a'],
      special: { eos: 6 },
    };
    expect(ids('12 a<|end|>a', files)).toEqual([0, 1, 5, 6, 3]);
    expect(ids('12 a', { ...files, pre: 'llama-bpe' })).toEqual([4, 5]);
    expect(() => ids('', { ...files, pre: 'other' })).toThrow(
      "part texts as one of default, gpt-2, llama-bpe, llama3, qwen2 do, got 'other'",
    );
    expect(() => ids('', { ...files, model: 'bert' })).toThrow("must be of the kinds gpt2 or llama, got 'bert'");
  });
});

describe('a chat template', () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hi' },
  ];
  const source =
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

  test('renders a conversation', async () => {
    expect(await chatTemplate(source, { bos_token: '<s>' }).render(messages)).toBe(
      '<s><|system|>Be brief.\n<|user|>Hi\n<|assistant|>',
    );
    expect(await chatTemplate("{{ strftime_now('%Y') }}").render(messages)).toBe(String(new Date().getFullYear()));
  });

  test.each([
    ['{% for m in messages %}', 'the chat template cannot be parsed'],
    ["{{ raise_exception('no system') }}", 'the chat template cannot be rendered: the template refuses it: no system'],
    ['{% for a in range(100000000) %}{% endfor %}', 'range() of 100000000 is too long'],
    ['{% set x = range(1000) %}{% for a in x %}{% for b in x %}{{ a }}{% endfor %}{% endfor %}', 'it takes more than'],
    [
      "{% set ns = namespace(x='aa') %}{% for a in range(99) %}{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
      'cannot be rendered',
    ],
    [`${' '.repeat(400_000)}{{ messages }}`, 'it takes more than 5 s'],
  ])('%.80s is refused', { timeout: 30_000 }, async (template, message) => {
    await expect(chatTemplate(template).render(messages)).rejects.toThrow(message);
  });

  test('messages are checked', async () => {
    const { render } = chatTemplate(source);
    await expect(render([])).rejects.toThrow('messages must be one at least, got an empty list');
    await expect(render([{ role: 'user' } as never])).rejects.toThrow('content of messages[0] must be a string');
  });
});
