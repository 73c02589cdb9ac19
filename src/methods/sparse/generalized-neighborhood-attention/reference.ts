/** Which keys a query of generalized neighborhood attention sees, axis by axis, straight from the definition. */
import type { Sees } from '../../../ops/attention/softmax';
import type { MaskProblem } from '../../define';
import { clamp, entry, groupLength, onEveryAxis } from '../neighborhood-attention/reference';

type PerAxis<Value> = Value | readonly Value[];

interface Params {
  readonly window: PerAxis<number>;
  readonly stride: PerAxis<number>;
  readonly dilation: PerAxis<number>;
  readonly causal: PerAxis<boolean>;
}

export function sees({ window, stride, dilation, causal }: Params, { grid }: MaskProblem): Sees {
  return onEveryAxis(grid, (axis, x, y) => {
    const [w, s, d] = [entry(window, axis), entry(stride, axis), entry(dilation, axis)];
    const g = x % d;
    if (y % d !== g) return false;
    const [i, j] = [Math.floor(x / d), Math.floor(y / d)];
    const n = groupLength(grid[axis] as number, d, g);
    // Queries first to first + s - 1 share the window of their leader.
    const first = Math.floor(i / s) * s;
    if (entry(causal, axis)) {
      const leader = Math.min(first + s - 1, n - 1);
      return j <= i && j >= leader - w + 1;
    }
    const leader = Math.min(first + Math.floor(s / 2), n - 1);
    const start = clamp(leader - Math.floor(w / 2), 0, n - w);
    return start <= j && j < start + w;
  });
}
