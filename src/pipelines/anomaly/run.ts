/** Detectors that learn classes of clouds task by task, tested on all classes so far after each; goes on where it was cut off. */
import { checkKnown, checkRecord, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { nextTurn } from '../../next-turn';
import { contiguous } from '../../ops/copy';
import type { Runtime } from '../../runtime/runtime';
import type { HostTensor } from '../../tensor/host';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { auroc } from '../metrics';
import { ARMS, type ArmName, detectorSettings, encoderOf, frozenAttention } from './arms';
import { type CloudClass, type CloudSample, tasksOfClasses } from './data';
import { type Detector, detector } from './detector';
import { type Encoder, encodeCloud, type Places } from './encode';
import { checkClouds } from './groups';
import { type CloudScore, objectScore, pointScores } from './score';
import { type AnomalySettings, checkAnomaly, checkEncoder, checkSample } from './settings';

/** AUROC of a class; undefined where its clouds, or their points, are all of one kind. */
export interface ClassFigures {
  readonly name: string;
  readonly object?: number | undefined;
  readonly point?: number | undefined;
}

/** What is found after each task, and written down. */
export interface AnomalyProgress {
  readonly arm: ArmName;
  readonly seed: number;
  /** [task learned last], of the classes so far. */
  readonly figures: readonly (readonly ClassFigures[])[];
}

/** What a run keeps between tasks, so that it can go on. */
export interface AnomalyStore {
  /** What was written for an arm and a seed. */
  read(progress: Pick<AnomalyProgress, 'arm' | 'seed'>): Promise<SavedDetector | undefined>;
  write(progress: AnomalyProgress, tensors: Readonly<Record<string, HostTensor>>): Promise<void>;
}

export interface SavedDetector {
  readonly figures: AnomalyProgress['figures'];
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

export interface AnomalyControl {
  readonly signal?: AbortSignal | undefined;
  /** The share of all that is done, and what is learned. */
  readonly onProgress?: ((share: number, text: string) => void) | undefined;
}

export interface Anomaly {
  readonly tasks: readonly (readonly string[])[];
  readonly found: readonly AnomalyProgress[];
}

/**
 * Learns the classes of each task in turn, with each arm and seed, and tells AUROC by cloud and by point for all classes so far.
 *
 * @throws {ParameterError} settings or classes that cannot be learned; clouds too small for the encoder's groups
 */
export async function anomaly(
  runtime: Runtime,
  encoder: Encoder,
  classes: readonly CloudClass[],
  settings: AnomalySettings,
  store?: AnomalyStore,
  { signal, onProgress }: AnomalyControl = {},
): Promise<Anomaly> {
  checkAnomaly(runtime, encoder, classes, settings);
  const { arms, seeds } = settings;
  const names = classes.map(({ name }) => name);
  const tasks = tasksOfClasses(names, settings.tasks);
  checkClouds(classes, encoder.config);
  const found: AnomalyProgress[] = [];
  const all = arms.length * seeds;
  const encoded = new Map<string, ReturnType<typeof placesOf>>();
  for (let seed = 0; seed < seeds; seed++)
    for (const arm of arms) {
      const kind = frozenAttention(arm);
      const own = () => encoderOf(runtime, encoder, arm, settings);
      const places = encoded.get(kind) ?? placesOf(runtime, own, classes, settings.views, signal);
      encoded.set(kind, places);
      const saved = await store?.read({ arm, seed });
      const figures = [...(saved?.figures ?? [])];
      const learner = detector(runtime, detectorSettings(arm, settings, encoder.config.width), seed);
      try {
        if (saved) restore(learner, saved.tensors, runtime);
        for (let task = figures.length; task < tasks.length; task++) {
          const [classesOfTask, done] = [tasks[task] as string[], found.length + task / tasks.length];
          const tell = (share: number, what: string) =>
            onProgress?.(
              (done + share / tasks.length) / all,
              `${arm}, seed ${seed}, ${classesOfTask.join(', ')}: ${what}`,
            );
          tell(0, 'features of clouds');
          const clouds: Places[] = [];
          for (const name of classesOfTask) clouds.push(...(await places(name)).learned);
          await learner.learn(task, clouds, {
            signal,
            onStep: (share, loss) => tell(share, `loss ${loss.toPrecision(3)}`),
          });
          const row: ClassFigures[] = [];
          for (const name of tasks.slice(0, task + 1).flat())
            row.push(await figuresOf(learner, name, (await places(name)).unseen));
          figures.push(row);
          await store?.write({ arm, seed, figures }, await hostsOf(learner));
        }
        found.push({ arm, seed, figures });
      } finally {
        learner.dispose();
      }
    }
  return { tasks, found };
}

interface Tested {
  readonly sample: CloudSample;
  readonly groupings: readonly Places[];
}

interface ClassPlaces {
  readonly learned: readonly Places[];
  readonly unseen: readonly Tested[];
}

/** Features of a class's clouds, computed when they are first asked for. */
function placesOf(
  runtime: Runtime,
  encoderFor: () => Promise<Encoder>,
  classes: readonly CloudClass[],
  views: number,
  signal?: AbortSignal,
) {
  const known = new Map<string, ClassPlaces>();
  let making: Promise<Encoder> | undefined;
  return async (name: string): Promise<ClassPlaces> => {
    const before = known.get(name);
    if (before) return before;
    making ??= encoderFor();
    const encoder = await making;
    const { learned, unseen } = classes.find((each) => each.name === name) as CloudClass;
    const found = { learned: [] as Places[], unseen: [] as Tested[] };
    for (const [at, sample] of learned.entries())
      for (let view = 0; view < views; view++) {
        signal?.throwIfAborted();
        found.learned.push(await encodeCloud(runtime, encoder, sample, 1000 * at + view));
      }
    for (const sample of unseen) {
      signal?.throwIfAborted();
      found.unseen.push({ sample, groupings: await groupingsOf(runtime, encoder, sample) });
    }
    known.set(name, found);
    return found;
  };
}

/** How often clouds for tests are grouped, and the first seed of that. */
const [GROUPINGS, UNSEEN] = [4, 2 ** 20];

async function groupingsOf(
  runtime: Runtime,
  encoder: Encoder,
  cloud: Pick<CloudSample, 'name' | 'points'>,
): Promise<Places[]> {
  const found: Places[] = [];
  for (let at = 0; at < GROUPINGS; at++) found.push(await encodeCloud(runtime, encoder, cloud, UNSEEN + at));
  return found;
}

/** Points that are scored without letting events through. */
const PART = 2 ** 17;

/** The scores of a cloud and of its points by all its groupings. */
async function scoreOf(
  learner: Detector,
  points: Float32Array,
  groupings: readonly Places[],
  signal?: AbortSignal,
): Promise<CloudScore> {
  const errors: number[] = [];
  const sums = new Float32Array(points.length / 3);
  for (const places of groupings) {
    const own = await learner.errors(places);
    errors.push(...own);
    for (let from = 0; from < sums.length; from += PART) {
      if (from > 0) await nextTurn();
      signal?.throwIfAborted();
      pointScores(points.subarray(3 * from, 3 * (from + PART)), places, own).forEach((score, at) => {
        sums[from + at] = (sums[from + at] as number) + score / groupings.length;
      });
    }
  }
  return { object: objectScore(Float32Array.from(errors)), points: sums };
}

async function figuresOf(learner: Detector, name: string, tested: readonly Tested[]): Promise<ClassFigures> {
  const [scores, kinds, points, labels]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (const { sample, groupings } of tested) {
    const { object, points: found } = await scoreOf(learner, sample.points, groupings);
    scores.push(object);
    kinds.push(sample.defect === undefined ? 0 : 1);
    if (!sample.labels) continue;
    for (const score of found) points.push(score);
    for (const label of sample.labels) labels.push(label);
  }
  return { name, object: aurocOf(scores, kinds), point: aurocOf(points, labels) };
}

/** Undefined of one kind alone. */
export const aurocOf = (scores: readonly number[], labels: readonly number[]): number | undefined =>
  new Set(labels).size === 2 ? auroc(scores, labels) : undefined;

async function hostsOf({ tensors }: Detector): Promise<Record<string, HostTensor>> {
  const read = Object.entries(tensors).map(async ([name, tensor]) => [name, await tensor.toHost()] as const);
  return Object.fromEntries(await Promise.all(read));
}

/** What `anomaly` saved of a detector, and how it was asked for. */
export interface DetectorFile {
  readonly arm: ArmName;
  readonly settings: Pick<AnomalySettings, 'steps' | 'batch' | 'features'>;
  readonly tensors: SavedDetector['tensors'];
}

/** Scores clouds by what a detector learned. The caller disposes it. */
export interface LoadedDetector extends Disposable {
  /**
   * @throws {ParameterError} a cloud with fewer points than the encoder's groups need, or all at one place
   */
  score(cloud: Pick<CloudSample, 'name' | 'points'>, control?: Pick<AnomalyControl, 'signal'>): Promise<CloudScore>;
}

/**
 * A detector that `anomaly` saved, on the encoder it learned with.
 *
 * @throws {ParameterError} an unknown arm; a tensor that is missing or of another shape
 */
export function loadDetector(runtime: Runtime, encoder: Encoder, file: DetectorFile): LoadedDetector {
  checkEncoder(runtime, encoder);
  checkKnown('file', file, ['arm', 'settings', 'tensors'], (name) => `file has no '${name}'`);
  const { arm, settings, tensors } = file;
  if (!ARMS.includes(arm)) throw new ParameterError(`arm must be one of ${ARMS.join(', ')}, got ${show(arm)}`);
  for (const [what, value] of Object.entries({ settings, tensors })) checkRecord(`${what} of file`, value);
  for (const name of ['steps', 'batch', 'features'] as const) checkWhole(`${name} of settings`, settings[name], 1);
  const learner = detector(runtime, detectorSettings(arm, settings, encoder.config.width), 0);
  try {
    restore(learner, tensors, runtime);
  } catch (error) {
    learner.dispose();
    throw error;
  }
  let own: Promise<Encoder> | undefined;
  return {
    async score(cloud, { signal } = {}) {
      checkSample('cloud', cloud);
      own ??= encoderOf(runtime, encoder, arm, settings);
      return scoreOf(learner, cloud.points, await groupingsOf(runtime, await own, cloud), signal);
    },
    [Symbol.dispose]: () => learner.dispose(),
  };
}

/** Writes what was saved over a detector's tensors. */
function restore(learner: Detector, saved: SavedDetector['tensors'], runtime: Runtime): void {
  for (const [name, tensor] of Object.entries(learner.tensors)) {
    const host = saved[name];
    if (host?.dtype !== 'f32' || !sameShape(host.shape, tensor.shape))
      throw new ParameterError(
        `tensors that were saved must have '${name}', f32 ${formatShape(tensor.shape)}, got ${host ? `${host.dtype} ${formatShape(host.shape)}` : 'none'}`,
      );
    using from = runtime.fromHost(host as HostTensor<'f32'>) as Tensor<'f32'>;
    contiguous(from, { out: tensor as Tensor<'f32'> });
  }
}
