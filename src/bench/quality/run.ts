/** Trains decoders with different methods on tasks with known answers, and counts how many they learn to give. */
import { checkKnown, isRecord, show } from '../../check';
import { ParameterError, ParseError, SaccadeError } from '../../errors';
import { checkMethod, type Method } from '../../methods/define';
import { createDecoder, type Decoder, type LayerAttention } from '../../models/decoder';
import { argmax } from '../../ops/reduce';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { significant } from '../../text/format';
import { muon, type TrainingSettings, train, warmupCosine } from '../../train';
import { type Examples, IGNORED, type Task } from '../../train/tasks';
import { type Course, findCourse, lastTask, stageAt } from './courses';
import type { QualityRun } from './report';

export interface QualityOptions {
  /** With different names. */
  readonly methods: readonly Method[];
  /** Params of methods, by their names. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  readonly tasks: readonly string[];
  /** Trainings of each method on each task. */
  readonly seeds: number;
  /** The seed of the first of them; default: 1. */
  readonly firstSeed?: number | undefined;
  /** Steps of a training; default: the task's. */
  readonly steps?: number | undefined;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
}

/** Where results are kept, so that an interrupted benchmark can be resumed. */
export interface Store {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, data: Uint8Array | string): Promise<void>;
}

export interface QualityContext {
  readonly runtime: Runtime;
  readonly store?: Store | undefined;
  readonly signal?: Control['signal'];
  /** Also gets what is being trained, and how far it is. */
  readonly onProgress?: ((share: number, what: string) => void) | undefined;
  readonly onRun?: ((run: QualityRun) => void | Promise<void>) | undefined;
}

/** Muon's: heads find what to attend to where AdamW may stay on a plateau. AdamW trains the rest. */
const LEARNING_RATE = 0.01;
const ADAMW = { learningRate: 0.003, weightDecay: 0.01 };
const CLIP = 1;
/** The share of the steps in which the learning rate grows. */
const WARMUP = 0.05;
/** How many times a training is validated and saved. */
const CHECKS = 20;
/** Validation: sequences in a batch, and the number of batches: few during training, more at the end. */
const VALIDATION = { batch: 32, often: 2, last: 16 };
/** Seeds of training sequences are below it, within a training; validation sequences are the same for all. */
const VALIDATION_SEED = 2 ** 31;

/** Everything that determines a run. */
interface Plan {
  readonly course: Course;
  /** A name. */
  readonly method: string;
  readonly seed: number;
  readonly steps: number;
  readonly decoder: Decoder;
  readonly settings: TrainingSettings;
}

/**
 * Every method on every task, seed by seed.
 *
 * @throws {ParameterError} a method that a decoder cannot use, before anything is trained; a store of other settings
 */
export async function runQuality(options: QualityOptions, context: QualityContext): Promise<QualityRun[]> {
  const plans = plansOf(options);
  // Say what cannot be resumed before anything is trained.
  for (const plan of plans) await keptOf(context.store, plan);
  const runs: QualityRun[] = [];
  for (const [at, plan] of plans.entries()) {
    const name = `${plan.course.name} by ${plan.method}${options.seeds > 1 ? `, seed ${plan.seed}` : ''}`;
    const run = await runOf(plan, {
      ...context,
      onProgress: (share, what) => context.onProgress?.((at + share) / plans.length, `${name}: ${what}`),
    });
    runs.push(run);
    await context.onRun?.(run);
  }
  return runs;
}

/** Throws unless a decoder can use every method, on every task. */
export function plansOf({ methods, params = {}, tasks, seeds, firstSeed = 1, steps, ...size }: QualityOptions): Plan[] {
  for (const [at, method] of methods.entries()) checkMethod(`methods[${at}]`, method);
  const names = methods.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) < at);
  if (twice !== undefined) throw new ParameterError(`methods must have different names, got ${twice} twice`);
  checkKnown('params', params, names, (name) => `params has '${name}', which is not trained`);
  return tasks.map(findCourse).flatMap((course) =>
    methods.flatMap((method) => {
      const config = configOf(lastTask(course).vocabulary, size);
      const { name } = method;
      const own = params[name] as LayerAttention['params'];
      const decoder = createDecoder(config, { attention: { method, params: own } });
      const total = steps ?? course.steps;
      const settings = {
        task: JSON.stringify(course.stages),
        method: name,
        params: JSON.stringify(own ?? {}),
        steps: total,
        ...size,
      };
      return Array.from({ length: seeds }, (_, at) => ({
        course,
        method: name,
        decoder,
        steps: total,
        seed: firstSeed + at,
        settings: { ...settings, seed: firstSeed + at },
      }));
    }),
  );
}

/** The model and how it is trained, in words. */
export function settingOf({ width, layers, heads, seeds }: QualityOptions): string {
  return `Decoders of ${layers} layers of ${width} with ${heads === 1 ? 'one head' : `${heads} heads`}, of Qwen 3's kind, with biases; Muon at ${LEARNING_RATE} and AdamW at ${ADAMW.learningRate}, falling by a cosine after ${100 * WARMUP}% of the steps, gradients up to a norm of ${CLIP}; ${seeds === 1 ? 'one training' : `${seeds} trainings`} of each.`;
}

/**
 * A small Qwen 3 with biases: norms of queries and keys let heads choose from the first step on, and biases find the token
 * before. Larger initial weights would drown what a token is in what it attends to.
 */
function configOf(vocabulary: number, { width, layers, heads }: Pick<QualityOptions, 'width' | 'layers' | 'heads'>) {
  if (width % (2 * heads) !== 0)
    throw new ParameterError(`width must be a multiple of twice the heads, ${2 * heads}, got ${width}`);
  return {
    model_type: 'qwen3',
    vocab_size: vocabulary,
    hidden_size: width,
    intermediate_size: 2 * width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    head_dim: width / heads,
    attention_bias: true,
    tie_word_embeddings: true,
    initializer_range: 0.02,
  };
}

/** What a store holds of a run, finished or not. */
interface Kept {
  readonly settings: TrainingSettings;
  readonly milliseconds: number;
  readonly run?: QualityRun | undefined;
}

async function runOf(plan: Plan, { runtime, store, signal, onProgress }: QualityContext): Promise<QualityRun> {
  const { course, method, seed, steps, decoder, settings } = plan;
  const name = nameOf(plan);
  const kept = await keptOf(store, plan);
  if (kept?.run) return kept.run;
  const resume = kept && (await store?.read(`${name}.safetensors`));
  const start = performance.now() - (kept?.milliseconds ?? 0);
  const keep = (run?: QualityRun) =>
    store?.write(`${name}.json`, `${JSON.stringify({ settings, milliseconds: performance.now() - start, run })}\n`);

  const parameters = decoder.initialize(runtime, { seed });
  using optimizer = muon(parameters, { learningRate: LEARNING_RATE, adamw: ADAMW });
  const task = lastTask(course);
  const common = {
    task: course.name,
    method,
    seed,
    parameters: Object.values(decoder.parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    flops: flopsOf(plan),
  };
  const ended = async (more: Pick<QualityRun, 'accuracy' | 'reason' | 'losses'>) => {
    const run = { ...common, milliseconds: performance.now() - start, ...more };
    await keep(run);
    return run;
  };
  try {
    const { validation } = await train<Batch>({
      parameters,
      optimizer,
      steps,
      signal,
      resume,
      loss: (weights, { tokens, targets }, { training }) =>
        decoder.loss(weights, tokens, targets, { ignore: IGNORED, training }),
      batches(step) {
        const { task, batch } = stageAt(course, step, steps);
        return batchOf(runtime, task.examples(batch, seed * 2 ** 32 + step));
      },
      schedule: warmupCosine({ steps, warmup: Math.floor(WARMUP * steps) }),
      clip: CLIP,
      validate: {
        every: Math.ceil(steps / CHECKS),
        count: VALIDATION.often,
        batches: (at) => batchOf(runtime, validationOf(task, at)),
      },
      ...(store && {
        checkpoint: {
          every: Math.ceil(steps / CHECKS),
          settings,
          async save(which, file) {
            if (which !== 'last') return;
            await store.write(`${name}.safetensors`, file);
            await keep();
          },
        },
      }),
      onStep: ({ step, loss }) => onProgress?.(step / steps, `step ${step} of ${steps}, loss ${significant(loss)}`),
    });
    const accuracy = await accuracyOf(decoder, parameters, task, { signal });
    return await ended({ accuracy, losses: validation });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof SaccadeError) || error instanceof ParameterError) throw error;
    return await ended({ reason: error.message, losses: [] });
  } finally {
    for (const each of Object.values(parameters)) each.dispose();
  }
}

/** The name of a run's files. */
const nameOf = ({ course, method, seed }: Plan) => `${course.name}-${method}-${seed}`;

/** What a store holds of a run of these settings. */
async function keptOf(store: Store | undefined, plan: Plan): Promise<Kept | undefined> {
  const { settings } = plan;
  const name = nameOf(plan);
  const bytes = await store?.read(`${name}.json`);
  if (!bytes) return undefined;
  let kept: Kept;
  try {
    kept = JSON.parse(new TextDecoder().decode(bytes));
    if (!isKept(kept)) throw new Error('something else');
  } catch {
    throw new ParseError(`${name}.json is no file of bench quality`);
  }
  for (const [each, wanted] of Object.entries(settings)) {
    const had = kept.settings[each];
    if (had !== wanted)
      throw new ParameterError(`${name}.json is of a training with ${each} ${show(had)}, expected ${show(wanted)}`);
  }
  return kept;
}

function isKept({ settings, milliseconds, run }: Partial<Record<keyof Kept, unknown>>): boolean {
  return isRecord(settings) && Number.isFinite(milliseconds) && (run === undefined || isRun(run));
}

function isRun(run: unknown): boolean {
  return isRecord(run) && Array.isArray(run.losses) && run.losses.every(isRecord) && Number.isFinite(run.milliseconds);
}

/** Multiplications and additions of a whole training. */
function flopsOf({ course, decoder, steps }: Plan): number {
  let sum = 0;
  for (let step = 0; step < steps; step++) {
    const { task, batch } = stageAt(course, step, steps);
    sum += 3 * decoder.flops(batch, task.length);
  }
  return sum;
}

interface Batch {
  readonly tokens: Tensor;
  readonly targets: Tensor;
}

const batchOf = (runtime: Runtime, { tokens, targets }: Examples): Batch => ({
  tokens: runtime.fromHost(tokens),
  targets: runtime.fromHost(targets),
});

const validationOf = (task: Task, at: number): Examples => task.examples(VALIDATION.batch, VALIDATION_SEED + at);

/** The share of answers that are the most probable token. */
async function accuracyOf(
  decoder: Decoder,
  parameters: Readonly<Record<string, Tensor<'f32'>>>,
  task: Task,
  { signal }: Pick<Control, 'signal'>,
): Promise<number> {
  let [right, asked] = [0, 0];
  for (let at = 0; at < VALIDATION.last; at++) {
    const { tokens: host, targets } = validationOf(task, at);
    const { runtime } = Object.values(parameters)[0] as Tensor;
    using tokens = runtime.fromHost(host);
    using answers = runtime.scope(() => argmax(decoder.forward(parameters, tokens, { signal }), { axes: [2] }));
    const given = await answers.read();
    targets.data.forEach((target, place) => {
      if (target === IGNORED) return;
      asked++;
      if (given[place] === target) right++;
    });
  }
  return right / asked;
}
