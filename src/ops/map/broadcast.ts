import type { Elements } from '../../tensor/elements';
import { broadcastMisfit, broadcastShape, type Shape, sameShape, sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';

/** The shape that all broadcast to: extents of 1 and axes that are missing in front repeat. */
export function commonShape(names: readonly string[], tensors: readonly Tensor[]): Shape {
  let { shape } = tensors[0] as Tensor;
  for (let at = 1; at < tensors.length; at++) {
    const { shape: other } = tensors[at] as Tensor;
    if (sameShape(shape, other)) continue;
    const both = broadcastShape(shape, other);
    if (!both) {
      const unlike = tensors.findIndex((each) => !broadcastShape(each.shape, other));
      throw broadcastMisfit(names[at] as string, other, names[unlike] as string, (tensors[unlike] as Tensor).shape);
    }
    shape = both;
  }
  return shape;
}

/** x under a shape that it broadcasts to. */
export function broadcast(x: Tensor, shape: Shape): Elements {
  if (sameShape(x.shape, shape)) return x;
  const { storage, dtype, offset, rank } = x;
  const strides = shape.map((_, axis) => {
    const own = axis - shape.length + rank;
    return own < 0 || x.shape[own] === 1 ? 0 : (x.strides[own] as number);
  });
  return { storage, dtype, shape, strides, offset };
}

/** The axes of a result along which x is repeated. */
export function repeatedAxes(x: Shape, result: Shape): number[] {
  const front = result.length - x.length;
  return result.flatMap((extent, axis) => (axis < front || x[axis - front] !== extent ? [axis] : []));
}

export interface Axis {
  readonly extent: number;
  /** The stride of each view, in elements. */
  readonly strides: readonly number[];
}

/** The axes of views of one shape, at least one, where neighbours that all step through as one are one. */
export function axesOf(
  views: readonly (Elements & { readonly isContiguous?: boolean })[],
  shape: Shape,
): readonly Axis[] {
  // Those of one shape that lie in order, most often.
  if (views.every(({ isContiguous }) => isContiguous)) return [{ extent: sizeOf(shape), strides: views.map(() => 1) }];
  const axes: Axis[] = [];
  shape.forEach((extent, axis) => {
    if (extent === 1) return;
    const strides = views.map((view) => view.strides[axis] as number);
    const before = axes.at(-1);
    if (before?.strides.every((stride, at) => stride === (strides[at] as number) * extent))
      axes[axes.length - 1] = { extent: before.extent * extent, strides };
    else axes.push({ extent, strides });
  });
  return axes.length > 0 ? axes : [{ extent: 1, strides: views.map(() => 1) }];
}
