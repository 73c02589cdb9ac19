/** Clouds through the frozen Point-MAE: centers of their groups, and features there. */
import type { Parameters } from '../../nn';
import type { Runtime } from '../../runtime/runtime';
import { groupsOf, type Normalised, normalised } from './groups';
import { type KernelSettings, type PointMaeConfig, pointFeatures } from './point-mae';

/** A cloud's places: centers [groups, 3] in its normalised coordinates, and features [groups, width]. */
export interface Places extends Omit<Normalised, 'points'> {
  readonly centers: Float32Array;
  readonly features: Float32Array;
}

export interface Encoder {
  readonly config: PointMaeConfig;
  readonly parameters: Parameters;
  /** Random features in place of the softmax; default: the softmax, as it was trained. */
  readonly kernel?: KernelSettings | undefined;
}

/** Another seed takes other points of a cloud, and groups them otherwise. */
export async function encodeCloud(
  runtime: Runtime,
  { config, parameters, kernel }: Encoder,
  { name, points }: { readonly name: string; readonly points: Float32Array },
  seed: number,
): Promise<Places> {
  const { groups, size } = config;
  const { points: chosen, middle, size: extent } = normalised(name, points, config, seed);
  const { centers, around } = await groupsOf(runtime, chosen, config, seed);
  using features = runtime.scope(() => {
    const batch = {
      centers: runtime.tensor(centers, [1, groups, 3]),
      around: runtime.tensor(around, [groups, size, 3]),
    };
    return pointFeatures(parameters, batch, config, kernel);
  });
  return { centers, features: await features.read(), middle, size: extent };
}
