/** One choice for each row among a few learned numbers, and feature maps whose exponent is chosen so. */
import { ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { ELEMENTS_PER_MICROSECOND, overElements, withMemory } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { defineOp, f32 } from '../define';
import type { ResultOptions } from '../float32';
import { FocusBackwardParams, FocusParams, kernels, ROWS, RouteBackwardParams, RouteParams } from './params.generated';
import type { RouteBackwardCall, RouteCall } from './reference';

const routing: Omit<Op<RouteCall>, 'name'> = {
  reference: async () => (await import('./reference')).route,
  kernels,
  cpu(call) {
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
  cpu(call) {
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
            route: params(columns),
            gradOut,
            gradX,
            gradY,
            gradRouter,
            gradBank,
            gradLogits,
            chosen,
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

const derivativeOf = ([byX, byY]: readonly [string, string?]): Derivative => ({
  saves: [byX, ...(byY === undefined ? [] : [byY]), 'router', 'bank'],
  gradients(saved, { out: gradOut }, _, control) {
    const { router, bank } = saved as Record<'router' | 'bank', Tensor>;
    const y = byY === undefined ? undefined : saved[byY];
    const inputs = { x: saved[byX] as Tensor, y, router, bank, gradOut: gradOut as Tensor };
    const { gradX, gradY, gradRouter, gradBank } = routeBackward(inputs, control);
    return { [byX]: gradX, ...(byY !== undefined && { [byY]: gradY }), router: gradRouter, bank: gradBank };
  },
});

export const routeOp = defineOp({
  ...routing,
  name: 'route',
  inputs: { x: f32('... c'), router: f32('c u'), bank: f32('u') },
  results: { out: f32('... 1') },
  derivative: () => derivativeOf(['x']),
});

/** @internal */
export const routeOfTwoOp = defineOp({
  ...routing,
  name: 'route',
  inputs: { 'x[0]': f32('... c'), 'x[1]': f32('... e'), router: f32('r u'), bank: f32('u') },
  results: { out: f32('... 1') },
  more({ 'x[0]': x, 'x[1]': y, router }, { c, e, r }) {
    const columns = (c as number) + (e as number);
    if (r !== columns)
      throw new ShapeError(
        `router must have shape [c, u] with c = ${columns}, the columns of x, got ${formatShape(router.shape)}`,
      );
    return { x, y };
  },
  derivative: () => derivativeOf(['x[0]', 'x[1]']),
});

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
  if (!Array.isArray(x)) return routeOp({ x: x as Tensor, router, bank }, options).out;
  return routeOfTwoOp({ 'x[0]': x[0], 'x[1]': x[1], router, bank }, options).out;
}

function routeBackward(
  { x, y, router, bank, gradOut }: Omit<RouteCall, 'out'> & { readonly gradOut: Tensor },
  control: Control,
): Record<string, Tensor> {
  const like = ({ shape }: Tensor) => ({ shape, dtype: 'f32' }) as const;
  const results = {
    gradX: like(x),
    ...(y && { gradY: like(y) }),
    gradRouter: like(router),
    gradBank: like(bank),
  };
  const inputs = { x, ...(y && { y }), router, bank, gradOut };
  const call = (grads: object) => ({ ...inputs, ...grads }) as RouteBackwardCall;
  return compute(routeBackwardOp, inputs, results, call, control);
}

/** @internal */
export const focusBackwardOp = defineOp({
  name: 'focusBackward',
  inputs: { x: f32('... d'), exponents: f32('... 1'), gradOut: f32('... d') },
  results: { gradX: f32('... d', { fresh: true }), gradExponents: f32('... 1', { fresh: true }) },
  reference: async () => (await import('./reference')).focusBackward,
  kernels,
  cpu({ x, exponents, gradOut, gradX, gradExponents }) {
    const rows = exponents.size;
    const columns = x.size / rows;
    const params = FocusBackwardParams({ rows, columns, x, exponents, gradOut, gradX, gradExponents });
    return overElements('focusBackward', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planFocusBackward,
});

export const focusOp = defineOp({
  name: 'focus',
  inputs: { x: f32('... d'), exponents: f32('... 1') },
  results: { out: f32('... d') },
  reference: async () => (await import('./reference')).focus,
  kernels,
  cpu({ x, exponents, out }) {
    const rows = exponents.size;
    const params = FocusParams({ rows, columns: x.size / rows, x, exponents, out });
    return overElements('focus', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planFocus,
  derivative: (): Derivative => ({
    saves: ['x', 'exponents'],
    gradients(saved, { out: gradOut }, _, control) {
      const { x, exponents } = saved as Record<'x' | 'exponents', Tensor>;
      const { gradX, gradExponents } = focusBackwardOp({ x, exponents, gradOut: gradOut as Tensor }, control);
      return { x: gradX, exponents: gradExponents };
    },
  }),
});

/**
 * Powers that keep the length: relu(x)^g |relu(x)| / |relu(x)^g| for each row, g = max(1, its exponent). x [..., d],
 * exponents [..., 1] -> [..., d], f32, contiguous; a row without a positive number gives zeros.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 */
export function focus(x: Tensor, exponents: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return focusOp({ x, exponents }, options).out;
}

/** Gradients of a loss from gradOut [..., d], that by the result of `focus`; 0 by exponents below 1. */
export function focusBackward(
  x: Tensor,
  exponents: Tensor,
  gradOut: Tensor,
  options: Control = {},
): Record<'gradX' | 'gradExponents', Tensor<'f32'>> {
  return focusBackwardOp({ x, exponents, gradOut }, options);
}
