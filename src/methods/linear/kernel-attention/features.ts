/** The features of queries and keys, on the tensors' own runtime. */
import { largestOfHeads } from '../../../feature-maps/heads';
import { add, exp, multiply, subtract } from '../../../ops/elementwise';
import { matmul } from '../../../ops/matmul';
import { rmsNorm, rmsNormBackward } from '../../../ops/rms-norm';
import { maxRows, sumRows } from '../../../ops/rows';
import type { Control } from '../../../runtime/backend';
import type { Temporaries } from '../../../tensor/temporaries';
import type { Tensor } from '../../../tensor/tensor';
import { FLOOR, type KernelAttentionParams } from './settings';

export interface Features {
  /** [b, tokens, heads, f]. */
  readonly phi: Tensor;
  /** The gradients by x and by the directions, from that by phi; the maxima are constants. */
  backward(gradPhi: Tensor): Promise<{ readonly x: Tensor; readonly directions: Tensor }>;
}

/** Of x [b, tokens, heads, d] along directions [f, d]; all but results of `backward` belongs to `temporaries`. */
export async function featuresOf(
  x: Tensor,
  directions: Tensor,
  { of, norm }: Pick<KernelAttentionParams, 'norm'> & { readonly of: 'queries' | 'keys' },
  { signal }: Control,
  temporaries: Temporaries,
): Promise<Features> {
  const own = <T extends Tensor>(made: T | Promise<T>) => temporaries.own(made);
  const number = (value: number) => own(x.runtime.tensor([value], []));
  const control = { signal };
  const [d, f] = [x.shape[3] as number, directions.shape[0] as number];
  // x over d^1/4, of which only the directions are multiplied: there are fewer of them.
  const scaled = await own(multiply(directions, await number(d ** -0.25), control));
  const rows = await own(x.reshape([-1, d]));
  const along = await own(matmul(rows, await own(scaled.permute([1, 0])), control));
  const offsets = await offsetsOf();
  const exponentials = await own(exp(await own(subtract(along, offsets, control)), control));
  const phi = await own((await finish()).reshape([...x.shape.slice(0, -1), f]));

  /** What each row's exponents lose, [rows, 1]. */
  async function offsetsOf(): Promise<Tensor> {
    if (norm === 'unit') return own(maxRows(along, control));
    const squares = await own(sumRows(await own(multiply(rows, rows, control)), control));
    const halves = await own(multiply(squares, await number(0.5 / Math.sqrt(d)), control));
    const plain = await own(add(halves, await number(Math.log(f) / 2), control));
    if (norm === 'none') return plain;
    const largest = await own(maxRows(along, control));
    return own(add(plain, of === 'queries' ? largest : await own(largestOfHeads(largest, x.shape)), control));
  }
  async function finish(): Promise<Tensor> {
    if (norm === 'none') return exponentials;
    if (norm === 'maximum') return own(add(exponentials, await number(FLOOR / Math.sqrt(f)), control));
    const roots = await own(rmsNorm(exponentials, { epsilon: 0, ...control }));
    return own(multiply(roots, await number(1 / Math.sqrt(f)), control));
  }
  return {
    phi,
    async backward(gradPhi) {
      let gradRows: Tensor = await own(gradPhi.reshape([-1, f]));
      if (norm === 'unit') {
        const byRoots = await own(multiply(gradRows, await number(1 / Math.sqrt(f)), control));
        gradRows = await own(rmsNormBackward(exponentials, byRoots, { epsilon: 0, ...control }));
      }
      const gradExponents = await own(multiply(exponentials, gradRows, control));
      const byAlong = await own(matmul(gradExponents, scaled, control));
      const columns = await own(gradExponents.permute([1, 0]));
      const byScaled = await own(matmul(columns, rows, control));
      const gradDirections = await own(multiply(byScaled, await number(d ** -0.25), control));
      const gradX = norm === 'unit' ? byAlong : await own(subtract(byAlong, await bySquares(gradExponents), control));
      return temporaries.release({ x: gradX.reshape(x.shape), directions: gradDirections });
    },
  };

  /** What |x|^2 / 2 takes from the gradient by the rows. */
  async function bySquares(gradExponents: Tensor): Promise<Tensor> {
    const sums = await own(sumRows(gradExponents, control));
    return own(multiply(rows, await own(multiply(sums, await number(1 / Math.sqrt(d)), control)), control));
  }
}
