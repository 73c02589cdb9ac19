/** Convolutions in float64. */
import { evaluateAll } from '../../expressions/evaluate';
import type { Host } from '../../runtime/op';
import type { Axis, ConvCall } from './call';

type Six = readonly [number, number, number, number, number, number];

export function conv({ x, weight, bias, epilogue, out, results, axes }: ConvCall, { numbers, store }: Host): void {
  const [values, kernels, added] = [numbers(x), numbers(weight), bias && numbers(bias)];
  const [, zs, ys, xs, , inputs] = x.shape as Six;
  const [groups, outputs, , ...taps] = weight.shape as Six;
  const [batch, depth, rows, columns] = results.shape as Six;
  const sums = new Float64Array(out.size);
  let at = 0;
  for (let b = 0; b < batch; b++)
    for (let z = 0; z < depth; z++)
      for (let y = 0; y < rows; y++)
        for (let c = 0; c < columns; c++)
          for (let g = 0; g < groups; g++)
            for (let o = 0; o < outputs; o++, at++) {
              let sum = added?.[g * outputs + o] ?? 0;
              for (let i = 0; i < inputs; i++)
                for (let u = 0; u < taps[0]!; u++) {
                  const fromZ = met(axes[0], z, u, zs);
                  if (fromZ < 0) continue;
                  for (let v = 0; v < taps[1]!; v++) {
                    const fromY = met(axes[1], y, v, ys);
                    if (fromY < 0) continue;
                    for (let w = 0; w < taps[2]!; w++) {
                      const fromX = met(axes[2], c, w, xs);
                      if (fromX < 0) continue;
                      const pixel = ((b * zs + fromZ) * ys + fromY) * xs + fromX;
                      const kernel = (g * outputs + o) * inputs + i;
                      sum +=
                        values[(pixel * groups + g) * inputs + i]! *
                        kernels[((kernel * taps[0]! + u) * taps[1]! + v) * taps[2]! + w]!;
                    }
                  }
                }
              sums[placeOf(results, at)] = sum;
            }
  const valuesOf = (name: string) =>
    name[0] === 'x' ? sums : new Float64Array(out.size).fill(epilogue?.numbers[Number(name.slice(1))] as number);
  store(out, epilogue ? (evaluateAll(epilogue.fn.results, out.size, valuesOf)[0] as Float64Array) : sums);
}

/** The element that a result and a tap meet at, -1 for none. */
function met({ stride, dilation, up, before }: Axis, result: number, tap: number, extent: number): number {
  const from = (result * stride + tap * dilation - before) / up;
  return Number.isInteger(from) && from >= 0 && from < extent ? from : -1;
}

/** Where element `at` of a view in row-major order lies in memory. */
function placeOf({ shape, strides }: ConvCall['results'], at: number): number {
  let place = 0;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const extent = shape[axis] as number;
    place += (at % extent) * (strides[axis] as number);
    at = Math.floor(at / extent);
  }
  return place;
}
