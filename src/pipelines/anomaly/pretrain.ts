/** Training of the small Point-MAE by masking, on shapes and meshes without defects, turned at random. */
import { initial, splitBuffers, type TrainableParameters } from '../../nn';
import type { Runtime } from '../../runtime/runtime';
import { uniformGenerator } from '../../tensor/random';
import { adamw, type TrainingHistory, type TrainOptions, train, warmupCosine } from '../../train';
import type { Geometry } from '../clouds/geometry';
import { sampleMesh } from '../clouds/sample';
import { SHAPES, shapeMesh } from '../clouds/shapes';
import { groupsOf, normalised } from './groups';
import { type MaskedBatch, maskedBatch, type PointMaeConfig, pointMaeLoss, pointMaeParameters } from './point-mae';

export interface PretrainSettings {
  readonly steps: number;
  /** Clouds of a step. */
  readonly batch: number;
  readonly seed: number;
  readonly learningRate: number;
}

export interface PretrainControl
  extends Pick<TrainOptions<MaskedBatch>, 'checkpoint' | 'resume' | 'signal' | 'onStep'> {
  /** Meshes beside the shapes. */
  readonly meshes?: readonly Geometry[] | undefined;
}

/** Trains from the start, or on from a checkpoint: the parameters with the buffers, which are the caller's, and the losses. */
export async function pretrain(
  runtime: Runtime,
  config: PointMaeConfig,
  settings: PretrainSettings,
  { meshes = [], ...control }: PretrainControl = {},
): Promise<{ readonly tensors: TrainableParameters; readonly history: TrainingHistory }> {
  const { steps, batch, seed, learningRate } = settings;
  const module = { parameters: pointMaeParameters(config) };
  const tensors = initial(module, runtime, seed);
  const { parameters, buffers } = splitBuffers(module, tensors);
  using optimizer = adamw(parameters, { learningRate, weightDecay: 0.05 });
  const batches = async (index: number) => {
    const clouds = [];
    for (let at = 0; at < batch; at++) {
      const own = seed + 1000 * (batch * index + at);
      clouds.push(await groupsOf(runtime, turnedCloud(meshes, config, own), config, own + 3));
    }
    return maskedBatch(runtime, clouds, config, seed + 31 * index);
  };
  const loss = (all: TrainableParameters, masked: MaskedBatch, own: object) => pointMaeLoss(all, masked, config, own);
  const schedule = warmupCosine({ steps, warmup: Math.ceil(steps / 20) });
  const history = await train({
    ...control,
    ...{ parameters, buffers, optimizer, steps, schedule, batches, loss, clip: 5 },
  });
  return { tensors, history };
}

/** A cloud of a shape or mesh that the seed chooses, turned at random. */
function turnedCloud(meshes: readonly Geometry[], config: PointMaeConfig, seed: number): Float32Array {
  const random = uniformGenerator(seed);
  const kind = Math.floor((SHAPES.length + meshes.length) * random());
  const mesh = meshes[kind - SHAPES.length] ?? shapeMesh(SHAPES[kind] as (typeof SHAPES)[number], seed + 1);
  const { points } = sampleMesh(mesh, config.points, seed + 2);
  const turn = randomTurn(random);
  const turned = points.map((_, at) => {
    const [point, axis] = [3 * Math.floor(at / 3), at % 3];
    return [0, 1, 2].reduce(
      (sum, from) => sum + (turn[3 * axis + from] as number) * (points[point + from] as number),
      0,
    );
  });
  return normalised('a mesh', turned, config, seed).points;
}

/** A rotation, each as likely as another, as a matrix [3, 3]. Source: Shoemake 1992, unit quaternions. */
function randomTurn(random: () => number): number[] {
  const [share, first, second] = [random(), 2 * Math.PI * random(), 2 * Math.PI * random()];
  const [a, b] = [Math.sqrt(1 - share), Math.sqrt(share)];
  const [x, y, z, w] = [a * Math.sin(first), a * Math.cos(first), b * Math.sin(second), b * Math.cos(second)];
  return [
    ...[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
    ...[2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
    ...[2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
  ];
}
