import { expect, test } from 'vitest';
import { ARMS, gradientDeviation } from './gradient-deviation';

test('deviations of gradients are measured of every kind of attention, again the same', () => {
  for (const attend of Object.values(ARMS)) {
    const deviation = gradientDeviation(attend, 3, 1);
    expect(deviation).toBeGreaterThan(0);
    expect(gradientDeviation(attend, 3, 1)).toBe(deviation);
  }
});
