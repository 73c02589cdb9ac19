/**
 * SGLU, the simple gated linear unit of TransNormerLLM: ((x V^T) * (x U^T)) O^T, the product elementwise, without an
 * activation. Letters: D width, F hidden width.
 */
import { checkKnown, checkWhole } from '../check';
import { multiply } from '../ops/map';
import type { Tensor } from '../tensor/tensor';
import { linear } from './linear';
import { defineModule, type Module, matrix } from './module';

export interface SimpleGluConfig {
  readonly width: number;
  readonly hidden: number;
}

/**
 * x [..., n, D] -> [..., n, D]. Parameters: `l1.weight` and `l2.weight` [F, D], whose products with x multiply, and
 * `l3.weight` [D, F].
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function simpleGlu(config: SimpleGluConfig): Module {
  checkKnown('config', config, ['width', 'hidden'], (name) => `config has no '${name}'`);
  const { width, hidden } = config;
  checkWhole('width', width, 1);
  checkWhole('hidden', hidden, 1);
  return defineModule({
    name: 'simpleGlu',
    parameters: {
      'l1.weight': matrix(hidden, width),
      'l2.weight': matrix(hidden, width),
      'l3.weight': matrix(width, hidden),
    },
    forward(x, parameters, control) {
      const project = (name: keyof typeof parameters, from: Tensor) => linear(from, parameters[name], control);
      return project('l3.weight', multiply(project('l1.weight', x), project('l2.weight', x)));
    },
  });
}
