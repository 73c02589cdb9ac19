/** Which cells of estimated attention maps are kept, and which keys belong to a cell, in float64. */
import type { Pools } from './call';

/** The cell of key j of L that a query sees, if `width` cells are stretched over them. */
export const cellOf = (j: number, visible: number, width: number): number =>
  Math.max(0, Math.floor(((j + 0.5) / visible) * width - 1e-4));

/** How many cells a pool keeps whose query sees so many keys, if that matters. */
const budgetOf = ({ budget, rows }: Pools, width: number, visible: number): number =>
  Math.min(rows * width, Math.max(1, Math.floor(budget / visible + 0.5)));

/** The bounds and ties of all rows, [b, h, n] each. */
export function chosenCells(
  estimate: ArrayLike<number>,
  pools: Pools & { readonly causal: boolean },
  { b, h, n, m = n, w }: Readonly<Record<'b' | 'h' | 'n' | 'w', number>> & { readonly m?: number },
): { readonly bounds: Float64Array; readonly ties: Int32Array } {
  const [bounds, ties] = [new Float64Array(b * h * n), new Int32Array(b * h * n)];
  for (let pool = 0; pool < b * pools.pools; pool++) {
    const first = Math.floor(pool / pools.pools) * h * n + (pool % pools.pools) * pools.poolStep;
    const rows = Array.from({ length: pools.rows }, (_, row) => first + row * pools.rowStep);
    const values = rows.flatMap((row) => Array.from({ length: w }, (_, cell) => estimate[row * w + cell] as number));
    const count = budgetOf(pools, w, pools.causal ? (first % n) + 1 + m - n : 1);
    const bound = [...values].sort((x, y) => y - x)[count - 1] as number;
    let left = count - values.filter((value) => value > bound).length;
    for (const [at, row] of rows.entries()) {
      const equal = values.slice(at * w, (at + 1) * w).filter((value) => value === bound).length;
      bounds[row] = bound;
      ties[row] = Math.min(equal, left);
      left -= ties[row] as number;
    }
  }
  return { bounds, ties };
}

/** Whether each cell of a row is kept. */
export function keptCells(row: ArrayLike<number>, bound: number, ties: number): boolean[] {
  let left = ties;
  return Array.from(row, (value) => value > bound || (value === bound && left-- > 0));
}
