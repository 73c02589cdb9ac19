import type { Shape } from '../../tensor/shape';

export interface CommonAxis {
  readonly extent: number;
  /** Strides of both views, in elements. */
  readonly from: number;
  readonly to: number;
}

/** Axes with two strides each, in the order of `shape` and at least one, where neighbours that both step through as one are one. */
export function commonAxes(shape: Shape, fromStrides: Shape, toStrides: Shape): readonly CommonAxis[] {
  const axes: CommonAxis[] = [];
  // By index: methods of frozen arrays take several times as long.
  for (let axis = 0; axis < shape.length; axis++) {
    const extent = shape[axis] as number;
    if (extent === 1) continue;
    const from = fromStrides[axis] as number;
    const to = toStrides[axis] as number;
    const before = axes.at(-1);
    if (before && before.from === from * extent && before.to === to * extent)
      axes[axes.length - 1] = { extent: before.extent * extent, from, to };
    else axes.push({ extent, from, to });
  }
  return axes.length > 0 ? axes : [{ extent: 1, from: 1, to: 1 }];
}
