import { checkFunction, checkOptions } from '../check';
import type { TrainableParameters } from '../nn';
import { map } from '../ops/map/map';
import { matmul } from '../ops/matmul';
import { disposeKey, type Tensor } from '../tensor/tensor';
import { type AdamwOptions, adamwRule } from './adamw';
import {
  checkNumber,
  checkParameters,
  checkStep,
  globalNorm,
  type Optimizer,
  optimizerOf,
  type Rule,
} from './optimizer';

export interface MuonOptions {
  /** Default 0.02. */
  readonly learningRate?: number | undefined;
  /** Momentum: the factor on the running sum of gradients, from 0 to below 1; default 0.95. */
  readonly momentum?: number | undefined;
  /** Weight decay of these matrices, times the learning rate; default 0. */
  readonly weightDecay?: number | undefined;
  /** The options of AdamW, which updates all other parameters. */
  readonly adamw?: AdamwOptions | undefined;
  /** Which parameters of two axes it updates; default: those whose names contain neither an embedding nor a head. */
  readonly only?: ((name: string) => boolean) | undefined;
}

const OTHERS = /embed|wte|wpe|head/;

/**
 * Muon (Jordan et al. 2024): matrices move by the nearest matrix of orthonormal rows to their momentum, m = momentum m + g taken as
 * g + momentum m, times sqrt(max(1, rows / columns)). All else goes by AdamW.
 */
export function muon(parameters: TrainableParameters, options: MuonOptions = {}): Optimizer {
  checkOptions('muon', options, ['learningRate', 'momentum', 'weightDecay', 'adamw', 'only']);
  const { learningRate = 0.02, momentum = 0.95, weightDecay = 0, only = (name) => !OTHERS.test(name) } = options;
  checkNumber('learningRate', learningRate, 0);
  checkNumber('weightDecay', weightDecay, 0);
  checkNumber('momentum', momentum, 0, 1);
  checkFunction('only', only);
  checkParameters(parameters);
  const isOwn = (name: string) => (parameters[name] as Tensor).rank === 2 && only(name);
  const part = (of: TrainableParameters, own: boolean) =>
    Object.fromEntries(Object.entries(of).filter(([name]) => isOwn(name) === own));
  const parts = [
    { own: true, rule: ruleOfMatrices({ learningRate, momentum, weightDecay }) },
    { own: false, rule: adamwRule(options.adamw === undefined ? {} : options.adamw) },
  ].flatMap(({ own, rule }) => {
    const some = part(parameters, own);
    return Object.keys(some).length > 0 ? [{ own, optimizer: optimizerOf(some, rule) }] : [];
  });
  const dispose = () => {
    for (const { optimizer } of parts) optimizer.dispose();
  };
  return {
    name: 'muon',
    get steps() {
      return (parts[0] as (typeof parts)[0]).optimizer.steps;
    },
    set steps(steps) {
      for (const { optimizer } of parts) optimizer.steps = steps;
    },
    state: Object.assign({}, ...parts.map(({ optimizer }) => optimizer.state)),
    step(gradients, options = {}) {
      checkStep(parameters, gradients, options);
      for (const { own, optimizer } of parts) optimizer.step(part(gradients, own), options);
    },
    dispose,
    [disposeKey]: dispose,
  };
}

function ruleOfMatrices({
  learningRate,
  momentum,
  weightDecay,
}: Record<'learningRate' | 'momentum' | 'weightDecay', number>): Rule {
  return {
    name: 'muon',
    learningRate,
    weightDecay,
    carries: ['momentum'],
    update({ weights, gradients, carried }, { size, keep, scale }) {
      const [sums] = carried as [Tensor[]];
      const { update: updates } = map(
        (g, m, { scale, momentum }) => {
          const each = scale * g;
          const sum = momentum * m + each;
          return { sum, update: each + momentum * sum };
        },
        gradients,
        sums,
        { captured: { scale, momentum }, dtype: 'f32', out: { sum: sums } },
      );
      weights.forEach((weight, at) => {
        using update = updates[at] as Tensor;
        const [rows, columns] = weight.shape as [number, number];
        const step = size * Math.sqrt(Math.max(1, rows / columns));
        using orthogonal = orthogonalised(update);
        map((w, o, { keep, step }) => keep * w - step * o, weight, orthogonal, {
          captured: { keep, step },
          out: weight,
        });
      });
    },
  };
}

/** x [r, c] with its singular values brought near 1, by five steps of Newton and Schulz's iteration with Jordan's numbers. */
function orthogonalised(x: Tensor): Tensor {
  const isTall = (x.shape[0] as number) > (x.shape[1] as number);
  return x.runtime.scope(() => {
    const wide = map((x, norm) => x / (norm + 1e-7), isTall ? x.permute([1, 0]) : x, globalNorm(x));
    for (let round = 0; round < 5; round++) {
      using squares = matmul(wide, wide, { transposeB: true });
      using factor = matmul(squares, squares);
      map((a, aa) => -4.775 * a + 2.0315 * aa, squares, factor, { out: factor });
      using product = matmul(factor, wide);
      map((x, y) => 3.4445 * x + y, wide, product, { out: wide });
    }
    return isTall ? wide.permute([1, 0]) : wide;
  });
}
