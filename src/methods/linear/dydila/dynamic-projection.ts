/**
 * The dynamic projection of DyDiLA: each token is projected by one of a few matrices, which a router picks.
 * Source: Cao et al. 2026, arXiv 2601.13683, by a review of it; the gradient straight through is a port's.
 */
import { checkKnown } from '../../../check';
import { ShapeError } from '../../../errors';
import { concat } from '../../../ops/copy';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { add, multiply } from '../../../ops/map';
import { matmul } from '../../../ops/matmul';
import { sum } from '../../../ops/reduce';
import { route, routeBackward } from '../../../ops/routing';
import { bindShapes, formatShape, sameShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';

/** x [b, n, c]; router [c, p]; bank [p, c, w]; f32, contiguous. */
export interface DynamicProjectionInputs {
  readonly x: Tensor;
  readonly router: Tensor;
  readonly bank: Tensor;
}

/**
 * x_i W_u for u = argmax(x_i R), the first of equal ones, as [b, n, w]; and the choices, [b, n, p], one-hot, whose means
 * tell how much each matrix is used. All p products are computed, as training needs them.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 */
export function dynamicProjection(inputs: DynamicProjectionInputs): Record<'out' | 'choices', Tensor<'f32'>> {
  checkInputs(inputs);
  return inputs.x.runtime.scope(() => {
    const { products, chosen, choices } = project(inputs);
    let out: Tensor<'f32'> | undefined;
    for (const [u, product] of products.entries()) {
      const part = multiply(product, chosen[u] as Tensor);
      out = out ? add(out, part) : part;
    }
    return { out: out as Tensor<'f32'>, choices };
  });
}

/**
 * Gradients of a loss from gradOut, that by `out`: of a matrix from the tokens that chose it; of the router straight
 * through, as if the choices were the softmax of the logits.
 */
export function dynamicProjectionBackward(
  inputs: DynamicProjectionInputs,
  gradOut: Tensor,
): Record<'x' | 'router' | 'bank', Tensor<'f32'>> {
  checkInputs(inputs);
  const { x, router, bank } = inputs;
  const [b, n, c] = x.shape as [number, number, number];
  const [p, , w] = bank.shape as [number, number, number];
  checkFloat32('dynamicProjectionBackward', { gradOut }, {});
  checkContiguous({ gradOut });
  if (!sameShape(gradOut.shape, [b, n, w]))
    throw new ShapeError(`gradOut must have shape ${formatShape([b, n, w])}, got ${formatShape(gradOut.shape)}`);
  return inputs.x.runtime.scope(() => {
    const { products, chosen, logits, units } = project(inputs);
    const rows = x.reshape([b * n, c]).permute([1, 0]);
    let gradX: Tensor<'f32'> | undefined;
    let byLogits: Tensor<'f32'> | undefined;
    const gradBank: Tensor<'f32'>[] = [];
    for (const [u, product] of products.entries()) {
      const by = multiply(gradOut, chosen[u] as Tensor);
      gradBank.push(matmul(rows, by.reshape([b * n, w])));
      const matrix = bank.slice(0, u, u + 1).reshape([c, w]);
      const part = matmul(by, matrix.permute([1, 0]));
      gradX = gradX ? add(gradX, part) : part;
      // How the loss changes with the share of this matrix.
      const gradChoice = sum(multiply(gradOut, product), { axes: [-1], keepDims: true });
      const { gradLogits } = routeBackward(logits, units[u] as Tensor, gradChoice);
      byLogits = byLogits ? add(byLogits, gradLogits) : gradLogits;
    }
    const gradLogits = byLogits as Tensor<'f32'>;
    return {
      x: add(gradX as Tensor<'f32'>, matmul(gradLogits, router.permute([1, 0]))),
      router: matmul(rows, gradLogits.reshape([b * n, p])),
      bank: concat(gradBank, 0).reshape(bank.shape),
    };
  });
}

/** The products with all matrices; for each, which tokens chose it, as a 1 or a 0; the logits. */
function project({ x, router, bank }: DynamicProjectionInputs) {
  const [p, c, w] = bank.shape as [number, number, number];
  const logits = matmul(x, router);
  const products: Tensor<'f32'>[] = [];
  const chosen: Tensor<'f32'>[] = [];
  const units: Tensor<'f32'>[] = [];
  for (let u = 0; u < p; u++) {
    const matrix = bank.slice(0, u, u + 1).reshape([c, w]);
    products.push(matmul(x, matrix));
    const unit = x.runtime.tensor(
      Float32Array.from({ length: p }, (_, at) => Number(at === u)),
      [p],
    );
    units.push(unit);
    chosen.push(route(logits, unit));
  }
  return { products, chosen, units, logits, choices: concat(chosen, 2) };
}

function checkInputs(inputs: DynamicProjectionInputs): void {
  checkKnown('inputs', inputs, ['x', 'router', 'bank'], (name) => `dynamicProjection has no input '${name}'`);
  const { x, router, bank } = inputs;
  checkFloat32('dynamicProjection', { x, router, bank }, {});
  checkContiguous({ x, router, bank });
  bindShapes({ x: 'b n c', router: 'c p', bank: 'p c w' }, { x: x.shape, router: router.shape, bank: bank.shape });
}
