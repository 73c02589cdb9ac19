import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { writeSafetensors } from '../io';
import { peakRate } from '../measure/peak';
import { sampleTokens } from '../models/decoder/sample';
import { lossSvg } from '../report/loss-curve';
import { createRuntime, type Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { curveText } from '../text/curve';
import { formatPercent, significant } from '../text/format';
import { printable } from '../text/printable';
import { readCheckpoint, type TrainingHistory, type TrainingStep, train } from '../train';
import { backendOption, paramsOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { readBytes } from './read-tensors';
import { DEFAULTS, OF_FILES, type Plan, planOfFiles, planOfText, SAMPLE, type TrainOptions } from './train-plan';
import { say, writeFileAtomic } from './write-file';

/** That only texts have a use for. */
const OF_TEXTS = [
  'method',
  'params',
  'text',
  'vocabulary',
  'steps',
  'length',
  'batch',
  'layers',
  'width',
  'heads',
  'seed',
];
/** Of the curve in the terminal. */
const [COLUMNS, LINES] = [70, 8];

export function trainCommand(): Command {
  const { steps, length, batch, layers, width, heads, every, seed } = DEFAULTS;
  return new Command('train')
    .description('train a decoder whose attention is any causal method')
    .option('--out <folder>', 'where checkpoints and results go', 'trained')
    .option('--resume', 'go on from the last checkpoint in the folder')
    .option('--method <names>', 'the attention, or several by commas, which layers take in turn; default: attention')
    .addOption(paramsOption())
    .option('--text <file>', 'text to learn, in UTF-8; default: Moby Dick')
    .option('--vocabulary <size>', "'characters', or how many byte-pair tokens; default: characters", parseVocabulary)
    .option('--steps <count>', `batches to learn from; default: ${steps}`, wholeNumber(1, 1e9))
    .option('--length <tokens>', `tokens that it sees at once; default: ${length}`, wholeNumber(1, 2 ** 20))
    .option('--batch <rows>', `texts of that length in a batch; default: ${batch}`, wholeNumber(1, 2 ** 20))
    .option('--layers <count>', `default: ${layers}`, wholeNumber(1, 1024))
    .option('--width <numbers>', `of each token in a layer; default: ${width}`, wholeNumber(1, 2 ** 16))
    .option('--heads <count>', `of each layer; default: ${heads}`, wholeNumber(1, 1024))
    .option('--seed <number>', `of weights, order and samples; default: ${seed}`, wholeNumber(0, 2 ** 31))
    .option('--optimizer <json>', 'adamw, sgd or muon with its numbers, and clip')
    .option('--every <steps>', `between checkpoints; default: ${every}`, wholeNumber(1, 1e9))
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
  const resume = resumes && (await readBytes(join(out, 'last.safetensors')));
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const plan = OF_FILES.some((name) => options[name] !== undefined)
    ? await planOfFiles(runtime, options)
    : await planOfText(runtime, options, resume ? readCheckpoint(resume).settings : {});
  const { decoder, parameters, config, tokenizer, settings } = plan;
  const { make, clip } = plan.optimizer;
  using optimizer = make(parameters);
  await mkdir(out, { recursive: true });
  const write = (name: string, data: Uint8Array | string) => writeFileAtomic(join(out, name), data);
  if (tokenizer) await write('tokenizer.json', json(tokenizer.file));
  await write('config.json', json(config));

  let last: TrainingStep | undefined;
  let sample = '';
  const told = newFigures(plan, await peakRate(runtime));
  const history = await withProgress('training', async ({ signal, onProgress }, showText) => {
    const course: number[] = resume ? [...readCheckpoint(resume).history.losses] : [];
    return train({
      ...{ parameters, optimizer, clip, signal, resume },
      ...{ steps: plan.steps, batches: plan.batches, schedule: plan.schedule, validate: plan.validate },
      loss: (weights, { tokens, targets }) => decoder.loss(weights, tokens, targets),
      checkpoint: {
        every: plan.every,
        settings,
        save: (name, file) => write(`${name}.safetensors`, file),
      },
      async onStep(step) {
        last = step;
        course.push(step.loss);
        if (tokenizer && step.validation !== undefined) sample = await sampleOf(plan, runtime, step.step);
        onProgress(step.step / plan.steps, told(step));
        showText([curveText(course, COLUMNS, LINES), ...(sample ? [quoted(sample)] : [])].join('\n'));
      },
    }).catch((error) => {
      if (signal.aborted && last)
        process.stderr.write(`stopped after step ${last.step}: --resume goes on from there\n`);
      throw error;
    });
  });

  const weights: Record<string, HostTensor> = {};
  for (const name in parameters) weights[name] = await (parameters[name] as Tensor).toHost();
  await write('model.safetensors', writeSafetensors(weights, { metadata: { format: 'pt' } }));
  const { losses, gradientNorms, validation } = history;
  await write('log.json', json({ losses, gradientNorms, ...(plan.validate && { validation }) }));
  await write('loss.svg', lossSvg(plan.title, history));
  await say(summary(plan.title, history, sample, out));
}

/** What the progress bar tells beside the share of the steps. */
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
): Promise<string> {
  if (!tokenizer || !sampling) return '';
  const { prompt, length, seed } = sampling;
  const { count, temperature } = SAMPLE;
  const added = await sampleTokens(decoder, runtime, parameters, prompt, {
    count,
    length,
    temperature,
    seed: seed + step,
  });
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

function parseVocabulary(text: string): string {
  const size = Number(text);
  if (text === 'characters' || (/^\d+$/.test(text) && size >= 256 && size <= 65_536)) return text;
  throw new InvalidArgumentError("It must be 'characters' or a whole number from 256 to 65536.");
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
