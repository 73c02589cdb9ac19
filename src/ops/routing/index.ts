/** One choice for each row among a few learned numbers, and feature maps whose exponent is chosen so. */
import { ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Op } from '../../runtime/op';
import { ELEMENTS_PER_MICROSECOND, overElements, withMemory } from '../../runtime/wasm/plan';
import { formatShape, type Shape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import { FocusBackwardParams, FocusParams, kernels, ROWS, RouteBackwardParams, RouteParams } from './params.generated';
import type { FocusBackwardCall, FocusCall, RouteBackwardCall, RouteCall } from './reference';

const routeOp: Op<RouteCall> = {
  name: 'route',
  reference: async () => (await import('./reference')).route,
  kernels,
  wasm(call) {
    const { rows, bytes, params } = routeParams(call);
    const phases = [
      { kernel: 'routeColumns', tasks: 1 },
      { kernel: 'route', tasks: Math.ceil(rows / ROWS) },
    ];
    const microseconds = (rows * call.router.size) / ELEMENTS_PER_MICROSECOND;
    return withMemory(bytes, ({ columns }) => [
      { phases, params: RouteParams({ route: params(columns), out: call.out }), microseconds },
    ]);
  },
  webgpu: async () => (await import('./webgpu')).planRoute,
};

const routeBackwardOp: Op<RouteBackwardCall> = {
  name: 'routeBackward',
  reference: async () => (await import('./reference')).routeBackward,
  kernels,
  wasm(call) {
    const { bank, gradOut, gradX, gradY, gradRouter, gradBank } = call;
    const { rows, bytes, params } = routeParams(call);
    const phases = [
      { kernel: 'routeColumns', tasks: 1 },
      { kernel: 'routeRows', tasks: Math.ceil(rows / ROWS) },
      { kernel: 'routeSums', tasks: bank.size },
    ];
    const microseconds = (3 * rows * call.router.size) / ELEMENTS_PER_MICROSECOND;
    return withMemory(
      { ...bytes, gradLogits: 4 * rows * bank.size, chosen: 4 * rows },
      ({ columns, gradLogits, chosen }) => [
        {
          phases,
          params: RouteBackwardParams({
            ...{ route: params(columns), gradOut, gradX, gradY, gradRouter, gradBank, gradLogits, chosen },
          }),
          microseconds,
        },
      ],
    );
  },
  webgpu: async () => (await import('./webgpu')).planRouteBackward,
};

function routeParams({ x, y, router, bank }: Omit<RouteCall, 'out'>) {
  const width = x.shape.at(-1) as number;
  const rows = x.size / width;
  const more = (router.shape[0] as number) - width;
  return {
    rows,
    bytes: { columns: 4 * router.size },
    params: (columns: number) => ({ rows, choices: bank.size, width, more, x, y, router, bank, columns }),
  };
}

const focusOp: Op<FocusCall> = {
  name: 'focus',
  reference: async () => (await import('./reference')).focus,
  kernels,
  wasm({ x, exponents, out }) {
    const rows = exponents.size;
    const params = FocusParams({ rows, columns: x.size / rows, x, exponents, out });
    return overElements('focus', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planFocus,
};

const focusBackwardOp: Op<FocusBackwardCall> = {
  name: 'focusBackward',
  reference: async () => (await import('./reference')).focusBackward,
  kernels,
  wasm({ x, exponents, gradOut, gradX, gradExponents }) {
    const rows = exponents.size;
    const columns = x.size / rows;
    const params = FocusBackwardParams({ rows, columns, x, exponents, gradOut, gradX, gradExponents });
    return overElements('focusBackward', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planFocusBackward,
};

/**
 * For each row of x the entry of the bank at the largest of its products with the router's columns, the first of equal ones:
 * x [..., c], or two such tensors whose rows are taken side by side, router [c, u] for c columns together, bank [u] ->
 * [..., 1], f32, contiguous. A choice has no gradient: to the products it is taken straight through, as if the result was
 * the mean of the bank under their softmax.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 */
export function route(
  x: Tensor | readonly [Tensor, Tensor],
  router: Tensor,
  bank: Tensor,
  options: ResultOptions = {},
): Tensor<'f32'> {
  const rows: Readonly<Record<string, Tensor>> = Array.isArray(x) ? { 'x[0]': x[0], 'x[1]': x[1] } : { x: x as Tensor };
  const inputs = { ...rows, router, bank };
  checkFloat32('route', inputs, options);
  checkContiguous(inputs);
  const [first, second] = Object.values(rows) as [Tensor, Tensor?];
  for (const name in rows) {
    const { shape } = rows[name] as Tensor;
    if (shape.length < 1) throw new ShapeError(`${name} must have shape [..., c], got ${formatShape(shape)}`);
  }
  if (second && !sameShape(onePerRow(first), onePerRow(second)))
    throw new ShapeError(
      `x[1] must have the shape of x[0] ${formatShape(first.shape)} but for the last extent, got ${formatShape(second.shape)}`,
    );
  const columns = (first.shape.at(-1) as number) + (second ? (second.shape.at(-1) as number) : 0);
  if (router.rank !== 2 || router.shape[0] !== columns)
    throw new ShapeError(
      `router must have shape [c, u] with c = ${columns}, the columns of x, got ${formatShape(router.shape)}`,
    );
  if (bank.rank !== 1 || bank.size !== router.shape[1])
    throw new ShapeError(
      `bank must have shape [u] with u = ${router.shape[1]} as in router ${formatShape(router.shape)}, got ${formatShape(bank.shape)}`,
    );
  const spec = { shape: onePerRow(first), dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ x: first, y: second, router, bank, out });
  const { out } = compute(routeOp, inputs, { out: spec }, call, options, {
    derivative: {
      saves: Object.keys(inputs),
      gradients(saved, gradients, _, control) {
        const [byX, byY] = Object.keys(rows) as [string, string?];
        const { router, bank } = saved as Record<string, Tensor>;
        const forward = { x: saved[byX] as Tensor, y: byY === undefined ? undefined : saved[byY] };
        const grads = routeBackward(
          { ...forward, router: router as Tensor, bank: bank as Tensor, gradOut: gradients.out as Tensor },
          control,
        );
        const { gradX, gradY, gradRouter, gradBank } = grads;
        return { [byX]: gradX, ...(byY !== undefined && { [byY]: gradY }), router: gradRouter, bank: gradBank };
      },
    },
  });
  return out;
}

function routeBackward(
  { x, y, router, bank, gradOut }: Omit<RouteCall, 'out'> & { readonly gradOut: Tensor },
  control: Control,
): Record<string, Tensor> {
  const like = ({ shape }: Tensor) => ({ shape, dtype: 'f32' }) as const;
  const results = {
    ...{ gradX: like(x), ...(y && { gradY: like(y) }) },
    ...{ gradRouter: like(router), gradBank: like(bank) },
  };
  const inputs = { x, ...(y && { y }), router, bank, gradOut };
  const call = (grads: object) => ({ ...inputs, ...grads }) as RouteBackwardCall;
  return compute(routeBackwardOp, inputs, results, call, control);
}

/**
 * Powers that keep the length: relu(x)^g |relu(x)| / |relu(x)^g| for each row, g = max(1, its exponent). x [..., d],
 * exponents [..., 1] -> [..., d], f32, contiguous; a row without a positive number gives zeros.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 */
export function focus(x: Tensor, exponents: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  checkFloat32('focus', { x, exponents }, options);
  checkContiguous({ x, exponents });
  checkSame('exponents', exponents, onePerRow(x));
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ x, exponents, out });
  const { out } = compute(focusOp, { x, exponents }, { out: spec }, call, options, {
    derivative: {
      saves: ['x', 'exponents'],
      gradients(saved, gradients, _, control) {
        const { x, exponents } = saved as Record<'x' | 'exponents', Tensor>;
        const { gradX, gradExponents } = focusBackward(x, exponents, gradients.out as Tensor, control);
        return { x: gradX, exponents: gradExponents };
      },
    },
  });
  return out;
}

/** Gradients of a loss from gradOut [..., d], that by the result of `focus`; 0 by exponents below 1. */
export function focusBackward(
  x: Tensor,
  exponents: Tensor,
  gradOut: Tensor,
  options: Control = {},
): Record<'gradX' | 'gradExponents', Tensor<'f32'>> {
  const inputs = { x, exponents, gradOut };
  checkFloat32('focusBackward', inputs, options);
  checkContiguous(inputs);
  checkSame('exponents', exponents, onePerRow(x));
  checkSame('gradOut', gradOut, x.shape);
  const results = {
    gradX: { shape: x.shape, dtype: 'f32' },
    gradExponents: { shape: exponents.shape, dtype: 'f32' },
  } as const;
  return compute(focusBackwardOp, inputs, results, (grads) => ({ ...inputs, ...grads }), options);
}

const onePerRow = ({ shape }: Tensor): number[] => [...shape.slice(0, -1), 1];

function checkSame(name: string, { shape }: Tensor, wanted: Shape): void {
  if (!sameShape(shape, wanted))
    throw new ShapeError(`${name} must have shape ${formatShape(wanted)}, got ${formatShape(shape)}`);
}
