/** What `anomaly` takes, and its checks. */
import { checkArray, checkChoices, checkKnown, checkRecord, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import type { Runtime } from '../../runtime/runtime';
import { formatShape, sameShape } from '../../tensor/shape';
import { Tensor } from '../../tensor/tensor';
import { checkRuntime } from '../check-runtime';
import { ARMS, type ArmName } from './arms';
import type { CloudClass, CloudSample } from './data';
import type { Encoder } from './encode';
import { POINT_MAE, pointMaeParameters } from './point-mae';

export interface AnomalySettings {
  readonly arms: readonly ArmName[];
  /** How many tasks, or the names of the classes of each. */
  readonly tasks: number | readonly (readonly string[])[];
  readonly seeds: number;
  /** Steps of a task, and clouds of a step. */
  readonly steps: number;
  readonly batch: number;
  /** How often each cloud is learned from, grouped anew. */
  readonly views: number;
  /** Random features of kernel attention, in the frozen network and in the one that learns. */
  readonly features: number;
}

const COUNTS = ['seeds', 'steps', 'batch', 'views', 'features'] as const;
const SETTINGS = ['arms', 'tasks', ...COUNTS];

export function checkAnomaly(
  runtime: Runtime,
  encoder: Encoder,
  classes: readonly CloudClass[],
  settings: AnomalySettings,
): void {
  checkEncoder(runtime, encoder);
  checkArray('classes', classes);
  if (classes.length === 0) throw new ParameterError('classes must be one at least, got none');
  for (const [at, each] of classes.entries()) checkClass(`classes[${at}]`, each);
  checkKnown('settings', settings, SETTINGS, (name) => `anomaly has no setting '${name}'`);
  const { arms, tasks } = settings;
  checkChoices('arms of settings', arms, ARMS);
  for (const name of COUNTS) checkWhole(`${name} of settings`, settings[name], 1);
  if (typeof tasks === 'number') checkWhole('tasks of settings', tasks, 1);
  else {
    checkArray('tasks of settings', tasks);
    for (const [at, task] of tasks.entries()) checkArray(`tasks[${at}] of settings`, task);
  }
}

function checkClass(where: string, given: CloudClass): void {
  checkKnown(where, given, ['name', 'learned', 'unseen'], (key) => `${where} has no '${key}'`);
  const { name, learned, unseen } = given;
  if (typeof name !== 'string') throw new ParameterError(`name of ${where} must be a string, got ${show(name)}`);
  for (const [part, samples] of Object.entries({ learned, unseen })) {
    checkArray(`${part} of ${where}`, samples);
    for (const [at, sample] of samples.entries()) checkSample(`${part}[${at}] of ${where}`, sample);
  }
  if (learned.length === 0) throw new ParameterError(`class ${name} has no clouds to learn from`);
}

/** Throws unless the encoder is as `loadPointMae` makes one, on this runtime. */
export function checkEncoder(runtime: Runtime, encoder: Encoder): void {
  checkRuntime(runtime);
  checkKnown('encoder', encoder, ['config', 'parameters', 'kernel', 'standard'], (key) => `encoder has no '${key}'`);
  const { config, parameters } = encoder;
  checkKnown('config of encoder', config, Object.keys(POINT_MAE), (key) => `config of encoder has no '${key}'`);
  for (const [name, value] of Object.entries(POINT_MAE))
    if (Number.isInteger(value)) checkWhole(`${name} of config of encoder`, config[name as 'width'], 1);
  checkRecord('parameters of encoder', parameters);
  for (const [name, { shape }] of Object.entries(pointMaeParameters(config))) {
    const tensor = parameters[name];
    if (!(tensor instanceof Tensor && tensor.runtime === runtime && sameShape(tensor.shape, shape)))
      throw new ParameterError(
        `parameters of encoder must have a tensor '${name}' ${formatShape(shape)} of this runtime, got ${show(tensor)}`,
      );
  }
}

export function checkSample(where: string, sample: CloudSample): void {
  checkKnown(where, sample, ['name', 'points', 'labels', 'defect'], (key) => `${where} has no '${key}'`);
  const { points, labels } = sample;
  if (!(points instanceof Float32Array) || points.length === 0 || points.length % 3 !== 0)
    throw new ParameterError(`points of ${where} must be a Float32Array of [n, 3], got ${show(points)}`);
  const count = points.length / 3;
  if (labels !== undefined && !(labels instanceof Uint8Array && labels.length === count))
    throw new ParameterError(`labels of ${where} must be a Uint8Array of ${count}, its points', got ${show(labels)}`);
}
