import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { expectClose } from '../../test/expect';
import { readSafetensors, writeSafetensors } from '../io';
import { exactAttention } from '../methods/dense/attention';
import { methods } from '../methods/registry';
import { models } from '../models/registry';
import { type HostTensor, hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { program } from './main';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('the command line', () => {
  test('tells its version and helps', async () => {
    expect(await saccade('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
    const { code, stdout } = await saccade('--help');
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(stdout).toMatch(/^ {2}doctor +what this machine offers/m);
  });

  test('describes every command and every option in a line of 80 characters', async () => {
    const root = await program();
    const widest = Math.max(
      ...root
        .helpInformation()
        .split('\n')
        .map((line) => line.length),
    );
    expect(widest).toBeLessThanOrEqual(80);
    for (const command of root.commands) {
      expect(command.description()).toMatch(/^[a-z][^\n]*[^.]$/);
      for (const option of command.options) expect(option.description).not.toBe('');
    }
  });

  test('without a command prints its help and fails', async () => {
    expect(await saccade()).toMatchObject({ code: 2, stderr: expect.stringContaining('Usage: saccade') });
  });

  test.each([
    [['lst'], "unknown command 'lst'"],
    [['list', '--yaml'], "unknown option '--yaml'"],
    [['list', 'atention'], ", got 'atention'"],
    [['mask'], "missing required argument 'method'"],
    [['mask', 'atention'], ", got 'atention': did you mean attention?"],
    [['mask', './none.mjs'], './none.mjs cannot be loaded'],
    [['mask', 'attention', '--size', 'abc'], "'abc' is invalid. It must be a whole number from 1 to 65536."],
    [['mask', 'attention', '--size', '0'], "'0' is invalid"],
    [['mask', 'attention', '--queries', '1.5'], "'1.5' is invalid"],
    [
      ['mask', 'attention', '--params', '{causal: true}'],
      `--params must be JSON, such as '{"causal": true}', got '{causal: true}'`,
    ],
    [
      ['mask', 'attention', '--params', '{"window":\n"8"}'],
      'param window of attention: expected [integer >= -1, integer >= -1], got "8"',
    ],
    [['mask', 'attention', '--params', '['.repeat(20_000) + ']'.repeat(20_000)], 'got [[[[[...]]]]]'],
    [['mask', 'attention', '--params', 'x'.repeat(100_000)], 'x...'],
    [['mask', 'attention', '--svg', '/nowhere/at/all.svg'], "cannot write '/nowhere/at/all.svg': no such file"],
    [
      ['mask', 'neighborhood-attention', '--params', '{"window": [3, 3]}'],
      'window must be one value for the one axis, got 2: without --grid, such as --grid 8x8, there is one axis of 32',
    ],
    [
      ['mask', 'neighborhood-attention', '--grid', '2x2x2x2', '--params', '{"window": 2}'],
      '--grid must have 1 to 3 axes, got 4',
    ],
    [
      ['mask', 'neighborhood-attention', '--grid', '512x256', '--params', '{"window": 2}'],
      '--grid must have at most 65536 tokens, got 131072',
    ],
  ])('%j is refused in one line', (args, message) => expectRefusal(args, message));
});

describe('list', () => {
  test('shows every method in a line', async () => {
    const { stdout } = await saccade('list');
    for (const { name, family, summary } of methods) {
      expect(stdout).toMatch(new RegExp(`^${name} `, 'm'));
      for (const text of [family, summary]) expect(stdout).toContain(text);
    }
    expect(stdout.trimEnd().split('\n').length).toBeLessThan(methods.length + models.length + 20);
  });

  test('shows every model in a line, and what one takes and gives', async () => {
    const { stdout } = await saccade('list');
    for (const { name, summary } of models)
      expect(stdout).toMatch(new RegExp(`^${name} +${summary.slice(0, 20)}`, 'm'));
    const one = await saccade('list', 'decoder');
    const help = await saccade('run', 'decoder', '--help');
    for (const text of ['tokens [b n]', '-> logits [b n vocabulary]', 'config: object'])
      for (const shown of [one, help]) expect(shown.stdout).toContain(text);
    const { stdout: json } = await saccade('list', '--models', '--json');
    const [decoder, encoder] = JSON.parse(json);
    expect(decoder).toMatchObject({ name: 'decoder', family: 'models', outputs: { logits: 'b n vocabulary' } });
    expect(decoder.weights['model.norm.weight']).toEqual([32]);
    expect(encoder.weights['module/Embeddings_en']).toEqual([8002, 256]);
  });

  test('shows one with its paper, inputs and params', async () => {
    const { stdout } = await saccade('list', 'attention');
    expect(stdout).not.toContain('s2-attention');
    for (const text of [
      'attention',
      'dense',
      'arXiv 1706.03762',
      '2017',
      'q [b n h d]',
      'causal: true or false',
      'default false',
    ])
      expect(stdout).toContain(text);
  });

  test('as JSON has the params as a JSON Schema', async () => {
    const { stdout } = await saccade('list', '--json');
    const [method] = JSON.parse(stdout);
    expect(method).toMatchObject({
      name: 'attention',
      inputs: { q: 'b n h d' },
      outputs: { lse: 'b n h' },
      gradient: true,
      params: { type: 'object', properties: { causal: { type: 'boolean', default: false } } },
    });
  });
});

describe('mask', () => {
  test('draws in the terminal', async () => {
    const { stdout } = await saccade('mask', 'attention', '--params', '{"causal": true}', '--size', '3');
    expect(stdout).toContain('attention: causal, 6 of 9 pairs seen (66.7%)');
    expect(stdout).toContain('██ · ·\n  ████ ·\n2 ██████');
  });

  test('takes another number of queries', async () => {
    const { stdout } = await saccade('mask', 'attention', '--size', '8', '--queries', '2');
    expect(stdout).toContain('16 of 16 pairs');
  });

  test('writes SVG', async () => {
    const svg = join(folder, 'mask.svg');
    expect(await saccade('mask', 'attention', '--svg', svg)).toMatchObject({ code: 0, stderr: '' });
    expect(await readFile(svg, 'utf8')).toMatch(/^<svg [\s\S]*attention: full[\s\S]*<\/svg>\n$/);
  });
});

describe('run', () => {
  const tensors = {
    q: hostTensor(normal(2 * 5 * 4 * 3, 1), [2, 5, 4, 3]),
    k: hostTensor(normal(2 * 7 * 2 * 3, 2), [2, 7, 2, 3]),
    v: hostTensor(normal(2 * 7 * 2 * 6, 3), [2, 7, 2, 6]),
  };

  async function save(name: string, content: Parameters<typeof writeSafetensors>[0]): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, writeSafetensors(content));
    return path;
  }

  test.each([
    ['--backend', 'reference'],
    ['--threads', '2'],
  ])('computes what the file holds, with %s %s', async (...options) => {
    const input = await save('in', tensors);
    const out = join(folder, 'out');
    const params = '{"causal": true, "scale": 0.5}';
    const { code, stdout, stderr } = await saccade(
      ...['run', 'attention', '--in', input, '--out', out, '--params', params, ...options],
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(`${out}: out [2, 5, 4, 6] f32, lse [2, 5, 4] f32\n`);
    const found = readSafetensors(await readFile(out));
    const expected = exactAttention.reference(tensors, exactAttention.parse({ causal: true, scale: 0.5 }));
    expect(Object.keys(found).sort()).toEqual(['lse', 'out']);
    expectClose(found.out!.data as Float32Array, expected.out!.data as Float64Array, 1e-5);
    expectClose(found.lse!.data as Float32Array, expected.lse!.data as Float64Array, 1e-5);
  });

  test('to stdout go the outputs alone', async () => {
    const input = await save('in', tensors);
    const { code, stdout, stderr } = await saccade(
      ...['run', 'attention', '--in', input, '--out', '/dev/stdout', '--backend', 'reference'],
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '/dev/stdout: out [2, 5, 4, 6] f32, lse [2, 5, 4] f32\n' });
    expect(Object.keys(readSafetensors(Buffer.from(stdout, 'latin1'))).sort()).toEqual(['lse', 'out']);
  });

  test('knows before the work whether it can write', async () => {
    const out = (path: string) => ['run', 'attention', '--in', 'none', '--out', path];
    await expectRefusal(out(folder), `cannot write '${folder}': it is a folder`);
    for (const command of [['reproduce', 'power-attention'], ['bench', 'attention'], ['compare']]) {
      await expectRefusal([...command, '--json', folder], `cannot write '${folder}': it is a folder`);
    }
  });

  test('an output that exists is replaced, whole, and what else a folder holds stays; a refused command changes nothing', async () => {
    const points = { x: hostTensor(normal(8, 1), [4, 2]), y: hostTensor(normal(4, 2), [4]) };
    const [qkv, xy] = [await save('qkv', tensors), await save('xy', points)];
    const picture = join(folder, 'picture.png');
    await writeFile(picture, encode({ width: 28, height: 28, channels: 3, data: new Uint8Array(3 * 28 * 28) }));
    const [model, seen] = [join(folder, 'fitted'), join(folder, 'seen')];
    await mkdir(seen);
    const cases: [words: string[], out: string, file: string][] = [
      [['run', 'attention', '--in', qkv], join(folder, 'ran'), ''],
      [['fit', '--report', '0', '--params', '{"ridge": 0.1}', '--in', xy], model, ''],
      [['predict', '--model', model, '--in', xy], join(folder, 'predicted'), ''],
      [['look', '--model', 'van', '--image', picture], seen, 'seen.png'],
    ];
    for (const [words, out, file] of cases) {
      const [target, beside] = [join(out, file), join(seen, 'notes')];
      for (const path of [target, beside]) await writeFile(path, 'old');
      await expectRefusal([...words.slice(0, -1), join(folder, 'none'), '--out', out], 'none');
      expect(await readFile(target, 'utf8')).toBe('old');
      expect(await saccade(...words, '--out', out, '--threads', '1')).toMatchObject({ code: 0, stderr: '' });
      const written = await readFile(target);
      expect(written.toString('latin1').startsWith('old')).toBe(false);
      expect((await saccade(...words, '--out', out, '--threads', '1')).code).toBe(0);
      expect((await readFile(target)).equals(written), words[0]).toBe(true);
      expect(await readFile(beside, 'utf8')).toBe('old');
    }
  });

  test('--json means the same in all commands: to a file, or to stdout, where text then is not', async () => {
    const file = join(folder, 'json');
    for (const words of [
      ['list', 'attention'],
      ['simulate', 'reach', '--mask', 'power', '--size', '8'],
      ['mask', 'power-attention', '--size', '8'],
    ]) {
      const bare = await saccade(...words, '--json');
      const beside = await saccade(...words, '--json', file);
      expect(JSON.parse(bare.stdout)).toEqual(JSON.parse(await readFile(file, 'utf8')));
      expect((await saccade(...words, '--json', '-')).stdout).toBe(bare.stdout);
      expect([beside.code, beside.stdout]).toEqual([0, (await saccade(...words)).stdout]);
    }
    const named = await saccade('list', '--json', 'attention');
    expect(JSON.parse(named.stdout)).toMatchObject([{ name: 'attention' }]);
  });

  test('a file that is no safetensors is told by what it is, without servers', async () => {
    const csv = join(folder, 'x.csv');
    await writeFile(csv, 'a,b,c,d,e\n1,2,3,4,5\n');
    const fitOf = (path: string) => ['fit', '--in', path, '--out', join(folder, 'fitted')];
    await expectRefusal(fitOf(csv), `${csv} must be a safetensors file: it has 20 bytes and begins 'a,b,c,d,e`);
    const json = join(folder, 'package.json');
    await writeFile(json, '{"name": "x", "version": "1"}');
    await expectRefusal(fitOf(json), `${json} must be a safetensors file`);
    await expectRefusal(['inspect', json], 'expected weights in safetensors, GGUF or a checkpoint of PyTorch');
  });

  test('shows names with terminal escapes harmlessly', async () => {
    const input = await save('in', { ...tensors, '\u001b[31mred\u009b5m\u202e': tensors.v });
    const run = (path: string, out: string) => [
      'run',
      'attention',
      '--in',
      path,
      '--out',
      out,
      '--backend',
      'reference',
    ];
    await expectRefusal(run(input, join(folder, 'out')), "has a tensor '\\u001b[31mred\\u009b5m\\u202e' too many");
    await expectRefusal(run('\u001b]0;title\u0007', join(folder, 'out')), "cannot read '\\u001b]0;title\\u0007'");
    await expectRefusal(['list', '--\u001b[2J'], "unknown option '--\\u001b[2J'");
    const { stdout } = await saccade(...run(await save('in', tensors), join(folder, '\u001b[31mred')));
    expect(stdout).toContain('\\u001b[31mred: out ');
  });

  test('leaves grad_out alone without --grad, and says so', async () => {
    const input = await save('in', { ...tensors, grad_out: tensors.v });
    const out = join(folder, 'out');
    const { code, stderr } = await saccade('run', 'attention', '--in', input, '--out', out, '--backend', 'reference');
    expect(code).toBe(0);
    expect(stderr).toBe(`grad_out of ${input} is not used: --grad asks for gradients\n`);
    expect(Object.keys(readSafetensors(await readFile(out))).sort()).toEqual(['lse', 'out']);
  });

  test('--grad gives the gradients of what has one', async () => {
    const alibi_slopes = hostTensor(Float32Array.of(0.1, 0.2, 0.3, 0.4), [4]);
    const documents = hostTensor(new Int32Array(10), [2, 5]);
    const [, , g] = tensors.k.shape as [number, number, number];
    const [k, v] = [tensors.k, tensors.v].map(({ data, shape: [, , , c] }) =>
      hostTensor((data as Float32Array).slice(0, 10 * g * (c as number)), [2, 5, g, c as number]),
    ) as [HostTensor, HostTensor];
    const given = { q: tensors.q, k, v, alibi_slopes, documents };
    const gradOut = hostTensor(normal(2 * 5 * 4 * 6, 9), [2, 5, 4, 6]);
    const [input, out] = [await save('in', { ...given, grad_out: gradOut }), join(folder, 'out')];
    await expectRefusal(['run', 'roi-boxes', '--in', input, '--out', out, '--grad'], 'roi-boxes has no gradient');
    const run = (file: string) => ['run', 'attention', '--in', file, '--out', out, '--grad', '--backend', 'reference'];
    expect(await saccade(...run(input))).toMatchObject({ code: 0, stderr: '' });
    const found = readSafetensors(await readFile(out));
    const expected = exactAttention.reference(given, exactAttention.parse({}), gradOut);
    expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
    expect(Object.keys(found)).toContain('grad_alibi_slopes');
    for (const [name, { data }] of Object.entries(found))
      expectClose(data as Float32Array, expected[name]!.data as Float64Array, 1e-5);

    await expectRefusal(
      run(await save('wrong', { ...given, grad_out: tensors.q })),
      'grad_out must have the shape [2, 5, 4, 6] of out, got [2, 5, 4, 3]',
    );
  });

  test('--grad leaves out constants', async () => {
    const one = (...shape: number[]) => hostTensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5), shape);
    const x = one(1, 3, 1, 2);
    const input = await save('in', { q: x, k: x, v: x, decay: one(1), grad_out: x });
    const out = join(folder, 'out');
    const { code } = await saccade(
      ...['run', 'lightning-attention', '--in', input, '--out', out, '--grad', '--backend', 'reference'],
    );
    expect(code).toBe(0);
    expect(Object.keys(readSafetensors(await readFile(out))).sort()).toEqual([
      ...['grad_k', 'grad_q', 'grad_v', 'out', 'state'],
    ]);
  });

  test('says what the method warns of', async () => {
    const shape = [1, 40, 1, 64];
    const [q, k, v] = [1, 2, 3].map((seed) => hostTensor(normal(40 * 64, seed), shape)) as [
      HostTensor,
      HostTensor,
      HostTensor,
    ];
    const input = await save('in', { q, k, v });
    const params = '{"features": 256}';
    const { code, stderr } = await saccade(
      ...['run', 'kernel-attention', '--in', input, '--out', join(folder, 'out'), '--params', params, '--threads', '1'],
    );
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^kernel-attention: the weights of \d+%/),
    });
  });

  test('answers f16 with f16', async () => {
    const half = (shape: number[]) => hostTensor(new Uint16Array(shape.reduce((a, b) => a * b)), shape, 'f16');
    const input = await save('in', { q: half([1, 2, 1, 2]), k: half([1, 2, 1, 2]), v: half([1, 2, 1, 2]) });
    const out = join(folder, 'out');
    await saccade('run', 'attention', '--in', input, '--out', out, '--backend', 'reference');
    expect(readSafetensors(await readFile(out)).out!.dtype).toBe('f16');
  });

  const { q, k, v } = tensors;
  test.each([
    ['a missing tensor', { q, k }, "in has no tensor 'v': attention takes q, k, v"],
    ['a tensor too many', { q, k, v, mask: v }, "in has a tensor 'mask' too many: attention takes q, k, v"],
    ['float64', { q: hostTensor(new Float64Array(120), [2, 5, 4, 3]), k, v }, 'q in '],
    ['integers', { q: hostTensor(new Int32Array(120), [2, 5, 4, 3]), k, v }, 'q must be f32, f16, bf16, got i32'],
    ['extents that do not fit', { q, k, v: k.shape && q }, 'v must have shape [b, m, g, e] with m = 7'],
  ])('refuses %s, and writes nothing', async (_, content, message) => {
    const input = await save('in', content);
    const out = join(folder, 'out');
    await expectRefusal(['run', 'attention', '--in', input, '--out', out, '--backend', 'reference'], message);
    expect(await readdir(folder)).toEqual(['in']);
  });

  test('refuses what is no file of tensors, by its name', async () => {
    const input = join(folder, 'in');
    await writeFile(input, 'hello');
    const run = (file: string, ...more: string[]) => [
      'run',
      'attention',
      '--in',
      file,
      '--out',
      join(folder, 'out'),
      ...more,
    ];
    await expectRefusal(run(input), `${input} must be a safetensors file: it has 5 bytes and begins 'hello'`);
    await expectRefusal(run(folder), `cannot read '${folder}': it is a folder`);
    await expectRefusal(run(join(folder, 'none')), `cannot read '${join(folder, 'none')}': no such file or directory`);
  });

  test('checks options before it reads', async () => {
    const run = (...more: string[]) => ['run', 'attention', '--in', 'none', '--out', join(folder, 'out'), ...more];
    await expectRefusal(run('--threads', '0'), "'0' is invalid. It must be a whole number from 1 to 256.");
    await expectRefusal(run('--backend', 'cuda'), 'Allowed choices are auto, reference, wasm, webgpu.');
    await expectRefusal(run('--params', '[]'), 'params of attention must be an object, got []');
    await expectRefusal(run().slice(0, -2), "required option '--out <file>' not specified");
    await expectRefusal(
      ['run', 'attention', '--in', 'none', '--out', '/nowhere/out'],
      "cannot write '/nowhere/out': no such",
    );
  });
});

describe('doctor', () => {
  test('says what the machine has, computes exactly with it and measures it', async () => {
    const { code, stdout, stderr } = await saccade('doctor');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/✓ SIMD, 1 thread +\d\.\de-[78] +[\d.]+ GF\/s/);
    expect(stdout).toContain('backend: wasm');
  });

  test('as JSON', async () => {
    const { stdout } = await saccade('doctor', '--json');
    const { machine, ways, chosen, availableGiB } = JSON.parse(stdout);
    expect(machine.cores).toBeGreaterThan(0);
    expect(availableGiB).toBeGreaterThan(0);
    expect(chosen[0]).toBe('backend: wasm');
    for (const { error, missing } of ways) expect(missing ?? error < 1e-5).toBeTruthy();
  });

  test('names what is missing with the remedy', async () => {
    const validate = vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    const { code, stdout, stderr } = await saccade('doctor');
    validate.mockRestore();
    expect(stdout).toContain('✗ relaxed SIMD, 1 thread');
    expect(stdout).toContain('use a current browser or Node');
    expect(stderr).toMatch(/^saccade: this machine cannot compute on its CPU: [^\n]+\n$/);
    expect(code).toBe(2);
  });
});
