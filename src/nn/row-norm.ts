import { checkChoice, checkKnown, checkWhole, show } from '../check';
import { ParameterError } from '../errors';
import { apply, constant } from '../expressions/expression';
import { mapOne } from '../ops/map/core';
import { ElementwiseFunction, element } from '../ops/map/function';
import { layerNorm, rmsNorm } from '../ops/norm';
import { defineModule, type Module } from './module';

export interface RowNormConfig {
  /**
   * Divides rows by their root mean square, with a factor for each channel (default), with 1 + weight as factors, or without, or
   * centres them first.
   */
  readonly kind?: (typeof ROW_NORMS)[number] | undefined;
  readonly width: number;
  /** Under the root; default 1e-6, and of `layer` 1e-5. */
  readonly epsilon?: number | undefined;
}

export const ROW_NORMS = ['rms', 'unit-rms', 'simple-rms', 'layer'] as const;

const onePlus = new ElementwiseFunction('1 + weight', 1, [apply('add', constant(1), element(0))]);

/** Those of `norm` whose rows are normalised by themselves. @throws {ParameterError} a setting that is unknown or out of range */
export function rowNorm(config: RowNormConfig): Module {
  checkKnown('config', config, ['kind', 'width', 'epsilon'], (name) => `config has no '${name}'`);
  const { kind = 'rms', width, epsilon } = config;
  checkChoice('kind', kind, ROW_NORMS);
  checkSizes(config);
  const weight = { shape: [width], initial: { value: 1 } };
  const bias = { shape: [width], initial: { value: 0 } };
  const name = `${kind} norm`;
  switch (kind) {
    case 'rms':
      return defineModule({
        name,
        parameters: { weight },
        forward: (x, { weight: gain }, { signal }) => rmsNorm(x, { gain, epsilon, signal }),
      });
    case 'unit-rms':
      return defineModule({
        name,
        parameters: { weight: bias },
        forward: (x, { weight }, { signal }) =>
          rmsNorm(x, { gain: mapOne(onePlus, { weight }, { signal }), epsilon, signal }),
      });
    case 'simple-rms':
      return defineModule({ name, parameters: {}, forward: (x, _, { signal }) => rmsNorm(x, { epsilon, signal }) });
    case 'layer':
      return defineModule({
        name,
        parameters: { weight, bias },
        forward: (x, { weight: gain, bias }, { signal }) => layerNorm(x, { gain, bias, epsilon, signal }),
      });
  }
}

export function checkSizes({ width, epsilon }: Pick<RowNormConfig, 'width' | 'epsilon'>): void {
  checkWhole('width', width, 1);
  if (epsilon !== undefined && !(Number.isFinite(epsilon) && epsilon >= 0))
    throw new ParameterError(`epsilon must be a finite number >= 0, got ${show(epsilon)}`);
}
