/** Grids of one to three axes with params of neighborhood attention that fit them. */
import fc from 'fast-check';
import type { MethodCase } from './describe-method';

const heads = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    g: fc.integer({ min: 1, max: 2 }),
    repeat: fc.integer({ min: 1, max: 3 }),
    d: fc.integer({ min: 1, max: 20 }),
    e: fc.integer({ min: 1, max: 20 }),
  })
  .map(({ repeat, ...extents }) => ({ ...extents, h: extents.g * repeat }));

interface GridAxis {
  readonly length: number;
  readonly window: number;
  readonly stride: number;
  readonly dilation: number;
  readonly causal: boolean;
}

/** Shorter where there are more axes, so that a grid has about a hundred tokens. */
function axis(rank: number): fc.Arbitrary<GridAxis> {
  const [window, dilation, more] = [[30, 4, 50] as const, [6, 2, 6] as const, [3, 2, 3] as const][rank - 1]!;
  return fc
    .record({ window: fc.integer({ min: 2, max: window }), dilation: fc.integer({ min: 1, max: dilation }) })
    .chain((axis) =>
      fc.record({
        length: fc.integer({ min: axis.window * axis.dilation, max: axis.window * axis.dilation + more }),
        window: fc.constant(axis.window),
        stride: fc.integer({ min: 1, max: axis.window }),
        dilation: fc.constant(axis.dilation),
        causal: fc.boolean(),
      }),
    );
}

export const gridAxes: fc.Arbitrary<readonly GridAxis[]> = fc
  .integer({ min: 1, max: 3 })
  .chain((rank) => fc.array(axis(rank), { minLength: rank, maxLength: rank }));

/** The named params of axes, a list each. */
export function paramsOf(
  axes: readonly GridAxis[],
  ...names: readonly (keyof GridAxis)[]
): Record<string, (number | boolean)[]> {
  return Object.fromEntries(names.map((name) => [name, axes.map((axis) => axis[name])]));
}

/** Cases on grids with the named params and a scale now and then. */
export function gridCases(...names: readonly (keyof GridAxis)[]): fc.Arbitrary<MethodCase> {
  const scale = fc.option(fc.double({ min: -2, max: 2, noNaN: true }));
  return fc.tuple(heads, gridAxes, scale).map(([{ b, g, h, d, e }, axes, scale]) => {
    const space = axes.map(({ length }) => length);
    return {
      q: [b, ...space, h, d],
      k: [b, ...space, g, d],
      v: [b, ...space, g, e],
      params: { ...paramsOf(axes, ...names), ...(scale !== null && { scale }) },
    };
  });
}
