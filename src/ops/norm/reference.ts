/** In float64. */

import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/**
 * x is [rows, runs, groups, columns], f32, contiguous. The elements of a group of a row, runs times columns of them, become
 * (x - mean) / (root + offset), zeros where that divides by 0, then times gain plus bias [groups, columns] where there are
 * such. The root is that of their mean square plus epsilon, after taking off the mean, which is 0 unless centred.
 */
export interface Norm {
  readonly x: Tensor;
  readonly gain?: Tensor | undefined;
  readonly rows: number;
  readonly runs: number;
  readonly groups: number;
  readonly columns: number;
  readonly centred: boolean;
  readonly epsilon: number;
  readonly offset: number;
  /** Rows of a part: of a task, and of those whose gradients of gains are summed. */
  readonly rowsOfPart: number;
}

export interface NormCall extends Norm {
  readonly bias?: Tensor | undefined;
  readonly out: Tensor;
}

/** The gradients from gradOut, that with respect to out: with respect to x, and sums over each part for gain and bias. */
export interface NormGradientCall extends Norm {
  readonly gradOut: Tensor;
  readonly out: Tensor;
  /** [parts, groups columns], if wanted. */
  readonly gains?: Tensor | undefined;
  readonly biases?: Tensor | undefined;
}

export function norm(call: NormCall, { numbers, store }: Host): void {
  const { x, gain, bias, out } = call;
  const [values, gains, biases] = [numbers(x), gain && numbers(gain), bias && numbers(bias)];
  const result = new Float64Array(values.length);
  for (const { places, mean, factor } of groupsOf(call, values)) {
    for (const at of places) {
      const channel = at % (call.groups * call.columns);
      result[at] = (values[at]! - mean) * factor * (gains?.[channel] ?? 1) + (biases?.[channel] ?? 0);
    }
  }
  store(out, result);
}

export function normGradient(call: NormGradientCall, { numbers, store }: Host): void {
  const { x, gain, gradOut, out, gains, biases, centred, runs, columns } = call;
  const channels = call.groups * columns;
  const [values, grads] = [numbers(x), numbers(gradOut)];
  const factors = gain ? numbers(gain) : new Float64Array(channels).fill(1);
  const result = new Float64Array(values.length);
  const parts = Math.ceil(call.rows / call.rowsOfPart);
  const sums = { gains: new Float64Array(parts * channels), biases: new Float64Array(parts * channels) };
  for (const { row, places, mean, root, factor } of groupsOf(call, values)) {
    const count = runs * columns;
    const sumOver = (f: (at: number) => number) => places.reduce((sum, at) => sum + f(at), 0);
    const straight = (at: number) => grads[at]! * factors[at % channels]!;
    const along = root > 0 ? (sumOver((at) => straight(at) * (values[at]! - mean)) * factor ** 2) / (count * root) : 0;
    const shift = centred ? (factor * sumOver(straight)) / count : 0;
    for (const at of places) {
      result[at] = factor * straight(at) - shift - (values[at]! - mean) * along;
      const to = Math.floor(row / call.rowsOfPart) * channels + (at % channels);
      sums.gains[to]! += grads[at]! * (values[at]! - mean) * factor;
      sums.biases[to]! += grads[at]!;
    }
  }
  store(out, result);
  if (gains) store(gains, sums.gains);
  if (biases) store(biases, sums.biases);
}

/** Where the elements of each group lie, and what they are normalised by. */
function* groupsOf({ rows, runs, groups, columns, centred, epsilon, offset }: Norm, values: Float64Array) {
  const count = runs * columns;
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) {
      const places = Array.from({ length: count }, (_, at) => {
        const run = row * runs + Math.floor(at / columns);
        return (run * groups + group) * columns + (at % columns);
      });
      const mean = centred ? places.reduce((sum, at) => sum + values[at]!, 0) / count : 0;
      const root = Math.sqrt(places.reduce((sum, at) => sum + (values[at]! - mean) ** 2, 0) / count + epsilon);
      yield { row, places, mean, root, factor: root + offset === 0 ? 0 : 1 / (root + offset) };
    }
  }
}
