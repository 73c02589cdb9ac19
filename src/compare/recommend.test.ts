import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Method } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { findMethod, methods } from '../methods/registry';
import { attention } from '../ops/attention';
import { createRuntime } from '../ops/create-runtime';
import type { Tensor } from '../tensor/tensor';
import type { MeasuredRow } from './comparison';
import { isComparable, isSpatial } from './contenders';
import { recommend } from './recommend';
import { useOf } from './use';

const METHODS = [exactAttention];

function row(label: string, speedup: number, relativeL2: number, { causal = false, mass = 0.9 } = {}): MeasuredRow {
  const distance = { relativeL2, cosine: 1 };
  return {
    method: 'attention',
    params: {},
    label,
    causal,
    baseline: label.startsWith('exact'),
    time: { median: 1, min: 1, max: 1, repeats: 3, spread: 0 },
    speedup,
    memory: 0,
    flops: 0,
    mass: { mean: mass, min: mass, heads: [] },
    error: { ...distance, heads: [] },
  };
}

const baselines = [row('exact full', 1, 0), row('exact causal', 1, 0, { causal: true })];

describe('recommend', () => {
  test('takes the fastest variant within the error, not the fastest nor the most accurate', () => {
    const { full, text } = recommend(
      [...baselines, row('narrow', 9, 0.4), row('middle', 4, 0.08), row('wide', 2, 0.01)],
      0.1,
      METHODS,
    );
    expect(full).toBe('middle');
    expect(text).toBe(
      'For full attention, use middle, 4.00× as fast with an error of 8.00% (it keeps 90.0% of the attention); ' +
        'for causal attention, no other variant was measured.',
    );
  });

  test('chooses for full and for causal attention apart', () => {
    const result = recommend(
      [...baselines, row('window', 3, 0.05), row('causal window', 2, 0.02, { causal: true })],
      0.1,
      METHODS,
    );
    expect(result).toMatchObject({ full: 'window', causal: 'causal window' });
  });

  test('says which variant comes closest when all err too much', () => {
    const result = recommend([...baselines, row('narrow', 9, 0.8), row('wide', 2, 0.3)], 0.1, METHODS);
    expect(result.full).toBeUndefined();
    expect(result.text).toContain(
      'stay with exact attention, as of the variants at least 1.1× as fast even the most accurate, wide, has an error of 30.0% (it keeps 90.0% of the attention) at 2.00× the speed',
    );
  });

  test('does not measure those that are fast by one that is accurate and slow', () => {
    const { text } = recommend([...baselines, row('wide', 2, 0.3), row('slow', 0.9, 0.1)], 0.01, METHODS);
    expect(text).toContain('of the variants at least 1.1× as fast even the most accurate, wide, has an error of 30.0%');
  });

  test('leaves out what failed, and recommends nothing where exact attention did', () => {
    const failed = (label: string) => {
      const { method, params, causal, baseline } = row(label, 9, 0);
      return { method, params, label, causal, baseline, failed: 'out of memory' };
    };
    expect(recommend([...baselines, failed('fast'), row('wide', 2, 0.01)], 0.1, METHODS).full).toBe('wide');
    expect(recommend([...baselines, failed('fast')], 0.1, METHODS).text).toContain('no other variant was measured');
    const { speedup: _, error: __, ...rest } = row('wide', 2, 0.01);
    const { full, text } = recommend([failed('exact full'), rest], 0.1, METHODS);
    expect(full).toBeUndefined();
    expect(text).toContain('nothing is recommended, as exact attention itself could not be measured');
  });

  test('says what the chosen variant is, where to read of it, and what to type', () => {
    const window = { ...row('window', 3, 0.05), params: { window: [64, 64] } };
    const sinks = { ...row('sinks', 3, 0.05), causal: true, params: { causal: true, sinks: 4 } };
    const { uses } = recommend([...baselines, window, sinks], 0.1, METHODS);
    expect(uses).toMatchObject([
      {
        label: 'window',
        method: `attention: ${exactAttention.summary}`,
        pages: ['src/methods/dense/attention/README.md', 'arxiv.org/abs/1706.03762'],
        code: "import { attention } from 'saccade';\nconst { out } = attention(q, k, v, { window: [64, 64] });",
        command:
          'npx saccade run attention --in qkv.safetensors --out result.safetensors --params \'{"window":[64,64]}\'',
      },
      { label: 'sinks', code: expect.stringContaining('method.parse({ causal: true, sinks: 4 })') },
    ]);
  });

  test('a variant that is hardly faster is not worth its error', () => {
    const result = recommend([...baselines, row('wide', 1.05, 0.001), row('wider', 0.8, 0)], 0.1, METHODS);
    expect(result.full).toBeUndefined();
    expect(result.text).toContain('even the fastest variant, wide, reaches only 1.05× the speed');
  });

  test('the rule states both thresholds', () => {
    const { rule, maxError } = recommend(baselines, 0.07, METHODS);
    expect(rule).toContain('at least 1.1× as fast');
    expect(rule).toContain('at most 7%');
    expect(maxError).toBe(0.07);
  });
});

test('the lines of code compute what was measured, for every variant that may be chosen', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const extents = { b: 1, n: 12, m: 12, h: 2, g: 2, d: 4, e: 4 };
  const makers = { attention, findMethod };
  for (const method of methods.filter((each) => isComparable(each) && !each.needsTraining)) {
    const space = isSpatial(method) ? [3, 4] : [12];
    const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, ...space, 2, 4], { seed })) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const inputs = { q, k, v };
    for (const params of method.variants({ ...extents, space0: 3, space1: 4 })) {
      const { code, command, pages } = useOf({ label: 'it', params }, method);
      const body = `${code.replace(/^import .*\n/, '')} return out;`;
      const out: Tensor = Function(
        ...Object.keys(makers),
        ...Object.keys(inputs),
        body,
      )(...Object.values(makers), ...Object.values(inputs));
      const expected = method.forward(inputs, method.parse(params)).out as Tensor;
      expect(await out.read(), code).toEqual(await expected.read());
      const [, given = '{}'] = /--params '(.*)'/.exec(command as string) ?? [];
      expect(method.parse(JSON.parse(given))).toEqual(method.parse(params));
      expect(existsSync(new URL(`../../${pages[0]}`, import.meta.url)), pages[0]).toBe(true);
    }
  }
});

test('the code of a method of the caller does not ask the library for it', () => {
  const { code, command } = useOf(
    { label: 'mine', params: { window: [2, 0] } },
    { ...(exactAttention as Method), name: 'mine' },
  );
  expect(code).toBe(
    '// method: mine, your own\nconst { out } = method.forward({ q, k, v }, method.parse({ window: [2, 0] }));',
  );
  expect(command).toBeUndefined();
});
