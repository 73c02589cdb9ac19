import { describe, expect, test } from 'vitest';
import type { Row } from './comparison';
import { recommend } from './recommend';

function row(label: string, speedup: number, relativeL2: number, { causal = false, mass = 0.9 } = {}): Row {
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
    );
    expect(result).toMatchObject({ full: 'window', causal: 'causal window' });
  });

  test('says which variant comes closest when all err too much', () => {
    const result = recommend([...baselines, row('narrow', 9, 0.8), row('wide', 2, 0.3)], 0.1);
    expect(result.full).toBeUndefined();
    expect(result.text).toContain(
      'stay with exact attention, as even wide has an error of 30.0% (it keeps 90.0% of the attention) at 2.00× the speed',
    );
  });

  test('a variant that is hardly faster is not worth its error', () => {
    const result = recommend([...baselines, row('wide', 1.05, 0.001), row('wider', 0.8, 0)], 0.1);
    expect(result.full).toBeUndefined();
    expect(result.text).toContain('even the fastest variant, wide, reaches only 1.05× the speed');
  });

  test('the rule states both thresholds', () => {
    const { rule, maxError } = recommend(baselines, 0.07);
    expect(rule).toContain('at least 1.1× as fast');
    expect(rule).toContain('at most 7%');
    expect(maxError).toBe(0.07);
  });
});
