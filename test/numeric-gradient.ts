/** Gradients with respect to differences: what formulas for them are tested against. */

/**
 * The gradient with respect to each element of x of the sum of weights times f(x), by central differences in float64.
 */
export function numericGradient(
  f: (x: Float64Array) => ArrayLike<number>,
  x: ArrayLike<number>,
  weights: ArrayLike<number>,
  step = 1e-7,
): Float64Array {
  const values = Float64Array.from(x);
  return values.map((value, i) => {
    const valueAt = (moved: number) => {
      const at = values.slice();
      at[i] = moved;
      const results = f(at);
      let sum = 0;
      for (let j = 0; j < results.length; j++) sum += (results[j] as number) * (weights[j] as number);
      return sum;
    };
    return (valueAt(value + step) - valueAt(value - step)) / (2 * step);
  });
}
