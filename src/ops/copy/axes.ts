import type { Shape } from '../../tensor/shape';

export interface CommonAxis {
  readonly extent: number;
  /** Strides of both views, in elements. */
  readonly from: number;
  readonly to: number;
  /** The places of `extent` that the view from which has. */
  readonly before: number;
  readonly inside: number;
}

/**
 * Axes with two strides each, in the order of `shape` and at least one, where neighbours that both step through as one are
 * one. The view from which has a smaller shape `inside`, behind `before` places of each axis, or the whole.
 */
export function commonAxes(
  shape: Shape,
  fromStrides: Shape,
  toStrides: Shape,
  insides: Shape = shape,
  befores?: Shape,
): readonly CommonAxis[] {
  const axes: CommonAxis[] = [];
  shape.forEach((extent, axis) => {
    const [from, to, inside] = [fromStrides, toStrides, insides].map((each) => each[axis]) as [number, number, number];
    if (extent === 1 && inside === 1) return;
    const last = axes.at(-1);
    if (last && inside === extent && last.from === from * extent && last.to === to * extent)
      axes[axes.length - 1] = {
        ...{ extent: last.extent * extent, from, to },
        ...{ before: last.before * extent, inside: last.inside * extent },
      };
    else axes.push({ extent, from, to, before: befores?.[axis] ?? 0, inside });
  });
  return axes.length > 0 ? axes : [{ extent: 1, from: 1, to: 1, before: 0, inside: 1 }];
}
