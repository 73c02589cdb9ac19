import { checkChoice, checkKnown, checkWhole, show } from '../check';
import { ParameterError } from '../errors';
import { layerNorm, rmsNorm } from '../ops/norm';
import { defineModule, type Module } from './module';

export interface NormConfig {
  /** Divides rows by their root mean square, with a factor for each channel (default) or without, or centres them first. */
  readonly kind?: (typeof KINDS)[number] | undefined;
  readonly width: number;
  /** Under the root; default 1e-6, and of `layer` 1e-5. */
  readonly epsilon?: number | undefined;
}

const KINDS = ['rms', 'simple-rms', 'layer'] as const;

/**
 * x [..., width] -> the same: `rmsNorm` with the parameter `weight` [width], without one ('simple-rms', as in TransNormerLLM),
 * or `layerNorm` with `weight` and `bias`.
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function norm(config: NormConfig): Module {
  checkKnown('config', config, ['kind', 'width', 'epsilon'], (name) => `config has no '${name}'`);
  const { kind = 'rms', width, epsilon } = config;
  checkChoice('kind', kind, KINDS);
  checkWhole('width', width, 1);
  if (epsilon !== undefined && !(Number.isFinite(epsilon) && epsilon >= 0))
    throw new ParameterError(`epsilon must be a finite number >= 0, got ${show(epsilon)}`);
  const weight = { shape: [width], initial: { value: 1 } };
  const bias = { shape: [width], initial: { value: 0 } };
  const name = `${kind} norm`;
  switch (kind) {
    case 'rms':
      return defineModule({
        name,
        parameters: { weight },
        forward: (x, { weight: gain }, control) => rmsNorm(x, { gain, epsilon, ...control }),
      });
    case 'simple-rms':
      return defineModule({ name, parameters: {}, forward: (x, _, control) => rmsNorm(x, { epsilon, ...control }) });
    case 'layer':
      return defineModule({
        name,
        parameters: { weight, bias },
        forward: (x, { weight: gain, bias }, control) => layerNorm(x, { gain, bias, epsilon, ...control }),
      });
  }
}
