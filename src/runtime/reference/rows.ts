/** Functions of rows in float64: norms, choices and powers, and their gradients. */

type Numbers = Float64Array;

/** Rows over sqrt(mean of squares + epsilon) + offset; with `gradOut` the gradient by x. */
export function rmsNorm(x: Numbers, columns: number, epsilon: number, offset: number, gradOut?: Numbers): Numbers {
  const out = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += columns) {
    const row = x.subarray(first, first + columns);
    const root = Math.sqrt(dot(row, row) / columns + epsilon);
    const divisor = root + offset;
    if (divisor === 0) continue;
    const by = gradOut?.subarray(first, first + columns);
    const inner = by && root > 0 ? dot(row, by) / (columns * root * divisor ** 2) : 0;
    for (let c = 0; c < columns; c++) {
      out[first + c] = by ? by[c]! / divisor - row[c]! * inner : row[c]! / divisor;
    }
  }
  return out;
}

/** The place of the largest in each row, the first of equal ones. */
function choices(logits: Numbers, count: number): number[] {
  return Array.from({ length: logits.length / count }, (_, r) => {
    const row = logits.subarray(r * count, (r + 1) * count);
    return row.reduce((best, value, u) => (value > row[best]! ? u : best), 0);
  });
}

export function route(logits: Numbers, bank: Numbers): Numbers {
  return Float64Array.from(choices(logits, bank.length), (choice) => bank[choice]!);
}

export function routeBackward(logits: Numbers, bank: Numbers, gradOut: Numbers): [logits: Numbers, bank: Numbers] {
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
  return [byLogits, byBank];
}

export function focus(x: Numbers, exponents: Numbers): Numbers {
  const columns = x.length / exponents.length;
  const out = new Float64Array(x.length);
  exponents.forEach((exponent, r) => {
    const { y, powers, ratio } = focused(x.subarray(r * columns, (r + 1) * columns), exponent);
    y.forEach((_, c) => {
      out[r * columns + c] = powers[c]! * ratio;
    });
  });
  return out;
}

export function focusBackward(x: Numbers, exponents: Numbers, gradOut: Numbers): [x: Numbers, exponents: Numbers] {
  const columns = x.length / exponents.length;
  const [byX, byExponents] = [new Float64Array(x.length), new Float64Array(exponents.length)];
  exponents.forEach((given, r) => {
    const { y, powers, exponent, largest, ratio } = focused(x.subarray(r * columns, (r + 1) * columns), given);
    if (largest === 0) return;
    const by = gradOut.subarray(r * columns, (r + 1) * columns);
    const inner = dot(powers, by);
    const squares = dot(powers, powers);
    let byExponent = 0;
    y.forEach((value, c) => {
      if (value === 0) return;
      const byPower = ratio * (by[c]! - (powers[c]! * inner) / squares);
      byX[r * columns + c] =
        (byPower * exponent * powers[c]!) / value + (inner * value) / Math.sqrt(squares * dot(y, y));
      byExponent += byPower * powers[c]! * Math.log(value / largest);
    });
    if (given >= 1) byExponents[r] = byExponent;
  });
  return [byX, byExponents];
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
