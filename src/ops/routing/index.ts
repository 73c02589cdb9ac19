/** One choice for each row among a few learned numbers, and feature maps whose exponent is chosen so. */
import { ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { ELEMENTS_PER_MICROSECOND, overElements } from '../../runtime/wasm/plan';
import { formatShape, type Shape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import type { FocusBackwardCall, FocusCall, RouteBackwardCall, RouteCall } from './call';
import { FocusBackwardParams, FocusParams, ROWS, RouteBackwardParams, RouteParams } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./routing.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./routing.baseline.wasm', import.meta.url),
};

const routeOp: Op<RouteCall> = {
  name: 'route',
  reference: async () => (await import('./reference')).route,
  kernels,
  wasm({ logits, bank, out }) {
    const rows = out.size;
    const params = RouteParams({ rows, choices: bank.size, logits, bank, out });
    return overElements('route', Math.ceil(rows / ROWS), params, logits.size);
  },
  webgpu: async () => (await import('./webgpu')).planRoute,
};

const routeBackwardOp: Op<RouteBackwardCall> = {
  name: 'routeBackward',
  reference: async () => (await import('./reference')).routeBackward,
  kernels,
  wasm({ logits, bank, gradOut, gradLogits, gradBank }) {
    const [rows, choices] = [gradOut.size, bank.size];
    const phases = [
      { kernel: 'routeLogits', tasks: Math.ceil(rows / ROWS) },
      { kernel: 'routeBank', tasks: choices },
    ] as const;
    const params = RouteBackwardParams({ rows, choices, logits, bank, gradOut, gradLogits, gradBank });
    const microseconds = (logits.size * choices) / ELEMENTS_PER_MICROSECOND;
    return { jobs: () => [{ phases, params, microseconds }] };
  },
  webgpu: async () => (await import('./webgpu')).planRouteBackward,
};

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
 * For each row of logits the entry of the bank at its largest, the first of equal ones: logits [..., u], bank [u] ->
 * [..., 1], f32, contiguous.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 */
export function route(logits: Tensor, bank: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  checkFloat32('route', { logits, bank }, options);
  checkContiguous({ logits, bank });
  checkBank(logits, bank);
  const spec = { shape: onePerRow(logits), dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ logits, bank, out });
  const { out } = compute(routeOp, { logits, bank }, { out: spec }, call, options, {
    derivative: {
      saves: ['logits', 'bank'],
      gradients(saved, gradients, _, control) {
        const { logits, bank } = saved as Record<'logits' | 'bank', Tensor>;
        const { gradLogits, gradBank } = routeBackward(logits, bank, gradients.out as Tensor, control);
        return { logits: gradLogits, bank: gradBank };
      },
    },
  });
  return out;
}

/**
 * Gradients of a loss from gradOut [..., 1], that by the result of `route`. A choice has none: by the logits it is taken
 * straight through, as if the result was the mean of the bank under their softmax.
 */
export function routeBackward(
  logits: Tensor,
  bank: Tensor,
  gradOut: Tensor,
  options: Control = {},
): Record<'gradLogits' | 'gradBank', Tensor<'f32'>> {
  const inputs = { logits, bank, gradOut };
  checkFloat32('routeBackward', inputs, options);
  checkContiguous(inputs);
  checkBank(logits, bank);
  checkSame('gradOut', gradOut, onePerRow(logits));
  const results = {
    gradLogits: { shape: logits.shape, dtype: 'f32' },
    gradBank: { shape: bank.shape, dtype: 'f32' },
  } as const;
  return compute(routeBackwardOp, inputs, results, (grads) => ({ ...inputs, ...grads }), options);
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

function checkBank(logits: Tensor, bank: Tensor): void {
  if (bank.rank !== 1 || bank.size !== logits.shape.at(-1))
    throw new ShapeError(
      `bank must have shape [u] with u = ${logits.shape.at(-1)} as in logits ${formatShape(logits.shape)}, got ${formatShape(bank.shape)}`,
    );
}

function checkSame(name: string, { shape }: Tensor, wanted: Shape): void {
  if (!sameShape(shape, wanted))
    throw new ShapeError(`${name} must have shape ${formatShape(wanted)}, got ${formatShape(shape)}`);
}
