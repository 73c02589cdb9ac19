/**
 * The dynamic projection of DyDiLA: each token is projected by one of a few matrices, which a router picks.
 * Source: Cao et al. 2026, arXiv 2601.13683, by a review of it; the gradient straight through is a port's.
 */
import { checkKnown } from '../../../check';
import { ShapeError } from '../../../errors';
import { add, multiply } from '../../../ops/elementwise';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { matmul } from '../../../ops/matmul';
import { route, routeBackward } from '../../../ops/routing';
import { sumRows } from '../../../ops/rows';
import { bindShapes, formatShape, sameShape } from '../../../tensor/shape';
import { Temporaries } from '../../../tensor/temporaries';
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
export async function dynamicProjection(
  inputs: DynamicProjectionInputs,
): Promise<Record<'out' | 'choices', Tensor<'f32'>>> {
  checkInputs(inputs);
  using temporaries = new Temporaries();
  const { products, chosen, choices } = await project(inputs, temporaries);
  let out: Tensor<'f32'> | undefined;
  for (const [u, product] of products.entries()) {
    const part = await temporaries.own(multiply(product, chosen[u] as Tensor));
    out = out ? await temporaries.own(add(out, part)) : part;
  }
  return temporaries.release({ out: out as Tensor<'f32'>, choices });
}

/**
 * Gradients of a loss from gradOut, that by `out`: of a matrix from the tokens that chose it; of the router straight
 * through, as if the choices were the softmax of the logits.
 */
export async function dynamicProjectionBackward(
  inputs: DynamicProjectionInputs,
  gradOut: Tensor,
): Promise<Record<'x' | 'router' | 'bank', Tensor<'f32'>>> {
  checkInputs(inputs);
  const { x, router, bank } = inputs;
  const [b, n, c] = x.shape as [number, number, number];
  const [p, , w] = bank.shape as [number, number, number];
  checkFloat32('dynamicProjectionBackward', { gradOut }, {});
  checkContiguous({ gradOut });
  if (!sameShape(gradOut.shape, [b, n, w]))
    throw new ShapeError(`gradOut must have shape ${formatShape([b, n, w])}, got ${formatShape(gradOut.shape)}`);
  using temporaries = new Temporaries();
  const own = <T extends Tensor>(made: T | Promise<T>) => temporaries.own(made);
  const { products, chosen, logits, units } = await project(inputs, temporaries);
  const rows = await own((await own(x.reshape([b * n, c]))).permute([1, 0]));
  let gradX: Tensor<'f32'> | undefined;
  let byLogits: Tensor<'f32'> | undefined;
  const byBank = new Float32Array(p * c * w);
  for (const [u, product] of products.entries()) {
    const by = await own(multiply(gradOut, chosen[u] as Tensor));
    const byRows = await own(by.reshape([b * n, w]));
    const byMatrix = await own(matmul(rows, byRows));
    byBank.set(await byMatrix.read(), u * c * w);
    const matrix = await own((await own(bank.slice(0, u, u + 1))).reshape([c, w]));
    const part = await own(matmul(by, await own(matrix.permute([1, 0]))));
    gradX = gradX ? await own(add(gradX, part)) : part;
    // How the loss changes with the share of this matrix.
    const byChoice = await own(sumRows(await own(multiply(gradOut, product))));
    const { gradLogits } = await temporaries.ownAll(routeBackward(logits, units[u] as Tensor, byChoice));
    byLogits = byLogits ? await own(add(byLogits, gradLogits)) : gradLogits;
  }
  const byRouterRows = await own((byLogits as Tensor<'f32'>).reshape([b * n, p]));
  const gradRouter = await own(matmul(rows, byRouterRows));
  const byInput = await own(matmul(byLogits as Tensor<'f32'>, await own(router.permute([1, 0]))));
  return temporaries.release({
    x: await own(add(gradX as Tensor<'f32'>, byInput)),
    router: gradRouter,
    bank: await own(x.runtime.tensor(byBank, bank.shape)),
  });
}

/** The products with all matrices; for each, which tokens chose it, as a 1 or a 0; the logits. */
async function project({ x, router, bank }: DynamicProjectionInputs, temporaries: Temporaries) {
  const own = <T extends Tensor>(made: T | Promise<T>) => temporaries.own(made);
  const [p, c, w] = bank.shape as [number, number, number];
  const logits = await own(matmul(x, router));
  const products: Tensor<'f32'>[] = [];
  const chosen: Tensor<'f32'>[] = [];
  const units: Tensor<'f32'>[] = [];
  const marks = new Float32Array(logits.size);
  for (let u = 0; u < p; u++) {
    const matrix = await own((await own(bank.slice(0, u, u + 1))).reshape([c, w]));
    products.push(await own(matmul(x, matrix)));
    const unit = await own(
      x.runtime.tensor(
        Float32Array.from({ length: p }, (_, at) => Number(at === u)),
        [p],
      ),
    );
    units.push(unit);
    const mark = await own(route(logits, unit));
    chosen.push(mark);
    (await mark.read()).forEach((value, row) => {
      marks[row * p + u] = value;
    });
  }
  return { products, chosen, units, logits, choices: await own(x.runtime.tensor(marks, logits.shape)) };
}

function checkInputs(inputs: DynamicProjectionInputs): void {
  checkKnown('inputs', inputs, ['x', 'router', 'bank'], (name) => `dynamicProjection has no input '${name}'`);
  const { x, router, bank } = inputs;
  checkFloat32('dynamicProjection', { x, router, bank }, {});
  checkContiguous({ x, router, bank });
  bindShapes({ x: 'b n c', router: 'c p', bank: 'p c w' }, { x: x.shape, router: router.shape, bank: bank.shape });
}
