/**
 * The layer of DyDiLA: redundant queries and keys, and banks with their routers. Sizes and values
 * at the start are those of the port's small setting, standard deviations are reconstructed.
 */
import { contiguous } from '../../../ops/copy';
import type { Tensor } from '../../../tensor/tensor';
import type { Layer, LayerConfig, LayerParameter } from '../../define';
import { dynamicProjection } from './dynamic-projection';

const PROJECTIONS = 3;
const EXPONENTS = 9;
const SHARES = 9;

export function layer({ width, heads, keyHeads, d }: LayerConfig): Layer {
  const drawn = (shape: readonly number[], std = 0.02): LayerParameter => ({ shape, initial: { std } });
  return {
    parameters: {
      'q_redundant_router.weight': drawn([PROJECTIONS, width]),
      'k_redundant_router.weight': drawn([PROJECTIONS, width]),
      'q_redundant_proj.weight': drawn([PROJECTIONS, heads * d, width], 1 / Math.sqrt(width)),
      'k_redundant_proj.weight': drawn([PROJECTIONS, keyHeads * d, width], 1 / Math.sqrt(width)),
      gamma: { shape: [4, EXPONENTS], initial: { value: 3 } },
      'gamma_router.weight': drawn([4, EXPONENTS, d]),
      lambda: { shape: [SHARES], initial: { value: 0.01 } },
      'lambda_router.weight': drawn([2, SHARES, 2 * d]),
    },
    inputs(x, { q, k }, parameters) {
      const of = (name: string) => parameters[name] as Tensor;
      const transposed = (name: string) => {
        const { rank } = of(name);
        const axes = [...Array(rank).keys()];
        return of(name).permute([...axes.slice(0, -2), rank - 1, rank - 2]);
      };
      const redundant = (name: string, { shape }: Tensor) => {
        const [router, bank] = [transposed(`${name}_router.weight`), transposed(`${name}_proj.weight`)];
        return dynamicProjection({ x, router, bank }).out.reshape(shape);
      };
      return {
        q_redundant: redundant('q_redundant', q),
        k_redundant: redundant('k_redundant', k),
        gamma: of('gamma'),
        gamma_router: contiguous(transposed('gamma_router.weight')),
        lambda: of('lambda'),
        lambda_router: contiguous(transposed('lambda_router.weight')),
      };
    },
  };
}
