/** A training that a plan describes: progress, checkpoints, files and what is said in the end. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Communicator, sumOver } from '../cluster';
import { ParameterError, ParseError } from '../errors';
import { writeSafetensors } from '../io';
import { peakRate } from '../measure/peak';
import { NO_TARGET } from '../models/decoder/landmarks';
import { lossOverRanks, type Parallel } from '../models/decoder/over-ranks';
import { createRuntime } from '../ops/create-runtime';
import { lossSvg } from '../report/loss-curve';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { curveText } from '../text/curve';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import {
  type Checkpoint,
  readCheckpoint,
  type TrainingHistory,
  type TrainingSettings,
  type TrainingStep,
  train,
} from '../train';
import { lockFolder } from './lock-folder';
import { withProgress } from './progress';
import { readBytes } from './read-tensors';
import { OF_FILES, ONLY_OF_PICTURES, type TrainOptions } from './train-options';
import { planOfPictures } from './train-pictures';
import { type Plan, planOfFiles, planOfText } from './train-plan';
import { planOfRegions } from './train-regions';
import { isStream, writeFileAtomic } from './write-file';

const LAST = 'last.safetensors';
/** The files that a training writes to its folder. */
const FILES = [LAST, 'best.safetensors', 'model.safetensors', 'config.json', 'tokenizer.json', 'log.json', 'loss.svg'];
/** The size of the curve in the terminal. */
const [COLUMNS, LINES] = [70, 8];

/**
 * Trains, on this machine or as one of several ranks, of which the first writes the files; returns what to say in the end. `stop` ends it
 * from the start on.
 */
export async function training(
  options: TrainOptions & { readonly parallel?: Parallel },
  communicator?: Communicator,
  stop?: AbortSignal,
): Promise<string> {
  const { out, resume: resumes, backend, threads, parallel = 'data' } = options;
  const isFirst = !communicator || communicator.rank === 0;
  using _ = isFirst ? lockFolder(out) : undefined;
  const resume = resumes ? await readBytes(join(out, LAST)) : undefined;
  if (!resumes && isFirst) await checkNoTraining(out);
  const found = resume && checkpointOf(out, resume);
  using own = communicator
    ? undefined
    : await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const runtime = communicator?.runtime ?? (own as Runtime);
  const plan = await planOf(runtime, options, found?.settings ?? {});
  const { parameters, buffers, settings } = plan;
  const { make, clip } = plan.optimizer;
  using optimizer = make(parameters);
  const shared = communicator && { loss: lossOnRank(plan, communicator, parallel), sum: sumOver(communicator) };
  const write = async (name: string, data: Uint8Array | string) => {
    if (isFirst) await writeFileAtomic(join(out, name), data);
  };
  let [hasBegun, isDescribed] = [false, false];
  /** Writes what the tensors are when there is a first checkpoint. */
  const describe = async () => {
    if (isDescribed) return;
    isDescribed = true;
    for (const [name, content] of Object.entries(plan.files)) await write(name, json(content));
  };

  const course: number[] = [...(found?.history.losses ?? [])];
  let kept = course.length;
  let sample = '';
  const progress = isFirst ? withProgress : quietly;
  const told = newFigures(plan, await peakRate(runtime));
  const history = await progress('training', ({ signal, onProgress }, showText) =>
    train({
      parameters,
      buffers,
      optimizer,
      clip,
      signal: stop ?? signal,
      resume,
      steps: plan.steps,
      batches: plan.batches,
      schedule: plan.schedule,
      validate: plan.validate,
      loss: plan.loss,
      ...shared,
      checkpoint: {
        every: plan.every,
        settings,
        async save(name, file, steps) {
          hasBegun = true;
          await write(`${name}.safetensors`, file);
          if (name === 'last') kept = steps;
          await describe();
        },
      },
      async onStep(step) {
        hasBegun = true;
        course.push(step.loss);
        onProgress(step.step / plan.steps, told(step));
        if (isFirst && plan.sample && step.validation !== undefined) sample = await plan.sample(step.step, signal);
        showText([curveText(course, COLUMNS, LINES), ...(sample ? [quoted(sample)] : [])].join('\n'));
      },
    }),
  ).catch(async (error) => {
    const isStopped = error.name === 'AbortError';
    // The first rank has written the checkpoint when others end.
    if (isStopped) await communicator?.barrier();
    if (isFirst && (hasBegun || isStopped)) process.stderr.write(`${whatIsKept(kept)}\n`);
    throw error;
  });

  const evaluate = plan.evaluate;
  const quality = evaluate && (await progress('testing', ({ signal }) => evaluate(signal)));
  const weights: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries({ ...parameters, ...buffers }))
    weights[name] = await (tensor as Tensor).toHost();
  await describe();
  await write('model.safetensors', writeSafetensors(weights, { metadata: { format: 'pt' } }));
  const { losses, gradientNorms, validation } = history;
  await write('log.json', json({ losses, gradientNorms, ...(plan.validate && { validation }), ...quality?.log }));
  await write('loss.svg', lossSvg(plan.title, history));
  return summary(plan.title, history, [...(sample ? [quoted(sample)] : []), ...(quality ? [quality.text] : [])], out);
}

/** Does some work of which nothing is shown. */
const quietly: typeof withProgress = (_, work) =>
  work({ signal: new AbortController().signal, onProgress: () => {} }, () => {});

/** The loss of a rank. @throws {ParameterError} a training that ranks cannot share */
function lossOnRank({ decoder }: Plan, communicator: Communicator, parallel: Parallel): Plan['loss'] {
  if (!decoder) throw new ParameterError('--ranks is for trainings of decoders, without --distill: leave it out');
  const loss = lossOverRanks(decoder, communicator, parallel);
  const ignore = decoder.landmarks ? NO_TARGET : undefined;
  return (parameters, { tokens, targets, positions }, { training }) =>
    loss(parameters, { tokens: tokens as Tensor, targets: targets as Tensor, positions }, { ignore, training });
}

/** What is asked for, or what the checkpoint is of. */
function planOf(runtime: Runtime, options: TrainOptions, remembered: TrainingSettings): Promise<Plan> {
  if ((options.task ?? remembered.task) === 'regions') {
    if (options.model !== undefined)
      throw new ParameterError('--model must be left out: regions have a model of their own');
    return planOfRegions(runtime, options, remembered);
  }
  if (options.model !== undefined || 'model' in remembered) return planOfPictures(runtime, options, remembered);
  const only = ONLY_OF_PICTURES.find((name) => options[name as keyof TrainOptions] !== undefined);
  if (only) throw new ParameterError(`--${only} is of trainings on pictures: name a model by --model`);
  return OF_FILES.some((name) => options[name] !== undefined)
    ? planOfFiles(runtime, options)
    : planOfText(runtime, options, remembered);
}

/** Throws if a folder holds files that a training would replace; streams are not replaced. */
async function checkNoTraining(folder: string): Promise<void> {
  for (const name of FILES) {
    const path = join(folder, name);
    if (!existsSync(path) || (await isStream(path))) continue;
    const remedy = name === LAST ? '--resume goes on with that training' : 'delete it';
    throw new ParameterError(`'${folder}' holds ${name} already: ${remedy}, or name another folder by --out`);
  }
}

function checkpointOf(folder: string, file: Uint8Array): Checkpoint {
  try {
    return readCheckpoint(file);
  } catch (error) {
    if (error instanceof ParseError) throw new ParseError(`${join(folder, LAST)}: ${error.message}`);
    throw error;
  }
}

function whatIsKept(steps: number): string {
  return steps > 0
    ? `kept up to step ${steps}: --resume goes on from there`
    : 'no step was kept: there is no checkpoint';
}

/** What the progress bar shows in addition to the share of the steps. */
function newFigures({ flops, unit, unitsOfBatch, steps }: Plan, peak: number | undefined) {
  let milliseconds = 0;
  return (step: TrainingStep): string => {
    milliseconds = milliseconds === 0 ? step.milliseconds : 0.9 * milliseconds + 0.1 * step.milliseconds;
    const seconds = Math.round(((steps - step.step) * milliseconds) / 1000);
    return [
      `loss ${significant(step.loss)}`,
      `${Math.round((1000 * unitsOfBatch) / milliseconds).toLocaleString('en')} ${unit}/s`,
      ...(peak === undefined || flops === undefined
        ? []
        : [`${formatPercent(flops / milliseconds / 1e6 / peak)} of peak`]),
      `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} left`,
    ].join(', ');
  };
}

const quoted = (text: string) => `“${printable(text.replace(/\s+/g, ' ').trim())}”`;

function summary(title: string, { losses, validation }: TrainingHistory, more: readonly string[], out: string): string {
  const measured = validation.at(-1);
  const ofValidation = measured ? `, of validation ${significant(measured.loss)}` : '';
  return [
    title,
    curveText(losses, COLUMNS, LINES),
    `${losses.length} steps: loss ${significant(losses.at(-1) as number)}${ofValidation}`,
    ...more,
    `Written: ${printable(out)}`,
  ].join('\n');
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
