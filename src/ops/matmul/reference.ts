import { evaluateAll } from '../../expressions/evaluate';
import type { Host } from '../../runtime/op';
import type { MatmulCall } from './call';

/** In float64. */
export function matmul({ a, b, bias, epilogue, out }: MatmulCall, { numbers, store }: Host): void {
  const [left, right] = [numbers(a), numbers(b)];
  const added = bias && numbers(bias);
  const [rows, inner] = a.shape.slice(-2) as [number, number];
  const columns = b.shape.at(-1) as number;
  const result = new Float64Array(out.size);
  for (let r = 0; r * columns < out.size; r++) {
    const row = result.subarray(r * columns, (r + 1) * columns);
    const first = Math.floor(r / rows) * inner;
    for (let i = 0; i < inner; i++) {
      const factor = left[r * inner + i]!;
      for (let c = 0; c < columns; c++) row[c]! += factor * right[(first + i) * columns + c]!;
    }
    if (added) for (let c = 0; c < columns; c++) row[c]! += added[c]!;
  }
  const valuesOf = (name: string) =>
    name[0] === 'x' ? result : new Float64Array(out.size).fill(epilogue?.numbers[Number(name.slice(1))] as number);
  store(out, epilogue ? (evaluateAll(epilogue.fn.results, out.size, valuesOf)[0] as Float64Array) : result);
}
