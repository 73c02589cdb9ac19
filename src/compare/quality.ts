/** What an approximation loses, in float64 on the host. Heads are the third axis of [b, n, h] and [b, n, h, e]. */
import { type HostTensor, toFloat64, toFloats } from '../tensor/host';
import type { Distance, Mass, OutputError } from './comparison';

/**
 * Exact softmax probability of the keys that a mask keeps, from the log-sum-exps [b, n, h] over the kept keys and over
 * the baseline's: exp(lse - baseline). Queries that see no key in the baseline have no attention to lose: not counted.
 */
export function massKept(lse: HostTensor, baseline: HostTensor): Mass {
  const h = lse.shape[2] as number;
  const [kept, all] = [toFloat64(lse), toFloat64(baseline)];
  const heads = Array.from({ length: h }, () => ({ sum: 0, count: 0, min: 1 }));
  kept.forEach((value, at) => {
    const total = all[at] as number;
    if (total === Number.NEGATIVE_INFINITY) return;
    const head = heads[at % h] as (typeof heads)[number];
    // Rounding in the two sums may put a whole row slightly above 1.
    const mass = Math.min(1, Math.exp(value - total));
    head.sum += mass;
    head.count++;
    head.min = Math.min(head.min, mass);
  });
  const perHead = heads.map(({ sum, count, min }) => ({ mean: count ? sum / count : 1, min }));
  return {
    mean: perHead.reduce((sum, { mean }) => sum + mean, 0) / h,
    min: Math.min(...perHead.map(({ min }) => min)),
    heads: perHead,
  };
}

/** Distance of `out` from the baseline's output, both [b, n, h, e], overall and per head. */
export function outputError(out: HostTensor, baseline: HostTensor): OutputError {
  const [, , h, e] = out.shape as [number, number, number, number];
  const [actual, expected] = [toFloats(out), toFloats(baseline)];
  const heads = Array.from({ length: h }, () => ({ difference: 0, actual: 0, expected: 0, dot: 0 }));
  for (let row = 0; row < actual.length / e; row++) addRow(heads[row % h] as Sums, actual, expected, row * e, e);
  const total = { difference: 0, actual: 0, expected: 0, dot: 0 };
  for (const head of heads) {
    for (const name of Object.keys(total) as (keyof Sums)[]) total[name] += head[name];
  }
  return { ...distance(total), heads: heads.map(distance) };
}

function addRow(sums: Sums, actual: Floats, expected: Floats, from: number, count: number): void {
  let { difference, actual: ofActual, expected: ofExpected, dot } = sums;
  for (let at = from; at < from + count; at++) {
    const [a, b] = [actual[at] as number, expected[at] as number];
    difference += (a - b) * (a - b);
    ofActual += a * a;
    ofExpected += b * b;
    dot += a * b;
  }
  Object.assign(sums, { difference, actual: ofActual, expected: ofExpected, dot });
}

type Floats = ReturnType<typeof toFloats>;

/** Sums over elements: of squares of the difference and of both sides, and of their products. */
type Sums = Record<'difference' | 'actual' | 'expected' | 'dot', number>;

function distance({ difference, actual, expected, dot }: Sums): Distance {
  if (difference === 0) return { relativeL2: 0, cosine: 1 };
  return {
    relativeL2: Math.sqrt(difference / expected),
    cosine: actual === 0 || expected === 0 ? 0 : Math.min(1, dot / Math.sqrt(actual * expected)),
  };
}
