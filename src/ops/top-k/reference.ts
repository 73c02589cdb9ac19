import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/**
 * The places of the first k elements of each row of x [r,c] in order, and those elements, if wanted: equal ones by place,
 * NaN last either way. Contiguous; indices are i32.
 */
export interface TopKCall {
  readonly x: Tensor;
  readonly k: number;
  readonly descending: boolean;
  readonly indices: Tensor;
  readonly values?: Tensor;
}

export function topK({ x, k, descending, indices, values }: TopKCall, { numbers, store }: Host): void {
  const columns = x.shape.at(-1) as number;
  const all = numbers(x);
  const before = (a: number, b: number) => {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
    if (a === b) return 0;
    return a < b === descending ? 1 : -1;
  };
  const picked = Array.from({ length: x.size / columns }, (_, r) => {
    const row = all.subarray(r * columns, (r + 1) * columns);
    return [...row.keys()].sort((a, b) => before(row[a]!, row[b]!)).slice(0, k);
  });
  store(indices, Float64Array.from(picked.flat()));
  if (values) store(values, Float64Array.from(picked.flatMap((row, r) => row.map((c) => all[r * columns + c]!))));
}
