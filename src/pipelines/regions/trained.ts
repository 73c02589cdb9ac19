/** The model of pictures and words that was trained here, which lies beside this module. */
import { checkOptions, isRecord, show } from '../../check';
import { ParameterError } from '../../errors';
import { assetFiles } from '../../io/asset';
import { loaderOf } from '../../models/load';
import { checkControl } from '../../ops/check';
import type { Control } from '../../runtime/backend';
import { Runtime } from '../../runtime/runtime';
import { Weights } from '../../weights';
import { openWeights } from '../../weights/open';
import type { Viewer } from './look';
import { predictorParameters } from './predictor';
import { viewerConfig, viewerParameters } from './viewer';

const FILES: Readonly<Record<string, () => URL>> = {
  'model.safetensors': () => new URL('./trained/model.safetensors', import.meta.url),
  'config.json': () => new URL('./trained/config.json', import.meta.url),
};

export interface LoadViewerOptions extends Pick<Control, 'signal'> {
  /** Those of a model of one's own, with its `config.json`; default: the small one that comes along. */
  readonly weights?: Weights | undefined;
}

/**
 * A model of pictures and words with its predictor of regions. That which comes along knows scenes of four by four garments in four
 * colours.
 *
 * @throws {ParameterError | ShapeError} weights that are not of such a model; files that cannot be had
 */
export async function loadViewer(runtime: Runtime, options: LoadViewerOptions = {}): Promise<Viewer> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkOptions('loadViewer', options, ['weights', 'signal']);
  checkControl(options);
  const { weights, signal } = options;
  if (weights !== undefined) return loaded(runtime, weights, signal);
  await using own = await openWeights(await assetFiles('the trained viewer', FILES, signal));
  return loaded(runtime, own, signal);
}

async function loaded(runtime: Runtime, weights: Weights, signal: Control['signal']): Promise<Viewer> {
  const config = configOf(weights);
  const parameters = { ...viewerParameters(config), ...predictorParameters(config) };
  return { config, parameters: await loaderOf({ parameters })(runtime, weights, { signal }) };
}

/** The settings that lie beside a model's weights. */
export function configOf(weights: Weights) {
  if (!(weights instanceof Weights))
    throw new ParameterError(`weights must be opened by openWeights, got ${show(weights)}`);
  const { config, name } = weights;
  if (!isRecord(config) || config.architecture !== 'viewer')
    throw new ParameterError(
      `${name} must have a config.json of the architecture viewer beside it, as a training of regions writes it`,
    );
  const { architecture: _, ...settings } = config;
  return viewerConfig(settings);
}
