/** Which keys a query of neighborhood attention sees, axis by axis, straight from the definition. */
import type { Sees } from '../../../ops/attention/softmax';
import type { MaskProblem } from '../../define';

type PerAxis<Value> = Value | readonly Value[];

interface Params {
  readonly window: PerAxis<number>;
  readonly dilation: PerAxis<number>;
  readonly causal: PerAxis<boolean>;
}

export function sees({ window, dilation, causal }: Params, { grid }: MaskProblem): Sees {
  return onEveryAxis(grid, (axis, x, y) => {
    const [length, w, d] = [grid[axis] as number, entry(window, axis), entry(dilation, axis)];
    // Dilation group g, of the tokens whose coordinate is g modulo d, and the indices in it.
    const g = x % d;
    if (y % d !== g) return false;
    const [i, j] = [Math.floor(x / d), Math.floor(y / d)];
    if (entry(causal, axis)) return j <= i && j > i - w;
    // Half the window lies before the query, but for windows that are moved in from the borders.
    const start = clamp(i - Math.floor(w / 2), 0, groupLength(length, d, g) - w);
    return start <= j && j < start + w;
  });
}

/** Query and key as coordinates, tokens being in row-major order: each axis must agree that x sees y. */
export function onEveryAxis(grid: readonly number[], agrees: (axis: number, x: number, y: number) => boolean): Sees {
  return (i, j) => {
    let [query, key] = [i, j];
    for (let axis = grid.length - 1; axis >= 0; axis--) {
      const length = grid[axis] as number;
      if (!agrees(axis, query % length, key % length)) return false;
      [query, key] = [Math.floor(query / length), Math.floor(key / length)];
    }
    return true;
  };
}

export function groupLength(length: number, d: number, g: number): number {
  return Math.floor(length / d) + (g < length % d ? 1 : 0);
}

export function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(value, most));
}

/** The value for an axis; one alone is for all. */
export function entry<Value extends number | boolean>(values: PerAxis<Value>, axis: number): Value {
  if (typeof values !== 'object') return values;
  return (values.length === 1 ? values[0] : values[axis]) as Value;
}
