/** Pictures reflected about their first and last elements. */
import { ParameterError } from '../../errors';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { gather } from '../gather';

/** x with so many elements before and after it along each of these axes. */
export function reflected(x: Tensor, axes: readonly number[], sides: readonly (readonly [number, number])[]): Tensor {
  return axes.reduce((padded, axis, at) => {
    const [before, after] = sides[at] as readonly [number, number];
    const extent = x.shape[axis] as number;
    if (Math.max(before, after) >= extent)
      throw new ParameterError(
        `padding must be less than the ${extent} elements of x ${formatShape(x.shape)} where it reflects them, got ${Math.max(before, after)}`,
      );
    return before + after > 0 ? along(padded, axis, indicesOf(extent, before, after)) : padded;
  }, x);
}

const indicesOf = (extent: number, before: number, after: number): number[] =>
  Array.from({ length: before + extent + after }, (_, at) => {
    const place = Math.abs(at - before);
    return place < extent ? place : 2 * (extent - 1) - place;
  });

/** The elements of x at these places along an axis. */
function along(x: Tensor, axis: number, places: readonly number[]): Tensor {
  const order = [axis, ...[...x.shape.keys()].filter((each) => each !== axis)];
  const rows = contiguous(x.permute(order));
  const table = rows.reshape([rows.shape[0] as number, -1]);
  const found = gather(table, x.runtime.tensor([...places], [places.length], 'i32'));
  const back = [...x.shape.keys()].map((each) => order.indexOf(each));
  return found.reshape([places.length, ...rows.shape.slice(1)]).permute(back);
}
