import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import configs from '../../test/fixtures/decoder.json';
import type { ComparisonReport } from '../compare/comparison';
import { createRuntime } from '../index';
import { type CalibrationFile, createDecoder, type LanguageTokenizer, loadDecoder } from '../models';
import type { HostTensor } from '../tensor/host';
import { characterTokenizer } from '../train/tokenizer';
import { writeWeights } from '../weights';
import { chat } from './chat';

const TEXT = 'abcdefg\n';
const config = { ...configs.llama, vocab_size: TEXT.length };
let folder: string;
const at = (...names: string[]) => join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const parameters = createDecoder(config).initialize(runtime, { seed: 3 });
  const hosts: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries(parameters)) hosts[name] = await tensor.toHost();
  await writeWeights(at('model'), hosts, { config });
  await writeFile(at('model', 'tokenizer.json'), JSON.stringify(characterTokenizer(TEXT).file));
  await writeFile(at('text'), 'abcabcgfedcba'.repeat(4));
});
afterAll(() => rm(folder, { recursive: true }));

const model = () => ['--model', at('model'), '--threads', '1'];

test('generate continues a prompt, of the command line or of a file', async () => {
  const given = ['generate', ...model(), '--max-tokens', '6'];
  const { code, stdout, stderr } = await saccade(...given, '--prompt', 'abc', '--json', at('out.json'));
  expect(code).toBe(0);
  expect(stderr).toMatch(/^prompt of 3 tokens in .* 6 tokens, .* a second; ended by length\n$/);
  const result = JSON.parse(await readFile(at('out.json'), 'utf8'));
  expect(result).toMatchObject({ text: stdout.slice(0, -1), promptTokens: 3, reason: 'length' });
  await writeFile(at('prompt'), 'abc');
  expect((await saccade(...given, '--in', at('prompt'))).stdout).toBe(stdout);
  await writeFile(at('grammar'), 'root ::= "gf" [ab]');
  const formed = await saccade(...given, '--prompt', 'abc', '--grammar', at('grammar'));
  expect([formed.code, formed.stdout]).toEqual([0, expect.stringMatching(/^gf[ab]\n$/)]);
  const other = await saccade(
    ...given,
    '--prompt',
    'abc',
    '--attention',
    'attention,power-attention',
    '--params',
    '[{}, {"block": 1, "window": 1}]',
  );
  expect(other.code).toBe(0);
});

test('a context beyond that of the model is told once, before the answer', async () => {
  const given = ['generate', ...model(), '--max-tokens', '2', '--prompt', 'abc', '--context'];
  const own = config.max_position_embeddings;
  const { stderr } = await saccade(...given, String(own + 1));
  expect(stderr.match(/max_position_embeddings/g)).toHaveLength(1);
  expect((await saccade(...given, String(own))).stderr).not.toContain('max_position_embeddings');
});

test('generate with --json on stdout prints nothing else there', async () => {
  const { stdout } = await saccade('generate', ...model(), '--max-tokens', '2', '--prompt', 'abc', '--json');
  expect(JSON.parse(stdout)).toMatchObject({ promptTokens: 3, reason: 'length' });
});

test('without a model it is the default one', async () => {
  const { code, stdout, stderr } = await saccade(
    'generate',
    '--prompt',
    'In the',
    '--max-tokens',
    '3',
    '--threads',
    '1',
  );
  expect([code, stdout.length > 1]).toEqual([0, true]);
  expect(stderr).toContain('ended by length');
});

test('compare tells the loss of the next token with other attention in the layer, in each and in all', async () => {
  const given = ['--text', at('text'), '--length', '16', '--layer', '0', '--each-layer', '--methods', 'attention'];
  const { code, stdout } = await saccade('compare', ...model(), ...given, '--json', at('compare.json'));
  expect(code).toBe(0);
  expect(stdout).toMatch(/MiB +loss +in all\n/);
  const { rows } = JSON.parse(await readFile(at('compare.json'), 'utf8')) as ComparisonReport;
  const exact = rows.find(({ baseline, causal }) => baseline && causal)?.loss;
  const window = rows.find(({ baseline, causal }) => !baseline && causal)?.loss;
  expect(exact?.layer).toBe(exact?.all);
  expect(window?.layers).toHaveLength(config.num_hidden_layers);
  expect(window?.layers?.[0]).toBe(window?.layer);
  expect(rows.filter(({ causal, loss }) => loss !== undefined && !causal)).toEqual([]);
});

test('calibrate finds thresholds by layer and head, which commands use beside that model and no other', async () => {
  const params = '{"windowShare": 0}';
  const given = ['--text', at('text'), '--context', '16'];
  const found = await saccade('calibrate', 'deltallm', ...model(), ...given, '--params', params, '--error', '1e-6');
  expect([found.code, found.stdout], found.stderr).toEqual([0, expect.stringMatching(/layer +thresholds by head\n/)]);
  const file = at('model', 'deltallm.calibration.json');
  const { layers, ...rest } = JSON.parse(await readFile(file, 'utf8')) as CalibrationFile;
  expect(rest).toMatchObject({
    method: 'deltallm',
    error: 1e-6,
    tokens: 52,
    model: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(layers).toHaveLength(config.num_hidden_layers);
  const thresholds = layers.flatMap(({ threshold }) => threshold as readonly number[]);
  expect(thresholds).toHaveLength(config.num_hidden_layers * config.num_key_value_heads);
  expect(thresholds.every((value) => value >= 0 && value <= 0.6)).toBe(true);
  expect(thresholds.some((value) => value < 0.6)).toBe(true);
  const by = async (...options: string[]) => {
    const { code, stdout } = await saccade('perplexity', ...model(), ...given, ...options);
    expect(code).toBe(0);
    return stdout;
  };
  // The method alone would refuse to run without a threshold.
  expect(await by('--attention', 'deltallm')).toBe(await by());
  const compared = await saccade(
    'compare',
    ...model(),
    '--methods',
    'deltallm',
    '--text',
    at('text'),
    '--length',
    '16',
  );
  expect([compared.code, compared.stdout], compared.stderr).toEqual([
    0,
    expect.stringMatching(/^DeltaLLM calibrated /m),
  ]);
  const refuse = async (change: object, message: string) => {
    await writeFile(file, JSON.stringify({ ...rest, format: 'saccade calibration', version: 1, layers, ...change }));
    await expectRefusal(['perplexity', ...model(), ...given, '--attention', 'deltallm'], message);
  };
  await refuse({ model: '0' }, 'deltallm.calibration.json of');
  await refuse({ model: '0' }, 'is of another model: calibrate again');
  await refuse({ layers: [] }, 'must have 2 layers, got []');
  await refuse({ layers: layers.map(() => ({ threshold: [1, -1] })) }, 'layers[0].threshold must be numbers >= 0');
  await refuse({ layers: layers.map(() => ({ threshold: [1] })) }, 'threshold must be a number, or one for each of');
  await rm(file);
  const without = ['perplexity', ...model(), ...given, '--attention', 'deltallm'];
  await expectRefusal(
    without,
    'deltallm needs its param threshold, such as 0.6, or what saccade calibrate deltallm finds',
  );
  const short = ['calibrate', 'sale', ...model(), ...given];
  await expectRefusal(short, 'text must be so long that sale leaves something out');
  await expectRefusal(['calibrate', 'attention', ...model(), ...given], 'attention has nothing to calibrate');
  await expectRefusal([...short, '--error', 'x'], '--error must be a positive number, got NaN');
});

test('perplexity tells how well a text is predicted', async () => {
  const { code, stdout } = await saccade('perplexity', ...model(), '--text', at('text'), '--context', '16');
  expect(code).toBe(0);
  expect(stdout).toMatch(/tokens +loss +perplexity +bits a byte/);
  expect(stdout).toMatch(/ 51 /);
  const given = ['perplexity', ...model(), '--text', at('text'), '--context', '16'];
  expect((await saccade(...given, '--chunk', '5')).stdout).toBe(stdout);
  await expectRefusal([...given, '--chunk', '0'], 'It must be a whole number from 1');
});

test('attention is that of the training, which is said, unless another is named', async () => {
  const given = ['perplexity', ...model(), '--text', at('text')];
  const plain = await saccade(...given);
  await expectRefusal([...given, '--params', '{"window": [1, 0]}'], '--params are those of --attention');
  const trainedBy = (attention: unknown) =>
    writeFile(at('model', 'config.json'), JSON.stringify({ ...config, ...(attention as object) }));
  try {
    await trainedBy({ saccade_attention: [{ method: 'attention', params: { window: [1, 0] } }] });
    const own = await saccade(...given);
    expect(own.stderr).toContain(
      'Attention as in training, unless --attention names another: attention {"window":[1,0]}',
    );
    expect(own.stdout).not.toBe(plain.stdout);
    const other = await saccade(...given, '--params', '{"window": [100, 0]}');
    expect([other.stdout, other.stderr]).toEqual([
      plain.stdout,
      expect.stringContaining(
        'Attention as in training, but for --params, unless --attention names another: attention {"window":[100,0]}',
      ),
    ]);
    await expectRefusal([...given, '--params', '[7]'], '--params must be an object, got [7]');
    expect((await saccade(...given, '--attention', 'attention')).stderr).toBe('');
    const short = await saccade(...given, '--attention', 'sale', '--params', '{"threshold": 0.1}');
    expect([short.stdout, short.stderr]).toEqual([plain.stdout, expect.stringContaining('exact, as it is up to 1024')]);
    expect(() => createDecoder({ ...config, landmark_every: 4 } as never)).toThrow(
      'attention must be given, as the model was trained with landmark-attention {"block":4}',
    );
    await expectRefusal(
      [...given, '--attention', 'sea'],
      'the model was not trained with sea, which must learn 38 parameters of its own: train it first, by saccade train --method sea --distill MODEL',
    );
    await trainedBy({ saccade_attention: [{ method: 'mine', params: {} }] });
    await expectRefusal(
      ['generate', ...model(), '--prompt', 'a'],
      'trained with mine, a method of yours: name its module, as in --attention ./mine.mjs',
    );
    await trainedBy({ saccade_attention: [{ method: 3, params: {} }] });
    await expectRefusal(
      given,
      'method of saccade_attention of the configuration[0] must be the name of a method, got 3',
    );
    await trainedBy({ landmark_token_id: 3 });
    await expectRefusal(given, 'does not say after how many tokens: name landmark-attention with its block');
  } finally {
    await trainedBy({});
  }
});

test('refuses what does not fit, by name', async () => {
  await expectRefusal(['generate', ...model()], 'the prompt must be given, by --prompt or by --in');
  await expectRefusal(
    ['generate', ...model(), '--prompt', 'a', '--top-p', '2'],
    'topP must be a number from 0 to 1, got 2',
  );
  await expectRefusal(['generate', ...model(), '--prompt', 'a', '--temperature', 'x'], 'It must be a number.');
  await expectRefusal(['generate', ...model(), '--prompt', 'a', '--chat'], 'the tokenizer has no chat template');
  await expectRefusal(
    ['generate', ...model(), '--prompt', 'a', '--attention', 'dydila'],
    'dydila lets tokens see later',
  );
  await expectRefusal(
    ['generate', ...model(), '--prompt', 'a', '--schema', at('text')],
    `${at('text')} is not JSON: Unexpected token`,
  );
  await expectRefusal(['generate', '--model', at('none'), '--prompt', 'a'], `cannot read weights from '${at('none')}'`);
});

test('formats are prepared once, before an answer asks for one', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  using plain = await loadDecoder(at('model'), { runtime });
  const own = plain.tokenizer as LanguageTokenizer;
  const vocabulary = vi.fn(own.vocabulary);
  const tokenizer = { ...own, vocabulary };
  using language = await loadDecoder(at('model'), { runtime, tokenizer, formats: true });
  await vi.waitFor(() => expect(vocabulary).toHaveBeenCalledOnce(), 10_000);
  const answer = (text: string) => language.generate('a', { format: { grammar: text } }).finish();
  expect((await answer('root ::= "b"')).text).toBe('b');
  await expect(answer('root ::= [a')).rejects.toThrow('format cannot be used');
  expect((await answer('root ::= "c"')).text).toBe('c');
  expect(vocabulary).toHaveBeenCalledOnce();
  await expect(loadDecoder(at('model'), { runtime, formats: 1 as never })).rejects.toThrow('formats must be');
});

test('chat answers line by line, and takes commands', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  using language = await loadDecoder(at('model'), { runtime });
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.end('abc\n/history\n/undo\n/history\n/what\ncc\n/retry\n/quit\nabc\n');
  await chat(language, { model: 'tiny', maxTokens: 4 }, { stdin, stdout, stderr });
  const [answer, history, nothing, second, again, ...rest] = stdout.read().toString().split('\n');
  expect(answer).toHaveLength(4);
  expect(history).toBe(`abc${answer}`);
  expect([nothing, ...rest]).toEqual(['', '']);
  expect(again).toBe(second);
  const messages = stderr.read().toString();
  expect(messages).toContain('It has no chat template and continues what you write');
  expect(messages).toContain('/what is no command; /help lists them');
  expect(messages.match(/a second\)/g)).toHaveLength(3);
});
