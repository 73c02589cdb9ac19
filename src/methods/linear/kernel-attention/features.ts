/** The features of queries and keys, on the tensors' own runtime. */
import { largestOfHeads } from '../../../feature-maps/heads';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { rmsNorm } from '../../../ops/norm';
import { max, sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';
import { FLOOR, type KernelAttentionParams } from './settings';

/** The features [b, tokens, heads, f] of x [b, tokens, heads, d] along directions [f, d]. Gradients take the maxima as constants. */
export function featuresOf(
  x: Tensor,
  directions: Tensor,
  { of, norm }: Pick<KernelAttentionParams, 'norm'> & { readonly of: 'queries' | 'keys' },
  { signal }: Control,
): Tensor {
  const control = { signal };
  const ofRows = { axes: [-1], keepDims: true, ...control };
  const [d, f] = [x.shape[3] as number, directions.shape[0] as number];
  const rows = x.reshape([-1, d]);
  // x over d^1/4, of which only the directions are multiplied: there are fewer of them.
  const along = matmul(rows, times(directions, d ** -0.25).permute([1, 0]), control);
  const phi = norm === 'unit' ? ofLengthOne() : shifted();
  return phi.reshape([...x.shape.slice(0, -1), f]);

  function times(x: Tensor, factor: number): Tensor {
    return map((x, { factor }) => x * factor, x, { captured: { factor }, ...control });
  }
  function ofLengthOne(): Tensor {
    const exponentials = map((along, largest) => Math.exp(along - largest), along, largestOfRows(), control);
    return times(rmsNorm(exponentials, { epsilon: 0, ...control }), f ** -0.5);
  }
  function shifted(): Tensor {
    const squares = sum(
      map((x) => x * x, rows, control),
      ofRows,
    );
    const captured = {
      half: 0.5 / Math.sqrt(d),
      log: Math.log(f) / 2,
      floor: norm === 'none' ? 0 : FLOOR / Math.sqrt(f),
    };
    return map(
      (along, square, shift, { half, log, floor }) => Math.exp(along - half * square - shift - log) + floor,
      ...([along, squares, shiftOf(), { captured, ...control }] as const),
    );
  }
  /** The shift that is also subtracted from the exponents of each row. */
  function shiftOf(): Tensor {
    if (norm === 'none') return x.runtime.tensor([0], []);
    return of === 'queries' ? largestOfRows() : largestOfHeads(largestOfRows(), x.shape);
  }
  function largestOfRows(): Tensor {
    return max(stopGradient(along), ofRows);
  }
}
