import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { expectClose } from '../../test/expect';
import configs from '../../test/fixtures/decoder.json';
import published from '../../test/fixtures/training.json';
import { createRuntime } from '../index';
import { readSafetensors, readSafetensorsMetadata, writeSafetensors } from '../io';
import { createDecoder } from '../models';
import { hostTensor } from '../tensor/host';
import { uniformGenerator } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { characterTokenizer, readCheckpoint, type TrainingSettings, tokenizerOf } from '../train';
import { writeCheckpoint } from '../train/checkpoint';
import { lockFolder } from './lock-folder';
import { parametersFrom } from './train-base';

let folder: string;
const at = (...names: string[]) => join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-train-'));
  await writeFile(at('text.txt'), 'the whale, the white whale and the sea. '.repeat(40));
});
afterAll(() => rm(folder, { recursive: true }));

const jsonOf = async (...names: string[]) => JSON.parse(await readFile(at(...names), 'utf8'));
const SMALL = ['--length', '16', '--batch', '2', '--layers', '1', '--width', '16', '--heads', '2', '--threads', '1'];
const onText = (out: string, ...more: string[]) => [
  'train',
  '--text',
  at('text.txt'),
  '--out',
  at(out),
  ...SMALL,
  ...more,
];

/** The files of a step-for-step training, and the arguments that name them. */
async function filesOf({ model, shape, tokens, optimizer }: (typeof published)[number]): Promise<string[]> {
  const fixture = readSafetensors(await readFile(new URL('../../test/fixtures/decoder.safetensors', import.meta.url)));
  const prefix = `${model}/weights/`;
  const weights = Object.entries(fixture).flatMap(([name, host]) =>
    name.startsWith(prefix) ? [[name.slice(prefix.length), host] as const] : [],
  );
  await writeFile(at('weights.safetensors'), writeSafetensors(Object.fromEntries(weights)));
  await writeFile(at('tokens.safetensors'), writeSafetensors({ tokens: hostTensor(Int32Array.from(tokens), shape) }));
  await writeFile(at('config.json'), JSON.stringify(configs[model as keyof typeof configs]));
  const of = { config: 'config.json', weights: 'weights.safetensors', tokens: 'tokens.safetensors' };
  return [
    ...['train', '--threads', '1', '--optimizer', JSON.stringify(optimizer)],
    ...Object.entries(of).flatMap(([name, file]) => [`--${name}`, at(file)]),
  ];
}

test.each(published)('step for step as PyTorch trains: $model by $optimizer.name', async (each) => {
  const out = `${each.model}-${each.optimizer.name}`;
  const { code, stderr } = await saccade(...(await filesOf(each)), '--out', at(out));
  expect([code, stderr]).toEqual([0, '']);
  const { losses, gradientNorms } = await jsonOf(out, 'log.json');
  expectClose(losses, each.losses, 2e-5);
  expectClose(gradientNorms, each.gradientNorms, 1e-4);
  const file = await readFile(at(out, 'model.safetensors'));
  const weights = readSafetensors(file);
  expect(Object.keys(weights).sort()).toEqual(Object.keys(each.head).sort());
  expect(readSafetensorsMetadata(file)).toEqual({ format: 'pt' });
  for (const [name, values] of Object.entries(each.head))
    expectClose([...weights[name]!.data.slice(0, 4)] as number[], values, 1e-4);
  expect(await jsonOf(out, 'config.json')).toEqual(configs[each.model as keyof typeof configs]);
});

test('learns a text with any causal method, and writes what others can read', async () => {
  const { code, stdout } = await saccade(
    ...onText(
      'text',
      '--method',
      'power-attention',
      '--params',
      '{"block": 4, "window": 2}',
      '--steps',
      '30',
      '--every',
      '10',
      '--context',
      '32',
    ),
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(/text\.txt, learned with power-attention\n.*│/);
  expect(stdout).toMatch(/30 steps: loss \S+, of validation \S+\n“.{80,}”\nWritten: /s);
  const { losses, validation } = await jsonOf('text', 'log.json');
  expect(losses.length).toBe(30);
  expect(validation.map(({ steps }: { steps: number }) => steps)).toEqual([10, 20, 30]);
  expect(losses[29]).toBeLessThan(0.9 * losses[0]);
  expect(validation[2].loss).toBeLessThan(validation[0].loss);
  const tokenizer = tokenizerOf(await jsonOf('text', 'tokenizer.json'));
  expect(tokenizer.decode(tokenizer.encode('the whale'))).toBe('the whale');
  expect(await jsonOf('text', 'config.json')).toMatchObject({
    vocab_size: tokenizer.size,
    max_position_embeddings: 32,
  });
  expect(await readFile(at('text', 'loss.svg'), 'utf8')).toMatch(/^<svg [\s\S]*<polyline points="\d/);
});

test('goes on with what the checkpoint remembers, and refuses another course', async () => {
  const hybrid = ['--layers', '2', '--method', 'lightning-attention,attention', '--params', '[{}, {"window": [3, 0]}]'];
  const args = ['--steps', '4', '--every', '2', '--vocabulary', '270', '--optimizer', '{"name": "sgd"}', ...hybrid];
  await saccade(...onText('whole', ...args));
  const whole = await readFile(at('whole', 'last.safetensors'));
  expect((await saccade('train', '--resume', '--out', at('whole'))).code).toBe(0);
  expect(await readFile(at('whole', 'last.safetensors'))).toEqual(whole);
  expect(readCheckpoint(whole)).toMatchObject({ steps: 4, settings: { batch: 2, vocabulary: '270' } });
  await expectRefusal(
    ['train', '--resume', '--out', at('whole'), '--batch', '3'],
    'settings.batch of the checkpoint is 2, that of this training 3',
  );
  await writeFile(at('other.txt'), 'another text, of as many letters '.repeat(40));
  await expectRefusal(
    ['train', '--resume', '--out', at('whole'), '--text', at('other.txt')],
    'settings.text of the checkpoint is',
  );
});

test('a student begins with the weights of its teacher, which keeps its own', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const decoder = createDecoder(configs.llama);
  const base = {
    config: configs.llama,
    decoder,
    parameters: decoder.initialize(runtime),
    tokenizer: characterTokenizer('a'),
  };
  const student = parametersFrom(base, decoder, runtime, { seed: 1, isTeacher: true });
  for (const [name, own] of Object.entries(student)) {
    const known = base.parameters[name] as Tensor;
    expect([own === known, await own.read()]).toEqual([false, await known.read()]);
  }
});

/** What a folder holds, and when it was written. */
async function contents(...names: string[]): Promise<unknown> {
  const files = await readdir(at(...names));
  return Promise.all(
    files.sort().map(async (name) => {
      const path = at(...names, name);
      return [name, (await stat(path)).mtimeMs, (await readFile(path)).toString('base64')];
    }),
  );
}

test('what is refused has changed nothing, and of processes only one writes to a folder', async () => {
  const args = ['--steps', '3', '--every', '2'];
  expect((await saccade(...onText('kept', ...args))).code).toBe(0);
  const [host, gone] = [hostname().replace(/[^\w-]+/g, '-'), spawnSync(process.execPath, ['-v']).pid];
  const before = await contents('kept');
  const refuse = async (message: string, words: readonly string[]) => {
    await expectRefusal(words, message);
    expect(await contents('kept')).toEqual(before);
  };
  const resume = ['train', '--resume', '--out', at('kept')];
  await writeFile(at('other.txt'), 'another text, of other letters '.repeat(40));
  await refuse('settings.width of the checkpoint is 16, that of this training 32', [...resume, '--width', '32']);
  await refuse('settings.text of the checkpoint is', [...resume, '--text', at('other.txt')]);
  await refuse('holds last.safetensors already: --resume goes on with that', onText('kept', ...args));
  await expectRefusal(['train', '--out', at('a', 'b'), '--text', at('none.txt')], 'cannot read');
  await expect(stat(at('a'))).rejects.toMatchObject({ code: 'ENOENT' });

  // The process around this one runs, another host cannot be asked, and what has ended does not count.
  for (const [lock, name] of [
    [`.saccade.${process.ppid}@${host}.lock`, `process ${process.ppid} of ${host} does`],
    ['.saccade.1@elsewhere.lock', 'process 1 of elsewhere does; wait for it or, if it is gone, delete'],
  ] as const) {
    await writeFile(at('kept', lock), '');
    await expectRefusal(resume, name);
    await rm(at('kept', lock));
  }
  expect(await contents('kept')).toEqual(before);
  for (const left of [
    `.saccade.${gone}@${host}.lock`,
    `.last.0a1b.${gone}@${host}.tmp`,
    `.best.2c3d.${process.pid}@${host}.tmp`,
  ])
    await writeFile(at('kept', left), 'half');
  {
    using _lock = lockFolder(at('kept'));
    await expectRefusal(resume, 'this process does already');
  }
  expect((await saccade(...resume)).code).toBe(0);
  expect(((await contents('kept')) as unknown[][]).map(([name]) => name)).toEqual(
    (before as unknown[][]).map(([name]) => name),
  );
});

test('what is interrupted says what checkpoint there is, and goes on to the same bits', async () => {
  const args = ['--steps', '12', '--every', '5', '--vocabulary', '260'];
  await saccade(...onText('uninterrupted', ...args));
  const uniform = uniformGenerator(inject('seed'));
  const others = process.listenerCount('SIGTERM');
  let [words, interrupts] = [onText('interrupted', ...args), 0];
  for (;;) {
    let isOver = false;
    const running = saccade(...words).finally(() => {
      isOver = true;
    });
    // Once its steps listen too, beside the command, turns of the event loop tell where it is.
    for (let turns = 1 + Math.floor(80 * uniform()); turns > 0 && !isOver; await setImmediate())
      if (process.listenerCount('SIGTERM') > others + 1) turns--;
    if (!isOver) process.emit('SIGTERM');
    const { code, stderr } = await running;
    const file = await readFile(at('interrupted', 'last.safetensors')).catch(() => undefined);
    if (code === 0) break;
    expect(code).toBe(143);
    const told = file
      ? `kept up to step ${readCheckpoint(file).steps}: --resume goes on from there`
      : 'no step was kept';
    expect(stderr).toContain(told);
    interrupts++;
    if (file) words = ['train', '--resume', '--out', at('interrupted')];
  }
  expect((await readdir(at('interrupted'))).sort()).toEqual((await readdir(at('uninterrupted'))).sort());
  for (const name of await readdir(at('uninterrupted')))
    expect((await readFile(at('interrupted', name))).equals(await readFile(at('uninterrupted', name))), name).toBe(
      true,
    );
  expect(interrupts).toBeGreaterThan(0);
});

test('what a checkpoint remembers is taken as it could be given, and files are read as far as they may be large', async () => {
  await saccade(...onText('altered', '--steps', '1'));
  const last = at('altered', 'last.safetensors');
  const checkpoint = readCheckpoint(await readFile(last));
  const refuse = async (settings: TrainingSettings, message: string) => {
    await writeFile(last, writeCheckpoint({ ...checkpoint, settings: { ...checkpoint.settings, ...settings } }));
    await expectRefusal(['train', '--resume', '--out', at('altered')], message);
  };
  await refuse({ layers: 1e6 }, 'checkpoint: its layers cannot be 1000000: the file was altered');
  await refuse({ text: 5 }, 'checkpoint: its text cannot be 5');
  await refuse({ method: 5 }, 'checkpoint: its method cannot be 5');
  await refuse({ width: '16' }, "checkpoint: its width cannot be '16'");
  await refuse({ vocabulary: 'words' }, "checkpoint: its vocabulary cannot be 'words'");
  await refuse({ tokens: 'hash' }, 'the checkpoint is of a training on files: give --config, --weights, --tokens');
  await refuse({ width: 65_536, layers: 1024, heads: 1024 }, 'parameters need 192 TiB beside the');
  await writeFile(last, 'no checkpoint');
  await expectRefusal(['train', '--resume', '--out', at('altered')], 'last.safetensors: safetensors');

  const files = await filesOf(published[0]!);
  await truncate(at('config.json'), 2 ** 31);
  await expectRefusal([...files, '--out', at('none')], "config.json': expected at most 1.00 MiB, got 2.00 GiB");
});

test('refuses what cannot be learned, by name', async () => {
  await writeFile(at('empty.txt'), '');
  await writeFile(at('latin1.txt'), Uint8Array.of(0x61, 0xe9, 0x61));
  await writeFile(at('short.txt'), 'too short');
  const refuse = (message: string, ...more: string[]) =>
    expectRefusal(['train', '--out', at('none'), ...more], message);
  await refuse('empty.txt holds no text', '--text', at('empty.txt'));
  await refuse('latin1.txt is not text in UTF-8', '--text', at('latin1.txt'));
  await refuse('tokens must be at least', '--text', at('short.txt'), '--length', '8');
  await refuse('--context must be at least --length, 16, got 8', '--text', at('text.txt'), ...SMALL, '--context', '8');
  await refuse(
    'lets tokens see later ones',
    '--text',
    at('text.txt'),
    '--length',
    '8',
    '--params',
    '{"causal": false}',
  );
  const refuseMethods = (message: string, methods: string, params = '{}') =>
    refuse(message, '--text', at('text.txt'), ...SMALL, '--layers', '2', '--method', methods, '--params', params);
  await refuseMethods('--method must name at most as many as --layers, 2, got 3', 'attention,parallax,attention');
  await refuseMethods("stochastic-attention, got 'window'", 'attention,window');
  await refuseMethods('--params must be a JSON array of 2 objects', 'attention,attention', '{"window": [3, 0]}');
  await refuseMethods('--params must be a JSON array of 2 objects', 'attention,attention', '[{}]');
  await refuse("must be a JSON object, got '{'", '--text', at('text.txt'), '--optimizer', '{');
  await refuse("name of --optimizer must be one of adamw, sgd, muon, got 'adam'", '--optimizer', '{"name": "adam"}');
  await refuse(
    'learningRate must be a finite number >= 0, got null',
    ...['--text', at('text.txt'), ...SMALL],
    '--optimizer',
    '{"name": "sgd", "learningRate": null}',
  );
  await refuse('--weights must be given too', '--config', at('config.json'), '--tokens', at('tokens.safetensors'));
  await refuse("option '--config <file>' cannot be used with option '--text <file>'", '--config', 'a', '--text', 'b');
  await refuse('cannot read', '--resume');
  const files = await filesOf(published[0]!);
  await writeFile(at('tokens.safetensors'), writeSafetensors({ tokens: hostTensor(Int32Array.of(1, 2), [2]) }));
  await expectRefusal([...files, '--out', at('none')], 'tokens must have shape [steps, b, n + 1], got [2]');
});

test('a full disk ends it, and the checkpoint before stays', async () => {
  await mkdir(at('full'));
  await symlink('/dev/full', at('full', 'last.safetensors'));
  const { code, stderr } = await saccade(...onText('full', '--steps', '2', '--every', '1'));
  expect([code, stderr]).toEqual([
    2,
    `no step was kept: there is no checkpoint\nsaccade: cannot write '${at('full', 'last.safetensors')}': no space left on device\n`,
  ]);
  expect(readCheckpoint(await readFile(at('full', 'best.safetensors'))).steps).toBe(1);
});

test('an interrupt while the command loads, or before the first step, leaves a message', async () => {
  const begun = async () => {
    while (!existsSync(at('early'))) await setImmediate();
  };
  for (const moment of [async () => {}, begun]) {
    const run = saccade(...onText('early', '--steps', '1'));
    await moment();
    process.emit('SIGINT');
    const { code, stderr } = await run;
    expect(stderr).toMatch(/^saccade: interrupted$/m);
    expect(code).toBe(130);
    await rm(at('early'), { recursive: true, force: true });
  }
});
