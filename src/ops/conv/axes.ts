/** Strides, dilations and paddings of convolutions as callers give them, and the extents of results. */
import { show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import { formatShape, type Shape } from '../../tensor/shape';
import { type Setting, setting } from '../define';

/** An integer for all spatial axes, or one for each. */
export type PerAxis = number | readonly number[];

/** Elements before and after x along an axis; `same` for as many results as elements at stride 1, `causal` for all before. */
export type AxisPadding = number | 'same' | 'causal' | readonly [before: number, after: number];
export type Padding = number | 'same' | 'causal' | readonly AxisPadding[];

const isFrom = (least: number) => (value: unknown) => Number.isSafeInteger(value) && (value as number) >= least;

/* @__NO_SIDE_EFFECTS__ */
export const perAxis = (least: number, fallback?: number): Setting<PerAxis> =>
  setting<PerAxis>(
    `an integer >= ${least}, or one for each spatial axis`,
    (value) =>
      isFrom(least)(value) || (Array.isArray(value) && value.length > 0 && Array.from(value).every(isFrom(least))),
    fallback,
  );

const isPadding = (value: unknown): boolean =>
  isFrom(0)(value) ||
  value === 'same' ||
  value === 'causal' ||
  (Array.isArray(value) && value.length === 2 && Array.from(value).every(isFrom(0)));

export const padding: Setting<Padding> = setting<Padding>(
  "an integer >= 0, 'same', 'causal', or for each spatial axis one of these or [before, after]",
  (value) => (Array.isArray(value) ? value.length > 0 && Array.from(value).every(isPadding) : isPadding(value)),
  0,
);

/** One value for each of `rank` spatial axes. */
export function spread<T>(name: string, value: T | readonly T[], rank: number): readonly T[] {
  if (!Array.isArray(value)) return new Array(rank).fill(value) as T[];
  if (value.length !== rank)
    throw new ParameterError(`${name} must have one value for each of the ${rank} spatial axes, got ${show(value)}`);
  return value;
}

/** Elements before and after x, for a kernel that reaches over `reach` elements more than one. */
export function sidesOf(padding: AxisPadding, reach: number): readonly [before: number, after: number] {
  if (padding === 'same') return [Math.floor(reach / 2), Math.ceil(reach / 2)];
  if (padding === 'causal') return [reach, 0];
  return typeof padding === 'number' ? [padding, padding] : padding;
}

/** A window that slides over an axis. */
export interface Window {
  readonly extent: number;
  readonly taps: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
}

/** How many places a window has; `what` it is of, for messages. */
export function placesOf(
  { extent, taps, stride, dilation, before, after }: Window,
  what: string,
  shape: Shape,
): number {
  const reach = (taps - 1) * dilation + 1;
  const padded = extent + before + after;
  if (reach > padded)
    throw new ShapeError(
      `${what} reaches over ${reach} elements, more than the ${padded} of x ${formatShape(shape)} with its padding: choose a larger padding or a smaller kernel`,
    );
  return Math.floor((padded - reach) / stride) + 1;
}

/** Throws unless a result has fewer than 2^31 elements. */
export function checkSize(name: string, shape: Shape): void {
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (size >= 2 ** 31)
    throw new ShapeError(`the result of ${name} would have ${formatShape(shape)} = ${size} elements, 2^31 or more`);
}
