import { join } from 'node:path';
import { styleText } from 'node:util';
import { Command, InvalidArgumentError } from 'commander';
import { courses, findCourse, lastTask } from '../bench/quality/courses';
import {
  QUALITY_COLUMNS,
  QUALITY_TEXTS,
  type QualityReport,
  type QualityRun,
  qualityFailures,
  qualityRows,
} from '../bench/quality/report';
import { plansOf, type QualityOptions, runQuality, type Store, settingOf } from '../bench/quality/run';
import { INCOMPLETE } from '../bench/report';
import { isRecord } from '../check';
import { describeMachine, formatMachine } from '../machine';
import { createRuntime, type RuntimeOptions } from '../ops/create-runtime';
import { htmlPage } from '../report/page';
import { printable } from '../text/printable';
import { shellCommand } from '../text/shell';
import { formatTable, right } from '../text/table';
import { failIfAny } from './failures';
import { lockFolder } from './lock-folder';
import { METHOD_OR_MODULE, readMethods } from './methods';
import { backendOption, jsonOption, threadsOption, wholeNumber } from './options';
import { withProgress } from './progress';
import { MOST_SETTINGS, readIfThere } from './read-tensors';
import { wrap } from './wrap';
import { checkWritable, say, writeFileAtomic, writeJson } from './write-file';

export interface QualityCommandOptions
  extends Omit<QualityOptions, 'methods'>,
    Pick<RuntimeOptions, 'backend' | 'threads'> {
  readonly methods: string;
  readonly resume?: string;
  readonly json?: string;
  readonly html?: string;
}

export const QUALITY = {
  name: 'quality',
  summary: 'what small decoders by different methods learn: recall, retrieval, copying, regression, state tracking',
};
const DEFAULT_METHODS = 'attention,gated-delta-rule';
const WIDTH = 100;

export function qualityCommand(act: (options: QualityCommandOptions) => Promise<void> = benchQuality): Command {
  const names = courses.map(({ name }) => name);
  return new Command(QUALITY.name)
    .description(QUALITY.summary)
    .option('--methods <names>', `causal methods, separated by commas, each ${METHOD_OR_MODULE}`, DEFAULT_METHODS)
    .option('--params <json>', 'params of methods, such as \'{"stochastic-attention": {"window": 32}}\'', parseRecord)
    .option('--tasks <names>', `of ${names.join(', ')}`, parseTasks, names)
    .option('--seeds <count>', 'trainings of each method on each task', wholeNumber(1, 1000), 1)
    .option('--first-seed <number>', 'of these trainings', wholeNumber(1, 2 ** 20), 1)
    .option('--steps <count>', 'of a training; default: as the task has it', wholeNumber(1, 2 ** 30))
    .option('--width <numbers>', 'of the decoder', wholeNumber(4, 4096), 64)
    .option('--layers <count>', 'of the decoder', wholeNumber(1, 64), 2)
    .option('--heads <count>', 'of each layer', wholeNumber(1, 64), 1)
    .option('--resume <folder>', 'keep what was trained here, and go on from what is there')
    .addOption(jsonOption('every training'))
    .option('--html <file>', 'write a page with plots')
    .addOption(backendOption())
    .addOption(threadsOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ saccade bench quality --methods attention,power-attention --tasks associative-recall --seeds 3 --resume quality --html quality.html',
    )
    .action(act);
}

async function benchQuality({ resume, json, html, backend, threads, ...given }: QualityCommandOptions): Promise<void> {
  const options: QualityOptions = { ...given, methods: await readMethods(given.methods) };
  const files = [json, html].filter((path) => path !== undefined);
  for (const path of files) await checkWritable(path);
  plansOf(options);
  using _ = resume === undefined ? null : lockFolder(resume);
  const store = resume === undefined ? undefined : storeOf(resume);
  using runtime = await createRuntime({ ...(backend && { backend }), ...(threads && { threads }) });
  const machine = await describeMachine();
  const runs: QualityRun[] = [];
  const report = (complete: boolean): QualityReport => ({
    format: 'saccade quality',
    version: 1,
    command: shellCommand(['saccade', ...qualityWords(given)]),
    machine,
    runtime: runtime.backend.explain(),
    setting: settingOf(options),
    tasks: options.tasks.map(findCourse).map((course) => {
      const { length, chance } = lastTask(course);
      return { name: course.name, summary: course.summary, length, steps: options.steps ?? course.steps, chance };
    }),
    complete,
    runs: [...runs],
  });
  const write = async (found: QualityReport) => {
    await writeJson(json, found);
    if (html !== undefined)
      await writeFileAtomic(html, htmlPage({ title: 'saccade bench quality', view: 'quality', data: found }));
  };
  let isComplete = false;
  try {
    await withProgress('bench quality', async (control, show) => {
      await runQuality(options, {
        runtime,
        store,
        ...control,
        onRun(run) {
          runs.push(run);
          show(tableOf(report(false)));
        },
      });
    });
    isComplete = true;
  } finally {
    // What was trained before an interrupt or a failure is shown too.
    if (runs.length > 0) {
      await write(report(isComplete));
      await say(textOf(report(isComplete), files), ...files);
    }
  }
  const failed = runs.filter(({ reason }) => reason !== undefined);
  failIfAny(
    failed.map(({ task, method, seed }) => `${task} by ${method}, seed ${seed}`),
    runs.length,
    'trainings',
  );
}

function storeOf(folder: string): Store {
  return {
    read: (name) => readIfThere(join(folder, name), name.endsWith('.json') ? MOST_SETTINGS : undefined),
    write: (name, data) => writeFileAtomic(join(folder, name), data),
  };
}

/** The words of the command that repeats it, without where it is computed. */
export function qualityWords(options: QualityCommandOptions): string[] {
  const { methods, params, tasks, seeds, firstSeed, steps, width, layers, heads } = options;
  const sizes = { ...(steps !== undefined && { steps }), width, layers, heads };
  const own = params && { params: JSON.stringify(params) };
  const first = firstSeed !== 1 && { 'first-seed': firstSeed };
  const flags = Object.entries({ methods, ...own, tasks: tasks.join(), seeds, ...first, ...sizes });
  return ['bench', 'quality', ...flags.flatMap(([name, value]) => [`--${name}`, String(value)])];
}

function textOf(report: QualityReport, files: readonly string[]): string {
  const dim = (text: string) => styleText('dim', wrap(text, WIDTH));
  return [
    tableOf(report),
    '',
    ...(report.complete ? [] : [INCOMPLETE]),
    ...qualityFailures(report).map((text) => wrap(text, WIDTH)),
    dim(report.setting),
    dim(`${formatMachine(report.machine)}; ${report.runtime.join('; ')}.`),
    ...files.map((path) => `Written: ${printable(path)}`),
  ].join('\n');
}

function tableOf(report: QualityReport): string {
  const columns = QUALITY_COLUMNS.map(([header], at) => (at < QUALITY_TEXTS ? header : right(header)));
  return formatTable(columns, qualityRows(report));
}

function parseRecord(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json);
    if (isRecord(value)) return value;
  } catch {
    // Reported below.
  }
  throw new InvalidArgumentError('It must be a JSON object.');
}

const parseTasks = (names: string): string[] => namesOf(names).map((name) => findCourse(name).name);
const namesOf = (names: string): string[] => [...new Set(names.split(',').map((name) => name.trim()))];
