/** Clouds through the frozen Point-MAE: centers of their groups, and features there. */
import type { Parameters } from '../../nn';
import type { Runtime } from '../../runtime/runtime';
import { sampleMesh } from '../clouds/sample';
import { SHAPES, shapeMesh } from '../clouds/shapes';
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
  /** What is taken away from each channel of features, and what they are divided by then; default: nothing, and 1. */
  readonly standard?: { readonly mean: Float64Array; readonly deviation: Float64Array } | undefined;
}

/** Clouds of each shape over which features get mean 0 and unit standard deviation, and the least variance of a channel. */
const [CLOUDS, LEAST] = [2, 1e-6];

/** The same encoder, whose features have mean 0 and unit standard deviation in each channel over some clouds of the shapes. */
export async function standardised(runtime: Runtime, encoder: Encoder): Promise<Encoder> {
  const { width, groups, points } = encoder.config;
  const [mean, squares] = [new Float64Array(width), new Float64Array(width)];
  const rows = CLOUDS * SHAPES.length * groups;
  for (const [kind, name] of SHAPES.entries())
    for (let at = 0; at < CLOUDS; at++) {
      const seed = 1000 * kind + at;
      const cloud = { name, points: sampleMesh(shapeMesh(name, seed), points, seed).points };
      const { features } = await encodeCloud(runtime, { ...encoder, standard: undefined }, cloud, seed);
      features.forEach((value, place) => {
        mean[place % width] = (mean[place % width] as number) + value / rows;
        squares[place % width] = (squares[place % width] as number) + value ** 2 / rows;
      });
    }
  const deviation = squares.map((square, c) => Math.sqrt(Math.max(square - (mean[c] as number) ** 2, LEAST)));
  return { ...encoder, standard: { mean, deviation } };
}

/** Another seed takes other points of a cloud, and groups them otherwise. */
export async function encodeCloud(
  runtime: Runtime,
  { config, parameters, kernel, standard }: Encoder,
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
  const found = await features.read();
  if (standard)
    found.forEach((value, at) => {
      const channel = at % config.width;
      found[at] = (value - (standard.mean[channel] as number)) / (standard.deviation[channel] as number);
    });
  return { centers, features: found, middle, size: extent };
}
