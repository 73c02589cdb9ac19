/** The command line on the GPU, and what it says where there is none. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { relativeError } from '../../test/describe-method';
import { readSafetensors, writeSafetensors } from '../io';
import { findMethod } from '../methods/registry';
import { type HostTensor, hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { sizeOf } from '../tensor/shape';

const EXTENTS: Readonly<Record<string, readonly number[]>> = {
  ...{ b: [1], n: [20], m: [20], '...space': [5, 4], h: [2], g: [2], d: [8], e: [6] },
};

/** Exact attention, a mask on a grid, a recurrence with inputs of its own. */
const METHODS = { attention: {}, 'neighborhood-attention': { window: 3 }, 'gated-delta-rule': {} };

/** Inputs whose range is not all numbers: logarithms of decays, rates. */
const RANGES: Readonly<Record<string, (x: number) => number>> = {
  g: (x) => -0.2 * Math.abs(x),
  beta: (x) => 1 / (1 + Math.exp(-x)),
};

function random(spec: string, seed: number, map = (x: number) => x): HostTensor<'f32'> {
  const shape = spec.split(' ').flatMap((letter) => EXTENTS[letter] as readonly number[]);
  return hostTensor(Float32Array.from(normal(sizeOf(shape), seed), map), shape, 'f32');
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
});
afterEach(() => rm(folder, { recursive: true }));

// Each run compiles its kernels anew, which takes an adapter in software its time.
describe.runIf(inject('hasGpu'))('--backend webgpu', { timeout: 240_000 }, () => {
  test.each(Object.entries(METHODS))('runs %s', async (name, params) => {
    const method = findMethod(name);
    const inputs = Object.fromEntries(
      Object.entries(method.inputs).map(([key, spec], at) => [key, random(spec as string, at + 1, RANGES[key])]),
    );
    const gradOut = random(method.outputs.out as string, 20);
    const [input, out] = [join(folder, 'in'), join(folder, 'out')];
    await writeFile(input, writeSafetensors({ ...inputs, grad_out: gradOut }));
    const args = ['--in', input, '--out', out, '--params', JSON.stringify(params), '--grad'];
    // A machine that compiles for long is told how far it is, and nothing else.
    const stderr = expect.stringMatching(/^([\w-]+ \d+%\n)*$/);
    expect(await saccade('run', name, ...args, '--backend', 'webgpu')).toMatchObject({ code: 0, stderr });
    const tensors = readSafetensors(await readFile(out));
    const expected = method.reference(inputs as never, method.parse(params as never), gradOut);
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
    for (const [key, tensor] of Object.entries(tensors)) {
      expect(relativeError(tensor, expected[key] as HostTensor), key).toBeLessThan(1e-4);
    }
  });

  test('compares on it', async () => {
    const input = join(folder, 'qkv');
    const json = join(folder, 'json');
    const [q, k, v] = ['b n h d', 'b n g d', 'b n g e'].map((spec, at) => random(spec, at + 1)) as HostTensor[];
    await writeFile(input, writeSafetensors({ q: q!, k: k!, v: v! }));
    const args = ['--in', input, '--methods', 'attention,s2-attention', '--json', json, '--backend', 'webgpu'];
    const { code, stdout } = await saccade('compare', ...args);
    expect(code).toBe(0);
    expect(stdout).toContain('backend: webgpu');
    const { rows } = JSON.parse(await readFile(json, 'utf8'));
    expect(rows.length).toBeGreaterThan(1);
  });

  test('doctor tells of the adapter', async () => {
    const { stdout, code } = await saccade('doctor');
    expect(code).toBe(0);
    expect(stdout).toMatch(/✓ WebGPU +\d\.\de-[678] +[\d.e+]+ GF\/s/);
    for (const fact of ['adapter: ', 'subgroups: ', 'f16: ', 'limits: ']) expect(stdout).toContain(fact);
  });
});

describe('where WebGPU is missing', () => {
  const withoutAdapter = async (act: () => Promise<void>) => {
    const gpu = { requestAdapter: async () => null };
    const spy = vi.spyOn(globalThis, 'navigator', 'get').mockReturnValue({ gpu } as unknown as Navigator);
    await act();
    spy.mockRestore();
  };

  test('run says so in one line, with the remedy', async () => {
    const input = join(folder, 'in');
    const [q, k, v] = ['b n h d', 'b n g d', 'b n g e'].map((spec, at) => random(spec, at + 1)) as HostTensor[];
    await writeFile(input, writeSafetensors({ q: q!, k: k!, v: v! }));
    await withoutAdapter(() =>
      expectRefusal(
        ['run', 'attention', '--in', input, '--out', join(folder, 'out'), '--backend', 'webgpu'],
        'WebGPU found no adapter: install a Vulkan driver',
      ),
    );
  });

  test('doctor names it beside the others, which are sound', async () => {
    await withoutAdapter(async () => {
      const { code, stdout } = await saccade('doctor');
      expect(code).toBe(0);
      expect(stdout).toContain('✗ WebGPU');
      expect(stdout).toContain('WebGPU: WebGPU found no adapter: install a Vulkan driver');
      expect(stdout).toContain('backend: wasm');
    });
  });

  test('threads are not for it', async () => {
    await expectRefusal(['compare', '--threads', '2', '--backend', 'webgpu'], 'threads');
  });

  test('a package webgpu that this system cannot load is named, with what it needs', async () => {
    vi.resetModules();
    vi.doMock('webgpu', () => {
      throw new Error("version `GLIBC_2.34' not found");
    });
    const { createRuntime } = await import('../index');
    await expect(async () => createRuntime({ backend: 'webgpu' })).rejects.toMatchObject({
      name: 'UnsupportedError',
      message: expect.stringMatching(
        /^the package webgpu cannot be loaded: .*; on Linux it needs glibc 2\.34 .*backend 'wasm'$/s,
      ),
    });
    vi.doUnmock('webgpu');
    vi.resetModules();
  });
});
