/** Choices and powers of rows, and their gradients, in float64. */
import type { Host } from '../op';
import type { FocusBackwardCall, FocusCall, RouteBackwardCall, RouteCall } from './call';

type Numbers = Float64Array;

/** The place of the largest in each row, the first of equal ones. */
function choices(logits: Numbers, count: number): number[] {
  return Array.from({ length: logits.length / count }, (_, r) => {
    const row = logits.subarray(r * count, (r + 1) * count);
    return row.reduce((best, value, u) => (value > row[best]! ? u : best), 0);
  });
}

export function route({ logits, bank, out }: RouteCall, { numbers, store }: Host): void {
  const entries = numbers(bank);
  store(
    out,
    Float64Array.from(choices(numbers(logits), entries.length), (choice) => entries[choice]!),
  );
}

export function routeBackward(call: RouteBackwardCall, { numbers, store }: Host): void {
  const [logits, bank, gradOut] = [numbers(call.logits), numbers(call.bank), numbers(call.gradOut)];
  const count = bank.length;
  const [byLogits, byBank] = [new Float64Array(logits.length), new Float64Array(count)];
  choices(logits, count).forEach((choice, r) => {
    const row = logits.subarray(r * count, (r + 1) * count);
    const weights = row.map((value) => Math.exp(value - row[choice]!));
    const sum = weights.reduce((a, b) => a + b);
    const mean = dot(weights, bank) / sum;
    byBank[choice]! += gradOut[r]!;
    bank.forEach((entry, u) => {
      byLogits[r * count + u] = (weights[u]! / sum) * (entry - mean) * gradOut[r]!;
    });
  });
  store(call.gradLogits, byLogits);
  store(call.gradBank, byBank);
}

export function focus(call: FocusCall, { numbers, store }: Host): void {
  const [x, exponents] = [numbers(call.x), numbers(call.exponents)];
  const columns = x.length / exponents.length;
  const out = new Float64Array(x.length);
  exponents.forEach((exponent, r) => {
    const { y, powers, ratio } = focused(x.subarray(r * columns, (r + 1) * columns), exponent);
    y.forEach((_, c) => {
      out[r * columns + c] = powers[c]! * ratio;
    });
  });
  store(call.out, out);
}

export function focusBackward(call: FocusBackwardCall, { numbers, store }: Host): void {
  const [x, exponents, gradOut] = [numbers(call.x), numbers(call.exponents), numbers(call.gradOut)];
  const columns = x.length / exponents.length;
  const [byX, byExponents] = [new Float64Array(x.length), new Float64Array(exponents.length)];
  exponents.forEach((given, r) => {
    const { y, powers, exponent, largest, ratio } = focused(x.subarray(r * columns, (r + 1) * columns), given);
    if (largest === 0) return;
    const by = gradOut.subarray(r * columns, (r + 1) * columns);
    const inner = dot(powers, by);
    const squares = dot(powers, powers);
    let gradExponent = 0;
    y.forEach((value, c) => {
      if (value === 0) return;
      const byPower = ratio * (by[c]! - (powers[c]! * inner) / squares);
      byX[r * columns + c] =
        (byPower * exponent * powers[c]!) / value + (inner * value) / Math.sqrt(squares * dot(y, y));
      gradExponent += byPower * powers[c]! * Math.log(value / largest);
    });
    if (given >= 1) byExponents[r] = gradExponent;
  });
  store(call.gradX, byX);
  store(call.gradExponents, byExponents);
}

/** relu(x), its powers over the largest one, and what gives them its length. */
function focused(x: Numbers, given: number) {
  const y = x.map((value) => Math.max(0, value));
  const exponent = Math.max(1, given);
  const largest = y.reduce((a, b) => Math.max(a, b));
  if (largest === 0) return { y, powers: y, exponent, largest, ratio: 0 };
  const powers = y.map((value) => (value / largest) ** exponent);
  return { y, powers, exponent, largest, ratio: Math.sqrt(dot(y, y) / dot(powers, powers)) };
}

function dot(a: Numbers, b: Numbers): number {
  return a.reduce((sum, value, c) => sum + value * b[c]!, 0);
}
