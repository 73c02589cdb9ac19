import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { ParameterError, ParseError } from '../errors';
import { writeSafetensors } from '../io';
import { peakRate } from '../measure/peak';
import { sampleTokens } from '../models/decoder/sample';
import { createRuntime } from '../ops/create-runtime';
import { lossSvg } from '../report/loss-curve';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { curveText } from '../text/curve';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { type Checkpoint, readCheckpoint, type TrainingHistory, type TrainingStep, train } from '../train';
import { lockFolder } from './lock-folder';
import { backendOption, threadsOption } from './options';
import { withProgress } from './progress';
import { readBytes } from './read-tensors';
import { OF_FILES, type Plan, planOfFiles, planOfText, SAMPLE, TEXT_OPTIONS, type TrainOptions } from './train-plan';
import { isStream, say, writeFileAtomic } from './write-file';

/** Options that only a training on a text takes: `every` and `optimizer` are for files too. */
const OF_TEXTS = Object.keys(TEXT_OPTIONS).filter((name) => name !== 'every' && name !== 'optimizer');
const LAST = 'last.safetensors';
/** The files that a training writes to its folder. */
const FILES = [LAST, 'best.safetensors', 'model.safetensors', 'config.json', 'tokenizer.json', 'log.json', 'loss.svg'];
/** The size of the curve in the terminal. */
const [COLUMNS, LINES] = [70, 8];

export function trainCommand(): Command {
  const command = new Command('train')
    .option('--out <folder>', 'where checkpoints and results go', 'trained')
    .option('--resume', 'go on from the last checkpoint in the folder');
  for (const { flags, help, take } of Object.values(TEXT_OPTIONS)) command.option<unknown>(flags, help, take);
  return command
    .addOption(new Option('--config <file>', 'with --tokens: the decoder, as a config.json').conflicts(OF_TEXTS))
    .addOption(new Option('--weights <file>', 'with --tokens: what it starts from').conflicts(OF_TEXTS))
    .addOption(new Option('--tokens <file>', 'tokens [steps, b, n + 1] to learn, in order').conflicts(OF_TEXTS))
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      `\nExamples:\n  $ saccade train --method power-attention --params '{"block": 16, "window": 2}' --text notes.txt\n  $ saccade train --method lightning-attention,attention --params '[{}, {"window": [63, 0]}]'\n  $ saccade train --resume\n  $ saccade train --config config.json --weights start.safetensors --tokens tokens.safetensors --optimizer '{"name": "adamw"}' --out trained`,
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
  const plan = OF_FILES.some((name) => options[name] !== undefined)
    ? await planOfFiles(runtime, options)
    : await planOfText(runtime, options, found?.settings ?? {});
  const { decoder, parameters, config, tokenizer, settings } = plan;
  const { make, clip } = plan.optimizer;
  using optimizer = make(parameters);
  const write = (name: string, data: Uint8Array | string) => writeFileAtomic(join(out, name), data);
  let [hasBegun, isDescribed] = [false, false];
  /** Writes what the tensors are when there is a first checkpoint. */
  const describe = async () => {
    if (isDescribed) return;
    isDescribed = true;
    if (tokenizer) await write('tokenizer.json', json(tokenizer.file));
    await write('config.json', json(config));
  };

  const course: number[] = [...(found?.history.losses ?? [])];
  let kept = course.length;
  let sample = '';
  const told = newFigures(plan, await peakRate(runtime));
  const history = await withProgress('training', ({ signal, onProgress }, showText) =>
    train({
      parameters,
      optimizer,
      clip,
      signal,
      resume,
      steps: plan.steps,
      batches: plan.batches,
      schedule: plan.schedule,
      validate: plan.validate,
      loss: (weights, { tokens, targets }) => decoder.loss(weights, tokens, targets),
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
        if (tokenizer && step.validation !== undefined) sample = await sampleOf(plan, runtime, step.step, signal);
        showText([curveText(course, COLUMNS, LINES), ...(sample ? [quoted(sample)] : [])].join('\n'));
      },
    }),
  ).catch((error) => {
    if (hasBegun || error.name === 'AbortError') process.stderr.write(`${whatIsKept(kept)}\n`);
    throw error;
  });

  const weights: Record<string, HostTensor> = {};
  for (const name in parameters) weights[name] = await (parameters[name] as Tensor).toHost();
  await describe();
  await write('model.safetensors', writeSafetensors(weights, { metadata: { format: 'pt' } }));
  const { losses, gradientNorms, validation } = history;
  await write('log.json', json({ losses, gradientNorms, ...(plan.validate && { validation }) }));
  await write('loss.svg', lossSvg(plan.title, history));
  await say(summary(plan.title, history, sample, out));
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
function newFigures({ flops, tokensOfBatch, steps }: Plan, peak: number | undefined) {
  let milliseconds = 0;
  return (step: TrainingStep): string => {
    milliseconds = milliseconds === 0 ? step.milliseconds : 0.9 * milliseconds + 0.1 * step.milliseconds;
    const seconds = Math.round(((steps - step.step) * milliseconds) / 1000);
    return [
      `loss ${significant(step.loss)}`,
      `${Math.round((1000 * tokensOfBatch) / milliseconds).toLocaleString('en')} tokens/s`,
      ...(peak === undefined ? [] : [`${formatPercent(flops / milliseconds / 1e6 / peak)} of peak`]),
      `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} left`,
    ].join(', ');
  };
}

async function sampleOf(
  { decoder, parameters, tokenizer, sampling }: Plan,
  runtime: Runtime,
  step: number,
  signal: AbortSignal,
): Promise<string> {
  if (!tokenizer || !sampling) return '';
  const { prompt, length, seed } = sampling;
  const { count, temperature } = SAMPLE;
  const own = { count, length, temperature, seed: seed + step, signal };
  const added = await sampleTokens(decoder, runtime, parameters, prompt, own);
  return tokenizer.decode([...prompt, ...added]);
}

const quoted = (text: string) => `“${printable(text.replace(/\s+/g, ' ').trim())}”`;

function summary(title: string, { losses, validation }: TrainingHistory, sample: string, out: string): string {
  const measured = validation.at(-1);
  const ofValidation = measured ? `, of validation ${significant(measured.loss)}` : '';
  return [
    title,
    curveText(losses, COLUMNS, LINES),
    `${losses.length} steps: loss ${significant(losses.at(-1) as number)}${ofValidation}`,
    ...(sample ? [quoted(sample)] : []),
    `Written: ${printable(out)}`,
  ].join('\n');
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
