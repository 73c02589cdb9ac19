/** The loop of training. */
import { checkFunction, checkNoPromise, checkOptions, checkWhole, show } from '../check';
import { ParameterError, SaccadeError } from '../errors';
import type { FileBytes } from '../io/bytes';
import { nextTurn } from '../next-turn';
import type { Parameters } from '../nn';
import { map } from '../ops/map/map';
import type { Runtime } from '../runtime/runtime';
import { differentiate } from '../tape';
import type { HostTensor } from '../tensor/host';
import { tensorsIn } from '../tensor/structure';
import type { Tensor } from '../tensor/tensor';
import { formatBytes } from '../text/format';
import {
  checkSettings,
  readCheckpoint,
  restore,
  type TrainingHistory,
  type TrainingSettings,
  writeCheckpoint,
} from './checkpoint';
import { bytesOfWork } from './memory';
import { firstNotFinite } from './not-finite';
import { checkParameters, globalNorm, type Optimizer } from './optimizer';
import type { Schedule } from './schedule';

export interface TrainOptions<Batch> {
  /** By name; updated in place. */
  readonly parameters: Parameters;
  readonly optimizer: Optimizer;
  /** Of a batch, the mean over it: a tensor of one number, by ops on the parameters. It does not wait. */
  readonly loss: (parameters: Parameters, batch: Batch) => Tensor;
  /** The batch of a number, from 0: the same one whenever it is asked for. Its tensors are disposed after use. */
  readonly batches: (index: number) => Batch | Promise<Batch>;
  /** After how many the training is over. */
  readonly steps: number;
  /** Of the learning rate; default: it stays. */
  readonly schedule?: Schedule | undefined;
  /** The most that the norm of gradients may be, to which longer ones are scaled; default: any. */
  readonly clip?: number | undefined;
  /** Batches whose gradients make up a step: their mean is taken; default 1. */
  readonly accumulate?: number | undefined;
  /** The mean loss of `count` batches that are not learned from, after every so many steps and the last. */
  readonly validate?: ValidateOptions<Batch> | undefined;
  readonly checkpoint?: CheckpointOptions | undefined;
  /** The file of a checkpoint to go on from. */
  readonly resume?: FileBytes | undefined;
  /** Ends the training wherever it is, after a checkpoint of the steps that were taken, and rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Is told of each step; the training waits for what it returns. */
  readonly onStep?: ((step: TrainingStep) => void | Promise<void>) | undefined;
}

export interface ValidateOptions<Batch> {
  readonly every: number;
  readonly count: number;
  readonly batches: (index: number) => Batch | Promise<Batch>;
}

export interface CheckpointOptions {
  /** After every so many steps, after the last, and where the training ends before it, for whatever reason. */
  readonly every: number;
  /** Keeps a file, in the place of the one of that name before: the last, or that of the least validation loss, after `steps`. */
  readonly save: (name: 'last' | 'best', file: Uint8Array, steps: number) => void | Promise<void>;
  /** Without which a training could not go on as if uninterrupted; one that resumes must have the same. */
  readonly settings?: TrainingSettings | undefined;
}

/** What a step was like. */
export interface TrainingStep {
  /** From 1. */
  readonly step: number;
  /** Before the update. */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly milliseconds: number;
  /** After the update, where it was measured. */
  readonly validation?: number | undefined;
}

const OPTIONS = [
  ...['parameters', 'optimizer', 'loss', 'batches', 'steps', 'schedule', 'clip', 'accumulate'],
  ...['validate', 'checkpoint', 'resume', 'signal', 'onStep'],
];

/**
 * Trains parameters by gradients of a loss, step by step, and tells what was measured. With a checkpoint to resume from it takes
 * the same course, bit for bit, as without the interruption, on any number of threads.
 *
 * @throws {ParameterError} options that are none; a batch that takes more memory than there is, before the first step; a checkpoint of another training
 * @throws {SaccadeError} a loss or a gradient that is not finite: which op made it, and the parameters are those before the step
 */
export async function train<Batch>(options: TrainOptions<Batch>): Promise<TrainingHistory> {
  const runtime = checkAll(options);
  const { parameters, optimizer, loss, batches, steps, schedule, validate, checkpoint, resume, signal, onStep } =
    options;
  const { clip = Number.POSITIVE_INFINITY, accumulate = 1 } = options;
  const settings = { optimizer: optimizer.name, accumulate, ...checkpoint?.settings };
  const history = {
    losses: [] as number[],
    gradientNorms: [] as number[],
    validation: [] as { steps: number; loss: number }[],
  };
  if (resume !== undefined) {
    const found = readCheckpoint(resume);
    restore(found, { parameters, optimizer, settings });
    for (const name of ['losses', 'gradientNorms'] as const) history[name].push(...found.history[name]);
    history.validation.push(...found.history.validation);
  }
  const first = optimizer.steps;
  /** Steps that the last checkpoint has. */
  let kept = first;

  try {
    // What ended within a validation goes on with it.
    if (resume !== undefined && (await validated()) !== undefined) await save('last');
    while (optimizer.steps < steps) {
      const start = performance.now();
      const { loss, gradientNorm } = await take(optimizer.steps);
      const validation = await validated();
      if (checkpoint && isDue(checkpoint.every)) await save('last');
      const milliseconds = performance.now() - start;
      await onStep?.({ step: optimizer.steps, loss, gradientNorm, milliseconds, validation });
    }
  } catch (error) {
    const taken = history.losses.length;
    if (taken > kept && taken === optimizer.steps)
      await save('last').catch((fault) => {
        throw signal?.aborted ? fault : error;
      });
    throw error;
  }
  return history;

  /** Small calls are over at once, so that without this no event would be handled, nor an abort heard. */
  async function listen(): Promise<void> {
    await nextTurn();
    signal?.throwIfAborted();
  }

  function isDue(every: number): boolean {
    return optimizer.steps % every === 0 || optimizer.steps === steps;
  }

  async function save(name: 'last' | 'best'): Promise<void> {
    if (!checkpoint) return;
    const [ofParameters, state] = [await hostsOf(parameters), await hostsOf(optimizer.state)];
    const file = writeCheckpoint({ steps: optimizer.steps, settings, history, parameters: ofParameters, state });
    await checkpoint.save(name, file, optimizer.steps);
    if (name === 'last') kept = optimizer.steps;
  }

  /** Step `at`, from 0. */
  async function take(at: number): Promise<Pick<TrainingStep, 'loss' | 'gradientNorm'>> {
    const rate = schedule?.(at);
    checkNoPromise('schedule', rate);
    const { gradients, loss, norm } = await gradientsOf(at);
    try {
      optimizer.step(gradients, { scale: Math.min(1, clip / norm) / accumulate, rate });
    } finally {
      disposeAll(gradients);
    }
    history.losses.push(loss);
    history.gradientNorms.push(norm);
    return { loss, gradientNorm: norm };
  }

  /** The validation loss, where it is due and not known; it is known once the best parameters are kept. */
  async function validated(): Promise<number | undefined> {
    const { steps: at } = optimizer;
    const { validation } = history;
    if (!validate || at === 0 || !isDue(validate.every) || validation.at(-1)?.steps === at) return undefined;
    const loss = await validationLoss(validate);
    const isBest = validation.every((before) => loss < before.loss);
    validation.push({ steps: at, loss });
    if (isBest)
      await save('best').catch((error) => {
        validation.pop();
        throw error;
      });
    return loss;
  }

  /** The sum of the gradients of a step's batches, the norm of their mean, and the mean loss. */
  async function gradientsOf(step: number) {
    let gradients: Record<string, Tensor> | undefined;
    let sum = 0;
    try {
      for (let each = 0; each < accumulate; each++) {
        await listen();
        const number = step * accumulate + each;
        const batch = await batches(number);
        try {
          if (number === first * accumulate) checkRoom(batch);
          const call = () => differentiate((tracked) => loss(tracked, batch), parameters, { signal });
          const found = call();
          const before = gradients;
          gradients = before ? summed(before, found.gradients) : { ...found.gradients };
          using ofBatch = found.loss;
          using norm = globalNorm(gradients);
          const [value, length] = [(await ofBatch.read())[0] as number, (await norm.read())[0] as number];
          sum += value;
          if (!Number.isFinite(value) || !Number.isFinite(length)) throw await explained(step, value, batch, call);
          if (each === accumulate - 1) return { gradients, loss: sum / accumulate, norm: length / accumulate };
        } finally {
          disposeAll(batch);
        }
      }
    } catch (error) {
      disposeAll(gradients);
      throw error;
    }
    throw new Error('there is at least one batch');
  }

  async function explained(step: number, value: number, batch: Batch, call: () => unknown): Promise<SaccadeError> {
    const what = Number.isFinite(value) ? 'a gradient of it is not finite' : `it is ${value}`;
    const where = await firstNotFinite(runtime, { parameters, batch }, call);
    return new SaccadeError(
      `the loss of step ${step + 1} is of no use, ${what}: ${where ?? 'its square is beyond f32'}`,
    );
  }

  function checkRoom(batch: Batch): void {
    const { mostBytes = Number.POSITIVE_INFINITY, name } = runtime.backend;
    const work = (own: { parameters: Parameters; batch: Batch }) =>
      differentiate((tracked) => loss(tracked, own.batch), own.parameters);
    const needed = bytesOfWork(name, { parameters, batch }, work) ?? 0;
    const { live } = runtime.memory();
    if (live + needed > mostBytes)
      throw new ParameterError(
        `a step on one of the batches needs about ${formatBytes(needed)} beside the ${formatBytes(live)} that are held, and there are ${formatBytes(mostBytes)}: make them smaller, and accumulate more of them`,
      );
  }

  async function validationLoss({ count, batches }: ValidateOptions<Batch>): Promise<number> {
    let sum = 0;
    for (let at = 0; at < count; at++) {
      await listen();
      const batch = await batches(at);
      try {
        using value = runtime.scope(() => loss(parameters, batch));
        sum += (await value.read())[0] as number;
      } finally {
        disposeAll(batch);
      }
    }
    return sum / count;
  }
}

function checkAll<Batch>(options: TrainOptions<Batch>): Runtime {
  checkOptions('train', options, OPTIONS);
  const {
    parameters,
    optimizer,
    loss,
    batches,
    steps,
    schedule,
    clip,
    accumulate,
    validate,
    checkpoint,
    resume,
    signal,
    onStep,
  } = options;
  const runtime = checkParameters(parameters);
  if (typeof (optimizer as Optimizer | undefined)?.step !== 'function')
    throw new ParameterError(`optimizer must be one that adamw(), sgd() or muon() made, got ${show(optimizer)}`);
  checkFunction('loss', loss);
  checkFunction('batches', batches);
  checkWhole('steps', steps, 1);
  if (schedule !== undefined) checkFunction('schedule', schedule);
  if (clip !== undefined && !(typeof clip === 'number' && clip > 0))
    throw new ParameterError(`clip must be a number above 0, got ${show(clip)}`);
  if (accumulate !== undefined) checkWhole('accumulate', accumulate, 1);
  if (validate !== undefined) {
    checkOptions('validate', validate, ['every', 'count', 'batches']);
    checkWhole('every', validate.every, 1);
    checkWhole('count', validate.count, 1);
    checkFunction('batches of validate', validate.batches);
  }
  if (checkpoint !== undefined) {
    checkOptions('checkpoint', checkpoint, ['every', 'save', 'settings']);
    checkWhole('every', checkpoint.every, 1);
    checkFunction('save', checkpoint.save);
    if (checkpoint.settings !== undefined) checkSettings(checkpoint.settings);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new ParameterError(`signal must be an AbortSignal, got ${show(signal)}`);
  if (onStep !== undefined) checkFunction('onStep', onStep);
  if (checkpoint !== undefined && resume === undefined && optimizer.steps > 0)
    throw new ParameterError(
      `optimizer has taken ${optimizer.steps} steps, of which checkpoints would have no losses: give the one to resume from`,
    );
  return runtime;
}

/** Takes over both. */
function summed(a: Record<string, Tensor>, b: Parameters): Record<string, Tensor> {
  const names = Object.keys(a);
  const sums = map(
    (a, b) => a + b,
    names.map((name) => a[name] as Tensor),
    names.map((name) => b[name] as Tensor),
  );
  disposeAll(a);
  disposeAll(b);
  return Object.fromEntries(names.map((name, at) => [name, sums[at] as Tensor]));
}

function disposeAll(tensors: unknown): void {
  for (const each of tensorsIn(tensors)) each.dispose();
}

async function hostsOf(tensors: Parameters): Promise<Record<string, HostTensor>> {
  const hosts: Record<string, HostTensor> = {};
  for (const name in tensors) hosts[name] = await (tensors[name] as Tensor).toHost();
  return hosts;
}
