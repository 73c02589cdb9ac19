/**
 * What a feature map is: phi, of which phi(q) . phi(k) takes the place of exp(q . k) or of another kernel of q and k, so
 * that linear attention can sum over the keys first.
 */
import { checkWhole } from '../check';
import { ShapeError } from '../errors';
import { checkOptions } from '../ops/check';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import type { Control } from '../runtime/backend';
import { formatShape, type Shape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

export type FeatureOptions = Pick<Control, 'signal'>;

export interface FeatureMap {
  readonly name: string;
  /**
   * The number of features of a vector of d numbers.
   *
   * @throws {ShapeError} a d other than that for which the map was drawn
   */
  features(d: number): number;
  /** x [..., d] -> phi(x) [..., features(d)]; both f32 and contiguous. */
  forward(x: Tensor, options?: FeatureOptions): Tensor<'f32'>;
  /** The gradient of a loss with respect to x, from x and the gradient with respect to phi(x); f32 and contiguous. */
  backward(x: Tensor, gradPhi: Tensor, options?: FeatureOptions): Tensor<'f32'>;
}

/** The same over rows: x [r, d], phi(x) [r, features(d)], already checked; `shape` is that of the x that was given. */
interface Definition {
  readonly name: string;
  features(d: number): number;
  forward(x: Tensor, options: FeatureOptions, shape: Shape): Tensor<'f32'>;
  backward(x: Tensor, gradPhi: Tensor, options: FeatureOptions, shape: Shape): Tensor<'f32'>;
}

/** A map from what it does to rows. */
export function defineFeatureMap({ name, features, forward, backward }: Definition): FeatureMap {
  /** The shape of phi(x). */
  function check(tensors: { readonly x: Tensor; readonly gradPhi?: Tensor }, options: FeatureOptions): number[] {
    checkOptions(name, options, ['signal']);
    checkFloat32(name, { ...tensors }, options);
    checkContiguous({ ...tensors });
    const { x, gradPhi } = tensors;
    if (x.rank < 1) throw new ShapeError(`x must have shape [..., d], got ${formatShape(x.shape)}`);
    const shape = [...x.shape.slice(0, -1), features(x.shape.at(-1) as number)];
    if (gradPhi && !sameShape(gradPhi.shape, shape))
      throw new ShapeError(
        `gradPhi must have the shape of the features ${formatShape(shape)}, got ${formatShape(gradPhi.shape)}`,
      );
    return shape;
  }
  return {
    name,
    features(d) {
      checkWhole('d', d, 1);
      return features(d);
    },
    forward(x, options = {}) {
      const shape = check({ x }, options);
      using rows = x.reshape([-1, x.shape.at(-1) as number]);
      using phi = forward(rows, options, x.shape);
      return phi.reshape(shape);
    },
    backward(x, gradPhi, options = {}) {
      const shape = check({ x, gradPhi }, options);
      using rows = x.reshape([-1, x.shape.at(-1) as number]);
      using gradRows = gradPhi.reshape([-1, shape.at(-1) as number]);
      using gradX = backward(rows, gradRows, options, x.shape);
      return gradX.reshape(x.shape);
    },
  };
}
