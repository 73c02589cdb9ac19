/** The loop of training. */
import { checkFunction, checkNoPromise, checkOptions, checkRecord, checkWhole, show } from '../check';
import { ParameterError, SaccadeError } from '../errors';
import type { FileBytes } from '../io/bytes';
import { nextTurn } from '../next-turn';
import { type ModuleControl, type TrainableParameters, TrainingPass } from '../nn';
import { checkTensors, commonRuntime } from '../ops/check';
import { contiguous } from '../ops/copy';
import { map } from '../ops/map/map';
import type { Runtime } from '../runtime/runtime';
import { differentiate } from '../tape';
import type { HostTensor } from '../tensor/host';
import { mapLeaves } from '../tensor/structure';
import { type Tensor, tensorsIn } from '../tensor/tensor';
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
  /** What is trained, by name; updated in place. */
  readonly parameters: TrainableParameters;
  /** Buffers of modules by name (`splitBuffers`): kept with the parameters, but not trained; updated in place. */
  readonly buffers?: TrainableParameters | undefined;
  readonly optimizer: Optimizer;
  /**
   * The mean loss over a batch, a tensor of one number, from ops on the parameters, with the buffers among them. Modules take
   * `control`, which tells training from validation. It returns no promise.
   */
  readonly loss: (parameters: TrainableParameters, batch: Batch, control: ModuleControl) => Tensor;
  /** The batch with this number, from 0, always the same one. Its tensors are disposed after use. */
  readonly batches: (index: number) => Batch | Promise<Batch>;
  /** The total number of steps. */
  readonly steps: number;
  /**
   * Sums tensors over ranks that train together, each on its share of every batch; then `loss` is the share of the mean loss that
   * is due to this rank, and all ranks take the same course. It may be called with tensors of another runtime, on which memory is
   * counted and nothing computed.
   */
  readonly sum?: ((tensors: readonly Tensor[]) => readonly Tensor[]) | undefined;
  /** The schedule of the learning rate; default: constant. */
  readonly schedule?: Schedule | undefined;
  /** The largest norm of the gradients, to which longer ones are scaled; default: none. */
  readonly clip?: number | undefined;
  /** Batches whose gradients are averaged in a step; default 1. */
  readonly accumulate?: number | undefined;
  /** The mean loss of `count` validation batches, every so many steps and after the last. */
  readonly validate?: ValidateOptions<Batch> | undefined;
  readonly checkpoint?: CheckpointOptions | undefined;
  /** The file of a checkpoint to go on from. */
  readonly resume?: FileBytes | undefined;
  /**
   * Stops the training at any point, after a checkpoint of the steps taken; `train` then rejects with its reason. With `sum` all ranks
   * stop after the same step, whichever of them it is that is told to.
   */
  readonly signal?: AbortSignal | undefined;
  /** Called after each step; the training waits for what it returns. */
  readonly onStep?: ((step: TrainingStep) => void | Promise<void>) | undefined;
}

export interface ValidateOptions<Batch> {
  readonly every: number;
  readonly count: number;
  readonly batches: (index: number) => Batch | Promise<Batch>;
}

export interface CheckpointOptions {
  /** Steps between checkpoints; there is also one after the last step and wherever the training ends early. */
  readonly every: number;
  /** Stores a file, replacing the one of that name: the last checkpoint, or the one with the least validation loss, after `steps`. */
  readonly save: (name: 'last' | 'best', file: Uint8Array, steps: number) => void | Promise<void>;
  /** Settings that a resumed training must share to continue as if uninterrupted. */
  readonly settings?: TrainingSettings | undefined;
}

/** The record of a step. */
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
  ...['parameters', 'buffers', 'optimizer', 'loss', 'batches', 'steps', 'sum', 'schedule', 'clip', 'accumulate'],
  ...['validate', 'checkpoint', 'resume', 'signal', 'onStep'],
];

/**
 * Trains parameters by gradients of a loss, step by step, and tells what was measured. With a checkpoint to resume from it takes
 * the same course, bit for bit, as without the interruption, on any number of threads.
 *
 * @throws {ParameterError} invalid options; a batch that takes more memory than there is, before the first step; a checkpoint of another training
 * @throws {SaccadeError} a loss or a gradient that is not finite: which op made it, and the parameters are those before the step
 */
export async function train<Batch>(options: TrainOptions<Batch>): Promise<TrainingHistory> {
  return await new Training(options, checkAll(options)).run();
}

class Training<Batch> {
  readonly #options: TrainOptions<Batch>;
  readonly #runtime: Runtime;
  readonly #settings: TrainingSettings;
  readonly #history = {
    losses: [] as number[],
    gradientNorms: [] as number[],
    validation: [] as { steps: number; loss: number }[],
  };
  /** Steps taken before this run. */
  readonly #first: number;
  /** Steps in the last checkpoint. */
  #kept: number;
  /** Whether any of several ranks was told to stop. */
  #isStopped = false;

  constructor(options: TrainOptions<Batch>, runtime: Runtime) {
    const { optimizer, accumulate = 1, checkpoint, resume } = options;
    this.#options = options;
    this.#runtime = runtime;
    this.#settings = { optimizer: optimizer.name, accumulate, ...checkpoint?.settings };
    if (resume !== undefined) {
      const found = readCheckpoint(resume);
      restore(found, { parameters: this.#all, optimizer, settings: this.#settings });
      for (const name of ['losses', 'gradientNorms'] as const) this.#history[name].push(...found.history[name]);
      this.#history.validation.push(...found.history.validation);
    }
    this.#first = this.#kept = optimizer.steps;
  }

  /** The parameters with the buffers among them. */
  get #all(): TrainableParameters {
    return { ...this.#options.parameters, ...this.#options.buffers };
  }

  async run(): Promise<TrainingHistory> {
    const { optimizer, resume, signal } = this.#options;
    try {
      // A run that ended during a validation first completes it.
      if (resume !== undefined && (await this.#validated()) !== undefined) await this.#save('last');
      while (optimizer.steps < this.#options.steps) {
        await this.#step();
        if (this.#isStopped)
          throw signal?.aborted ? signal.reason : new DOMException('another rank was stopped', 'AbortError');
      }
    } catch (error) {
      const taken = this.#history.losses.length;
      if (taken > this.#kept && taken === optimizer.steps)
        await this.#save('last').catch((fault) => {
          throw signal?.aborted ? fault : error;
        });
      throw error;
    }
    return this.#history;
  }

  /** A step, its validation and checkpoint where they are due, and its report. */
  async #step(): Promise<void> {
    const { optimizer, checkpoint, onStep } = this.#options;
    const start = performance.now();
    const { loss, gradientNorm } = await this.#update(optimizer.steps);
    const validation = await this.#validated();
    if (checkpoint && this.#isDue(checkpoint.every)) await this.#save('last');
    const milliseconds = performance.now() - start;
    await onStep?.({ step: optimizer.steps, loss, gradientNorm, milliseconds, validation });
  }

  /** Lets events through, such as an abort: small calls finish at once and would leave them no turn. */
  async #listen(): Promise<void> {
    await nextTurn();
    this.#signal?.throwIfAborted();
  }

  /** What stops this rank at once: nothing where others wait for it. */
  get #signal(): AbortSignal | undefined {
    return this.#options.sum ? undefined : this.#options.signal;
  }

  #isDue(every: number): boolean {
    const { optimizer, steps } = this.#options;
    return optimizer.steps % every === 0 || optimizer.steps === steps;
  }

  async #save(name: 'last' | 'best'): Promise<void> {
    const { optimizer, checkpoint } = this.#options;
    if (!checkpoint) return;
    const hosts = { parameters: await hostsOf(this.#all), state: await hostsOf(optimizer.state) };
    const file = writeCheckpoint({
      steps: optimizer.steps,
      settings: this.#settings,
      history: this.#history,
      ...hosts,
    });
    await checkpoint.save(name, file, optimizer.steps);
    if (name === 'last') this.#kept = optimizer.steps;
  }

  /** Updates the parameters and buffers by step `at`, from 0. */
  async #update(at: number): Promise<Pick<TrainingStep, 'loss' | 'gradientNorm'>> {
    const { buffers = {}, optimizer, schedule, clip = Number.POSITIVE_INFINITY, accumulate = 1 } = this.#options;
    const rate = schedule?.(at);
    checkNoPromise('schedule', rate);
    // Copies, so that a step that ends early leaves the buffers as they were.
    const next = mapLeaves(buffers, (buffer) => contiguous(buffer as Tensor));
    const made: unknown[] = [next];
    try {
      const { gradients, loss, norm } = await this.#gradientsOf(at, accumulate, next);
      made.push(gradients);
      optimizer.step(gradients, { scale: Math.min(1, clip / norm) / accumulate, rate });
      for (const name in buffers) contiguous(next[name] as Tensor, { out: buffers[name] as Tensor });
      this.#history.losses.push(loss);
      this.#history.gradientNorms.push(norm);
      return { loss, gradientNorm: norm };
    } finally {
      disposeAll(made);
    }
  }

  /** The validation loss, where it is due and not known; it is known once the best parameters are kept. */
  async #validated(): Promise<number | undefined> {
    const { validate, optimizer } = this.#options;
    const { validation } = this.#history;
    const { steps } = optimizer;
    if (!validate || steps === 0 || !this.#isDue(validate.every) || validation.at(-1)?.steps === steps)
      return undefined;
    const loss = await this.#validationLoss(validate);
    const isBest = validation.every((before) => loss < before.loss);
    validation.push({ steps, loss });
    if (isBest)
      await this.#save('best').catch((error) => {
        validation.pop();
        throw error;
      });
    return loss;
  }

  /** The sum of the gradients of a step's batches, the norm of their mean, and the mean loss; updates the buffers. */
  async #gradientsOf(step: number, accumulate: number, buffers: TrainableParameters) {
    let gradients: Record<string, Tensor> | undefined;
    let [sum, norm] = [0, 0];
    try {
      for (let each = 0; each < accumulate; each++) {
        await this.#listen();
        const number = step * accumulate + each;
        const batch = await this.#options.batches(number);
        const training = new TrainingPass(number);
        try {
          if (number === this.#first * accumulate) await this.#checkRoom(batch);
          const found = this.#differentiate(batch, buffers, training);
          const before = gradients;
          gradients = before ? summed(before, found.gradients) : { ...found.gradients };
          using lossTensor = found.loss;
          this.#isStopped ||= await this.#isAnyStopped();
          using normTensor = globalNorm(gradients);
          const [value, length] = [(await lossTensor.read())[0] as number, (await normTensor.read())[0] as number];
          if (!Number.isFinite(value) || !Number.isFinite(length))
            throw await this.#explained(step, value, { batch, buffers, training });
          training.apply(buffers);
          sum += value;
          norm = length / accumulate;
        } finally {
          training.dispose();
          disposeAll(batch);
        }
      }
    } catch (error) {
      disposeAll(gradients);
      throw error;
    }
    return { gradients: gradients as Record<string, Tensor>, loss: sum / accumulate, norm };
  }

  #differentiate(batch: Batch, buffers: TrainableParameters, training: TrainingPass) {
    const { parameters, loss, sum } = this.#options;
    const own = differentiate((tracked) => loss({ ...tracked, ...buffers }, batch, { training }), parameters, {
      signal: this.#signal,
    });
    return sum ? summedOver(sum, own) : own;
  }

  async #explained(
    step: number,
    value: number,
    { batch, buffers, training }: { batch: Batch; buffers: TrainableParameters; training: TrainingPass },
  ): Promise<SaccadeError> {
    const what = Number.isFinite(value) ? 'a gradient of it is not finite' : `it is ${value}`;
    const inputs = { parameters: { ...this.#options.parameters, ...buffers }, batch };
    const where = await firstNotFinite(this.#runtime, inputs, () => this.#differentiate(batch, buffers, training));
    return new SaccadeError(
      `the loss of step ${step + 1} is of no use, ${what}: ${where ?? 'its square is beyond f32'}`,
    );
  }

  /** Each rank has a heap of its own: all of them refuse if there is no room in one. */
  async #checkRoom(batch: Batch): Promise<void> {
    const { parameters, buffers = {}, loss, sum } = this.#options;
    const { mostBytes = Number.POSITIVE_INFINITY, name } = this.#runtime.backend;
    const work = (own: { parameters: TrainableParameters; buffers: TrainableParameters; batch: Batch }) => {
      const found = differentiate(
        (tracked) => loss({ ...tracked, ...own.buffers }, own.batch, { training: new TrainingPass() }),
        own.parameters,
      );
      return sum ? summedOver(sum, found) : found;
    };
    const own = bytesOfWork(name, { parameters, buffers, batch }, work) ?? 0;
    const held = this.#runtime.memory().live;
    const bytes = [own, held, mostBytes, Math.max(0, held + own - mostBytes)] as const;
    const [needed, live, most, lacking] = sum ? await this.#total(bytes) : bytes;
    if (lacking > 0)
      throw new ParameterError(
        `a step on one of the batches needs about ${formatBytes(needed)} beside the ${formatBytes(live)} that are held, and there are ${formatBytes(most)}${sum ? `, of all ranks together, some of which lack ${formatBytes(lacking)}` : ''}: make them smaller, and accumulate more of them`,
      );
  }

  /** Whether any of several ranks was told to stop, which all of them learn. */
  async #isAnyStopped(): Promise<boolean> {
    const { sum, signal } = this.#options;
    if (!sum) return false;
    const [told] = await this.#total([signal?.aborted ? 1 : 0] as const);
    return told > 0;
  }

  /** Sums of numbers over ranks. */
  async #total<Numbers extends readonly number[]>(numbers: Numbers): Promise<Numbers> {
    using own = this.#runtime.tensor([...numbers]);
    const [total] = (this.#options.sum as NonNullable<TrainOptions<Batch>['sum']>)([own]) as [Tensor];
    const sums = await total.read();
    total.dispose();
    return Array.from(sums, Number) as unknown as Numbers;
  }

  async #validationLoss({ count, batches }: ValidateOptions<Batch>): Promise<number> {
    const { loss, sum: sumOver = (tensors) => tensors } = this.#options;
    let sum = 0;
    for (let at = 0; at < count; at++) {
      await this.#listen();
      const batch = await batches(at);
      try {
        using value = this.#runtime.scope(() => sumOver([loss(this.#all, batch, {})])[0] as Tensor);
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
  const { optimizer, schedule, clip, accumulate, validate, checkpoint, signal, onStep } = options;
  const runtime = checkParameters(options.parameters);
  if (options.buffers !== undefined) checkBuffers(options.buffers, options.parameters);
  if (typeof (optimizer as Optimizer | undefined)?.step !== 'function')
    throw new ParameterError(`optimizer must be one that adamw(), sgd() or muon() made, got ${show(optimizer)}`);
  checkFunction('loss', options.loss);
  checkFunction('batches', options.batches);
  checkWhole('steps', options.steps, 1);
  if (options.sum !== undefined) checkFunction('sum', options.sum);
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
  if (checkpoint !== undefined && options.resume === undefined && optimizer.steps > 0)
    throw new ParameterError(
      `optimizer has taken ${optimizer.steps} steps, of which checkpoints would have no losses: give the one to resume from`,
    );
  return runtime;
}

/** Throws unless they are tensors of other names than the parameters, and with them on one runtime. */
function checkBuffers(buffers: TrainableParameters, parameters: TrainableParameters): void {
  checkRecord('buffers', buffers);
  const named = Object.entries(buffers).map(([name, each]) => [`buffers.${name}`, each] as const);
  checkTensors(Object.fromEntries(named));
  commonRuntime({ ...parameters, ...Object.fromEntries(named) });
  const twice = Object.keys(buffers).find((name) => Object.hasOwn(parameters, name));
  if (twice !== undefined) throw new ParameterError(`buffers.${twice} is among the parameters, too`);
}

/** A loss and its gradients, summed over ranks; those of this rank are disposed. */
function summedOver(
  sum: NonNullable<TrainOptions<unknown>['sum']>,
  { loss, gradients }: { readonly loss: Tensor; readonly gradients: TrainableParameters },
) {
  const own: Record<string, Tensor> = { ...gradients };
  const names = Object.keys(own);
  const given = [loss, ...names.map((name) => own[name] as Tensor)];
  const [total, ...sums] = sum(given) as [Tensor, ...Tensor[]];
  disposeAll(given);
  return { loss: total, gradients: Object.fromEntries(names.map((name, at) => [name, sums[at] as Tensor])) };
}

/** The sums of two sets of gradients, which are disposed. */
function summed(a: Record<string, Tensor>, b: TrainableParameters): Record<string, Tensor> {
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

async function hostsOf(tensors: TrainableParameters): Promise<Record<string, HostTensor>> {
  const hosts: Record<string, HostTensor> = {};
  for (const name in tensors) hosts[name] = await (tensors[name] as Tensor).toHost();
  return hosts;
}
