import type { CopyCall } from './call';

export interface CopyAxis {
  /** Of out; x begins behind `before` places and has `inside`. */
  readonly extent: number;
  readonly before: number;
  readonly inside: number;
  /** Strides of both views, in elements. */
  readonly from: number;
  readonly to: number;
}

/** The axes of a copy, at least one, where neighbours that both views step through as one are one. */
export function copyAxes({ x, out, before = [] }: CopyCall): readonly CopyAxis[] {
  const axes: CopyAxis[] = [];
  out.shape.forEach((extent, axis) => {
    const inside = x.shape[axis] as number;
    if (extent === 1 && inside === 1) return;
    const own = {
      extent,
      inside,
      before: before[axis] ?? 0,
      from: x.strides[axis] as number,
      to: out.strides[axis] as number,
    };
    const last = axes.at(-1);
    if (last && inside === extent && last.from === own.from * extent && last.to === own.to * extent)
      axes[axes.length - 1] = {
        ...own,
        extent: last.extent * extent,
        inside: last.inside * extent,
        before: last.before * extent,
      };
    else axes.push(own);
  });
  return axes.length > 0 ? axes : [{ extent: 1, inside: 1, before: 0, from: 1, to: 1 }];
}
