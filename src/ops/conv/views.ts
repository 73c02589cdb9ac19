/** Tensors as the kernels of convolutions see them: six axes, whatever the layout and number of spatial axes. */
import type { Elements } from '../../tensor/elements';

/** The axes of a tensor of pictures: b, the spatial ones, c. */
export function layoutOf(channelsFirst: boolean, rank: number) {
  const space = Array.from({ length: rank - 2 }, (_, axis) => axis + (channelsFirst ? 2 : 1));
  return { batch: 0, space, channel: channelsFirst ? 1 : rank - 1 };
}

/** The shape of pictures. */
export const shapeOf = (channelsFirst: boolean, batch: number, space: readonly number[], channels: number): number[] =>
  channelsFirst ? [batch, channels, ...space] : [batch, ...space, channels];

interface AxisView {
  readonly extent: number;
  readonly stride: number;
}

const NO_AXIS: AxisView = { extent: 1, stride: 0 };

const axesOf = ({ shape, strides }: Elements): AxisView[] =>
  shape.map((extent, axis) => ({ extent, stride: strides[axis] as number }));

/** The last three of the axes, after those that there are not. */
const three = (axes: readonly AxisView[]): AxisView[] => [NO_AXIS, NO_AXIS, ...axes].slice(-3);

const viewOf = ({ storage, dtype, offset }: Elements, axes: readonly AxisView[]): Elements => ({
  storage,
  dtype,
  offset,
  shape: axes.map(({ extent }) => extent),
  strides: axes.map(({ stride }) => stride),
});

/** An axis as groups of neighbours. */
function split({ extent, stride }: AxisView, groups: number): [outer: AxisView, inner: AxisView] {
  return [
    { extent: groups, stride: (extent / groups) * stride },
    { extent: extent / groups, stride },
  ];
}

/** Pictures as [b, z, y, x, g, c]. */
export function pictures(x: Elements, channelsFirst: boolean, groups: number): Elements {
  const axes = axesOf(x);
  const { batch, space, channel } = layoutOf(channelsFirst, axes.length);
  const places = three(space.map((axis) => axes[axis] as AxisView));
  return viewOf(x, [axes[batch] as AxisView, ...places, ...split(axes[channel] as AxisView, groups)]);
}

/** Kernels [g first, second, ...space] as [g, first, second, z, y, x]. */
export function kernels(weight: Elements, groups: number): Elements {
  const [first, second, ...space] = axesOf(weight) as [AxisView, AxisView, ...AxisView[]];
  return viewOf(weight, [...split(first, groups), second, ...three(space)]);
}

/** With the axes in another order. */
export const ordered = (x: Elements, ...order: readonly number[]): Elements => {
  const axes = axesOf(x);
  return viewOf(
    x,
    order.map((axis) => axes[axis] as AxisView),
  );
};
