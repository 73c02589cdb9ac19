/** The features of queries and keys, on the tensors' own runtime. */
import { largestOfHeads } from '../../../feature-maps/heads';
import { add, exp, multiply, subtract } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { rmsNorm, rmsNormBackward } from '../../../ops/norm';
import { max, sum } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import { FLOOR, type KernelAttentionParams } from './settings';

export interface Features {
  /** [b, tokens, heads, f]. */
  readonly phi: Tensor;
  /** The gradients with respect to x and by the directions, from that by phi; the maxima are constants. */
  backward(gradPhi: Tensor): { readonly x: Tensor; readonly directions: Tensor };
}

/** Of x [b, tokens, heads, d] along directions [f, d]. */
export function featuresOf(
  x: Tensor,
  directions: Tensor,
  { of, norm }: Pick<KernelAttentionParams, 'norm'> & { readonly of: 'queries' | 'keys' },
  { signal }: Control,
): Features {
  const number = (value: number) => x.runtime.tensor([value], []);
  const control = { signal };
  const ofRows = { axes: [-1], keepDims: true, ...control };
  const [d, f] = [x.shape[3] as number, directions.shape[0] as number];
  // x over d^1/4, of which only the directions are multiplied: there are fewer of them.
  const scaled = multiply(directions, number(d ** -0.25), control);
  const rows = x.reshape([-1, d]);
  const along = matmul(rows, scaled.permute([1, 0]), control);
  const offsets = offsetsOf();
  const exponentials = exp(subtract(along, offsets, control), control);
  const phi = finish().reshape([...x.shape.slice(0, -1), f]);

  /** What each row's exponents lose, [rows, 1]. */
  function offsetsOf(): Tensor {
    if (norm === 'unit') return max(along, ofRows);
    const squares = sum(multiply(rows, rows, control), ofRows);
    const halves = multiply(squares, number(0.5 / Math.sqrt(d)), control);
    const plain = add(halves, number(Math.log(f) / 2), control);
    if (norm === 'none') return plain;
    const largest = max(along, ofRows);
    return add(plain, of === 'queries' ? largest : largestOfHeads(largest, x.shape), control);
  }
  function finish(): Tensor {
    if (norm === 'none') return exponentials;
    if (norm === 'maximum') return add(exponentials, number(FLOOR / Math.sqrt(f)), control);
    const roots = rmsNorm(exponentials, { epsilon: 0, ...control });
    return multiply(roots, number(1 / Math.sqrt(f)), control);
  }
  return {
    phi,
    backward(gradPhi) {
      let gradRows: Tensor = gradPhi.reshape([-1, f]);
      if (norm === 'unit') {
        const gradRoots = multiply(gradRows, number(1 / Math.sqrt(f)), control);
        gradRows = rmsNormBackward(exponentials, gradRoots, { epsilon: 0, ...control });
      }
      const gradExponents = multiply(exponentials, gradRows, control);
      const gradAlong = matmul(gradExponents, scaled, control);
      const columns = gradExponents.permute([1, 0]);
      const gradScaled = matmul(columns, rows, control);
      const gradDirections = multiply(gradScaled, number(d ** -0.25), control);
      const gradX = norm === 'unit' ? gradAlong : subtract(gradAlong, gradSquares(gradExponents), control);
      return { x: gradX.reshape(x.shape), directions: gradDirections };
    },
  };

  /** What |x|^2 / 2 takes from the gradient with respect to the rows. */
  function gradSquares(gradExponents: Tensor): Tensor {
    const sums = sum(gradExponents, ofRows);
    return multiply(rows, multiply(sums, number(1 / Math.sqrt(d)), control), control);
  }
}
