/** Checkpoints of a training, in one safetensors file. They lie between two steps, so no gradient is half summed in them. */
import { isRecord, show } from '../check';
import { DTypeError, ParameterError, ParseError, ShapeError } from '../errors';
import { readSafetensors, readSafetensorsMetadata, writeSafetensors } from '../io';
import type { FileBytes } from '../io/bytes';
import { partOf, prefixed, type TrainableParameters } from '../nn';
import { contiguous } from '../ops/copy';
import type { DType } from '../tensor/dtype';
import { type HostTensor, hostTensor } from '../tensor/host';
import { formatShape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import type { Optimizer } from './optimizer';
import { PARAMETERS, STATE } from './parameters-in';

/** The measurements of each step, and of validations. */
export interface TrainingHistory {
  /** The loss of each step's batches, before its update. */
  readonly losses: readonly number[];
  /** The norm of each step's gradients. */
  readonly gradientNorms: readonly number[];
  /** The number of steps after which it was measured. */
  readonly validation: readonly { readonly steps: number; readonly loss: number }[];
}

/** Must be the same to resume: seeds, the data, numbers of the optimizer, and anything else. */
export type TrainingSettings = Readonly<Record<string, string | number | boolean>>;

/** The contents of a checkpoint's file. */
export interface Checkpoint {
  /** Steps taken, from which the place in the data and in the schedule follows. */
  readonly steps: number;
  readonly settings: TrainingSettings;
  readonly history: TrainingHistory;
  readonly parameters: Readonly<Record<string, HostTensor>>;
  /** The optimizer's state. */
  readonly state: Readonly<Record<string, HostTensor>>;
}

const FORMAT = 'saccade training';
const VERSION = '1';

/** The file of a checkpoint; the same one gives the same bytes. */
export function writeCheckpoint({ steps, settings, history, parameters, state }: Checkpoint): Uint8Array {
  const { losses, gradientNorms, validation } = history;
  const numbers = (values: readonly number[], shape: number[]) => hostTensor(values, shape, 'f64');
  const metadata = { format: FORMAT, version: VERSION, steps: String(steps), settings: JSON.stringify(settings) };
  return writeSafetensors(
    {
      ...prefixed(parameters, PARAMETERS),
      ...prefixed(state, STATE),
      losses: numbers(losses, [losses.length]),
      gradientNorms: numbers(gradientNorms, [gradientNorms.length]),
      validation: numbers(
        validation.flatMap(({ steps, loss }) => [steps, loss]),
        [validation.length, 2],
      ),
    },
    { metadata },
  );
}

/** @throws {ParseError} a file that is no checkpoint, or one of another version */
export function readCheckpoint(file: FileBytes): Checkpoint {
  const { format, version, ...metadata } = readSafetensorsMetadata(file);
  if (format !== FORMAT) throw new ParseError('checkpoint: the file holds tensors, but training did not write it');
  if (version !== VERSION)
    throw new ParseError(`checkpoint: expected version ${VERSION}, got ${show(version)}: another Saccade wrote it`);
  const altered = (what: string) => new ParseError(`checkpoint: ${what}: the file was altered`);
  const tensors = readSafetensors(file);
  const steps = Number(metadata.steps);
  const settings = parsed(metadata.settings);
  if (!settings) throw altered('its settings are none');
  const numbers = (name: string, shape: readonly number[]): Float64Array => {
    const found = tensors[name];
    if (found?.dtype !== 'f64' || !sameShape(found.shape, shape))
      throw altered(`${name} must be f64 of shape ${formatShape(shape)}, as its ${steps} steps say`);
    return found.data as Float64Array;
  };
  const [losses, gradientNorms] = [numbers('losses', [steps]), numbers('gradientNorms', [steps])];
  const count = tensors.validation?.shape[0] ?? 0;
  const validation = numbers('validation', [count, 2]);
  return {
    steps,
    settings,
    history: {
      losses: [...losses],
      gradientNorms: [...gradientNorms],
      validation: Array.from({ length: count }, (_, at) => ({
        steps: validation[2 * at] as number,
        loss: validation[2 * at + 1] as number,
      })),
    },
    parameters: partOf(tensors, PARAMETERS),
    state: partOf(tensors, STATE),
  };
}

function parsed(settings = ''): TrainingSettings | undefined {
  try {
    const value = JSON.parse(settings);
    checkSettings(value);
    return value;
  } catch {
    return undefined;
  }
}

export function checkSettings(settings: TrainingSettings): void {
  if (!isRecord(settings)) throw new ParameterError(`settings must be an object, got ${show(settings)}`);
  for (const [name, value] of Object.entries(settings))
    if (!['string', 'boolean'].includes(typeof value) && !Number.isFinite(value))
      throw new ParameterError(`settings.${name} must be a text, a finite number, true or false, got ${show(value)}`);
}

/**
 * Puts what a checkpoint holds into parameters and an optimiser.
 *
 * @throws {ParameterError | ShapeError | DTypeError} those of another model, optimiser or training; nothing has changed then
 */
export function restore(
  checkpoint: Checkpoint,
  to: { readonly parameters: TrainableParameters; readonly optimizer: Optimizer; readonly settings: TrainingSettings },
): void {
  for (const name of new Set([...Object.keys(checkpoint.settings), ...Object.keys(to.settings)])) {
    const [was, is] = [checkpoint.settings[name], to.settings[name]];
    if (was !== is)
      throw new ParameterError(`settings.${name} of the checkpoint is ${show(was)}, that of this training ${show(is)}`);
  }
  const pairs = [
    ...pairsOf('parameter', checkpoint.parameters, to.parameters),
    ...pairsOf('state of the optimiser', checkpoint.state, to.optimizer.state),
  ];
  for (const [host, target] of pairs) {
    using tensor = target.runtime.fromHost(host);
    contiguous(tensor, { out: target });
  }
  to.optimizer.steps = checkpoint.steps;
}

function pairsOf(
  what: string,
  hosts: Checkpoint['parameters'],
  targets: TrainableParameters,
): [HostTensor<DType>, Tensor][] {
  for (const name in hosts)
    if (!targets[name]) throw new ParameterError(`the checkpoint has a ${what} '${name}' too many`);
  return Object.entries(targets).map(([name, target]) => {
    const host = hosts[name];
    if (!host) throw new ParameterError(`the checkpoint has no ${what} '${name}'`);
    if (!sameShape(host.shape, target.shape))
      throw new ShapeError(
        `${name} must have shape ${formatShape(target.shape)}, in the checkpoint it has ${formatShape(host.shape)}`,
      );
    if (host.dtype !== target.dtype)
      throw new DTypeError(`${name} must be ${target.dtype}, in the checkpoint it is ${host.dtype}`);
    return [host as HostTensor<DType>, target];
  });
}
