/** The frozen network and detectors of `saccade anomaly`, from their files. */
import { join } from 'node:path';
import { isRecord } from '../check';
import { ParseError } from '../errors';
import {
  type AnomalyProgress,
  type ArmName,
  type DetectorFile,
  type LoadedDetector,
  type LoadedEncoder,
  loadDetector,
  loadPointMae,
} from '../pipelines/anomaly';
import type { Runtime } from '../runtime/runtime';
import { readBytes } from './read-tensors';
import { parsedJson, savedTensors } from './saved';

/** What a training was asked for and found. */
export const SETTINGS = 'anomaly.json';

/** The file of an arm's and a seed's detector. */
export const detectorPath = (out: string, { arm, seed }: Pick<AnomalyProgress, 'arm' | 'seed'>): string =>
  join(out, `${arm}-${seed}.safetensors`);

const tensorsOf = async (path: string) => savedTensors(path, await readBytes(path)).tensors;

/** The network of a file, or the one that comes along. */
export async function openPointMae(runtime: Runtime, path: string | undefined): Promise<LoadedEncoder> {
  return loadPointMae(runtime, path === undefined ? undefined : await tensorsOf(path));
}

/** A detector that `anomaly train` left in a folder: of an arm, or of the first one there, and of the first seed. */
export async function openDetector(
  runtime: Runtime,
  encoder: LoadedEncoder,
  folder: string,
  asked: ArmName | undefined,
): Promise<LoadedDetector & { readonly arm: ArmName }> {
  const path = join(folder, SETTINGS);
  const found = parsedJson(path, await readBytes(path));
  if (!isRecord(found) || !isRecord(found.settings) || !Array.isArray(found.settings.arms))
    throw new ParseError(`${path} must have the settings of anomaly train`);
  const arm = asked ?? (found.settings.arms[0] as ArmName);
  const file = detectorPath(folder, { arm, seed: 0 });
  const tensors = await tensorsOf(file);
  const settings = found.settings as unknown as DetectorFile['settings'];
  return Object.assign(loadDetector(runtime, encoder, { arm, settings, tensors }), { arm });
}
