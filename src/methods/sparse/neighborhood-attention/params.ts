/** The params of neighborhood attention, what they mean for a grid, and its mask. */
import * as valibot from 'valibot';
import { full } from '../../../masks/band';
import type { Mask } from '../../../masks/mask';
import { gridAxes, type NeighborhoodParams, neighborhood, type PerAxis } from '../../../masks/neighborhood';
import { chooseTiles } from '../../../simulate/choose-tiles';
import { perAxis, scale } from '../../schema';

const integer = (least: number) => valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(least));

export const neighborhoodParams = {
  window: perAxis(integer(2), 'keys seen along each axis'),
  dilation: valibot.optional(perAxis(integer(1), 'distance between neighbouring keys along each axis'), 1),
  causal: valibot.optional(perAxis(valibot.boolean(), 'along this axis a query sees no key after itself'), false),
  scale,
};

export const stride = valibot.optional(
  perAxis(integer(1), 'consecutive queries along each axis that share a window: from 1 to window'),
  1,
);

type AxisParams = Omit<NeighborhoodParams, 'grid'>;

/**
 * The mask of a grid, in the tiles with which kernels compute the least; exact attention if every window is its axis. A
 * ParameterError names the param that does not fit the grid.
 */
export function neighborhoodMask(
  { window, stride = 1, dilation = 1, causal = false }: AxisParams,
  grid: readonly number[],
): Mask {
  const setting = {
    grid,
    window: oneOrEach(window),
    stride: oneOrEach(stride),
    dilation: oneOrEach(dilation),
    causal: oneOrEach(causal),
  };
  if (gridAxes(setting).every((axis) => axis.window === axis.length && !axis.causal)) return full();
  return neighborhood(setting, chooseTiles(setting));
}

/** Nothing later in row-major order is seen if nothing later is on any axis. */
export function isCausal({ causal }: { readonly causal: PerAxis<boolean> }): boolean {
  return [causal].flat().every(Boolean);
}

/** Windows of a half, a quarter and an eighth of each axis, where there are axes and no window is smaller than 2. */
export function someWindows(grid: readonly number[]): number[][] {
  const windows = [4, 8, 2].map((part) => grid.map((length) => Math.round(length / part)));
  return grid.length === 0 ? [] : windows.filter((window) => window.every((extent) => extent >= 2));
}

/** A list of one is for all axes. */
function oneOrEach<Value>(value: PerAxis<Value>): PerAxis<Value> {
  return Array.isArray(value) && value.length === 1 ? (value[0] as Value) : value;
}
