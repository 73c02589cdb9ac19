/**
 * What a feature map is: phi, of which phi(q) . phi(k) takes the place of exp(q . k) or of another kernel of q and k, so
 * that linear attention can sum over the keys first.
 */
import { checkWhole } from '../check';
import { ShapeError } from '../errors';
import { checkOptions } from '../ops/check';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import type { Control } from '../runtime/backend';
import { formatShape, type Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

/** To cancel a call. */
export type FeatureOptions = Pick<Control, 'signal'>;

/** Features of rows: phi, of which phi(q) . phi(k) takes the place of a kernel of q and k. */
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
}

/** The same over rows, in a scope: x [r, d], phi(x) [r, features(d)], already checked; `shape` is that of the x given. */
interface Definition {
  readonly name: string;
  features(d: number): number;
  forward(x: Tensor, options: FeatureOptions, shape: Shape): Tensor<'f32'>;
}

/** A map from what it does to rows. */
export function defineFeatureMap({ name, features, forward }: Definition): FeatureMap {
  return {
    name,
    features(d) {
      checkWhole('d', d, 1);
      return features(d);
    },
    forward(x, options = {}) {
      checkOptions(name, options, ['signal']);
      checkFloat32(name, { x }, options);
      checkContiguous({ x });
      if (x.rank < 1) throw new ShapeError(`x must have shape [..., d], got ${formatShape(x.shape)}`);
      const d = x.shape.at(-1) as number;
      const shape = [...x.shape.slice(0, -1), features(d)];
      return x.runtime.scope(() => forward(x.reshape([-1, d]), options, x.shape).reshape(shape));
    },
  };
}
