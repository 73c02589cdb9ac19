/**
 * The dynamic projection of DyDiLA: each token is projected by one of a few matrices, which a router picks.
 * Source: Cao et al. 2026, arXiv 2601.13683, by a review of it; the gradient straight through is a port's.
 */
import { checkKnown } from '../../../check';
import { checkFloat32 } from '../../../ops/float32';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { argmax, sum } from '../../../ops/reduce';
import { softmax } from '../../../ops/softmax';
import { withDerivative } from '../../../tape';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';

/** x [b, n, c]; router [c, p]; bank [p, c, w]; f32. */
export interface DynamicProjectionInputs {
  readonly x: Tensor;
  readonly router: Tensor;
  readonly bank: Tensor;
}

/**
 * x_i W_u for u = argmax(x_i R), the first of equal ones, as [b, n, w]; and the choices, [b, n, p], one-hot, whose means
 * tell how much each matrix is used. All p products are computed, as training needs them. The gradient goes to a matrix from
 * the tokens that chose it, and to the router straight through, as if the choices were the softmax of x R.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 */
export function dynamicProjection(inputs: DynamicProjectionInputs): Record<'out' | 'choices', Tensor<'f32'>> {
  checkInputs(inputs);
  const { x, router, bank } = inputs;
  const [b, n, c] = x.shape as [number, number, number];
  return x.runtime.scope(() => {
    const choices = oneHot(matmul(x, router));
    // [b, p, n, w], of which each token takes one.
    const products = matmul(x.reshape([b, 1, n, c]), bank);
    const chosen = choices.reshape([...choices.shape, 1]).permute([0, 2, 1, 3]);
    const parts = map((product, chosen) => product * chosen, products, chosen);
    return { out: sum(parts, { axes: [1] }), choices };
  });
}

/** The largest of each row, the first of equal ones, as a 1 among zeros; straight through, as if it was the softmax. */
const oneHot = withDerivative(
  (logits: Tensor) => {
    const p = logits.shape.at(-1) as number;
    const places = logits.runtime.tensor(
      Int32Array.from({ length: p }, (_, at) => at),
      [p],
    );
    const largest = argmax(logits, { axes: [-1], keepDims: true });
    return map((largest, place) => largest === place, largest, places, { dtype: 'f32' }) as Tensor<'f32'>;
  },
  ({ inputs: [logits], gradients }) => {
    const shares = softmax(logits);
    const weighted = map((share, gradient) => share * gradient, shares, gradients as Tensor);
    const mean = sum(weighted, { axes: [-1], keepDims: true });
    return [map((share, weighted, mean) => weighted - share * mean, shares, weighted, mean)];
  },
);

function checkInputs(inputs: DynamicProjectionInputs): void {
  checkKnown('inputs', inputs, ['x', 'router', 'bank'], (name) => `dynamicProjection has no input '${name}'`);
  const { x, router, bank } = inputs;
  checkFloat32('dynamicProjection', { x, router, bank }, {});
  bindShapes({ x: 'b n c', router: 'c p', bank: 'p c w' }, { x: x.shape, router: router.shape, bank: bank.shape });
}
