import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { ParameterError, ParseError } from '../errors';
import { writeSafetensors } from '../io';
import { peakRate } from '../measure/peak';
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
import { backendOption, threadsOption } from './options';
import { withProgress } from './progress';
import { readBytes } from './read-tensors';
import { OF_FILES, PICTURE_OPTIONS, TEXT_OPTIONS, type TrainOptions } from './train-options';
import { planOfPictures } from './train-pictures';
import { type Plan, planOfFiles, planOfText } from './train-plan';
import { planOfRegions } from './train-regions';
import { isStream, say, writeFileAtomic } from './write-file';

/** Options that only trainings on texts or pictures take: `every`, `optimizer` and `weights` are for files too. */
const NOT_OF_FILES = Object.keys({ ...TEXT_OPTIONS, ...PICTURE_OPTIONS }).filter(
  (name) => !['every', 'optimizer', 'weights'].includes(name),
);
const ONLY_OF_TEXTS = Object.keys(TEXT_OPTIONS).filter((name) => !Object.hasOwn(PICTURE_OPTIONS, name));
const ONLY_OF_PICTURES = Object.keys(PICTURE_OPTIONS).filter(
  (name) => name !== 'weights' && !Object.hasOwn(TEXT_OPTIONS, name),
);
const LAST = 'last.safetensors';
/** The files that a training writes to its folder. */
const FILES = [LAST, 'best.safetensors', 'model.safetensors', 'config.json', 'tokenizer.json', 'log.json', 'loss.svg'];
/** The size of the curve in the terminal. */
const [COLUMNS, LINES] = [70, 8];

export function trainCommand(): Command {
  const command = new Command('train')
    .option('--out <folder>', 'where checkpoints and results go', 'trained')
    .option('--resume', 'go on from the last checkpoint in the folder');
  for (const [name, { flags, help, take }] of Object.entries({ ...PICTURE_OPTIONS, ...TEXT_OPTIONS })) {
    const option = new Option(flags, help).argParser<unknown>(take);
    command.addOption(name === 'model' ? option.conflicts(ONLY_OF_TEXTS) : option);
  }
  return command
    .addOption(new Option('--config <file>', 'with --tokens: the decoder, as a config.json').conflicts(NOT_OF_FILES))
    .addOption(new Option('--tokens <file>', 'tokens [steps, b, n + 1] to learn, in order').conflicts(NOT_OF_FILES))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      `\nExamples:\n  $ saccade train --method power-attention --params '{"block": 16, "window": 2}' --text notes.txt\n  $ saccade train --method lightning-attention,attention --params '[{}, {"window": [63, 0]}]'\n  $ saccade train --resume\n  $ saccade train --config config.json --weights start.safetensors --tokens tokens.safetensors --optimizer '{"name": "adamw"}' --out trained\n  $ saccade train --model van --params '{"variant": "mini"}' --data fashion-mnist\n  $ saccade train --model van --weights trained --freeze features --data photographs --out tuned`,
    )
    .action(runTraining);
}

async function runTraining(options: TrainOptions): Promise<void> {
  const { out, resume: resumes, backend, threads } = options;
  using _ = lockFolder(out);
  const resume = resumes ? await readBytes(join(out, LAST)) : undefined;
  if (!resumes) await checkNoTraining(out);
  const found = resume && checkpointOf(out, resume);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const plan = await planOf(runtime, options, found?.settings ?? {});
  const { parameters, buffers, settings } = plan;
  const { make, clip } = plan.optimizer;
  using optimizer = make(parameters);
  const write = (name: string, data: Uint8Array | string) => writeFileAtomic(join(out, name), data);
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
  const told = newFigures(plan, await peakRate(runtime));
  const history = await withProgress('training', ({ signal, onProgress }, showText) =>
    train({
      parameters,
      buffers,
      optimizer,
      clip,
      signal,
      resume,
      steps: plan.steps,
      batches: plan.batches,
      schedule: plan.schedule,
      validate: plan.validate,
      loss: plan.loss,
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
        if (plan.sample && step.validation !== undefined) sample = await plan.sample(step.step, signal);
        showText([curveText(course, COLUMNS, LINES), ...(sample ? [quoted(sample)] : [])].join('\n'));
      },
    }),
  ).catch((error) => {
    if (hasBegun || error.name === 'AbortError') process.stderr.write(`${whatIsKept(kept)}\n`);
    throw error;
  });

  const evaluate = plan.evaluate;
  const quality = evaluate && (await withProgress('testing', ({ signal }) => evaluate(signal)));
  const weights: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries({ ...parameters, ...buffers }))
    weights[name] = await (tensor as Tensor).toHost();
  await describe();
  await write('model.safetensors', writeSafetensors(weights, { metadata: { format: 'pt' } }));
  const { losses, gradientNorms, validation } = history;
  await write('log.json', json({ losses, gradientNorms, ...(plan.validate && { validation }), ...quality?.log }));
  await write('loss.svg', lossSvg(plan.title, history));
  await say(
    summary(plan.title, history, [...(sample ? [quoted(sample)] : []), ...(quality ? [quality.text] : [])], out),
  );
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
