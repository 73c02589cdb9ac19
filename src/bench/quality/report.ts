/** What `saccade bench quality` finds: the JSON it writes, and the rows and curves that its table and its page show. */

import type { Series } from '../../experiments/experiment';
import type { Machine } from '../../machine';
import { formatFlops, formatPercent, formatTime } from '../../text/format';

/** One model, trained on one task. */
export interface QualityRun {
  readonly task: string;
  readonly method: string;
  readonly seed: number;
  readonly parameters: number;
  /** Multiplications and additions of the training: products and attention, forward and backward. */
  readonly flops: number;
  /** How long the training took, validation included. */
  readonly milliseconds: number;
  /** The share of right answers on sequences that were not learned from; undefined where the training failed. */
  readonly accuracy?: number;
  /** Why it failed. */
  readonly reason?: string;
  /** The validation loss after so many steps. */
  readonly losses: readonly { readonly steps: number; readonly loss: number }[];
}

export interface QualityReport {
  readonly format: 'saccade quality';
  /** Increases when the meaning of a field changes. */
  readonly version: 1;
  readonly command: string;
  readonly machine: Machine;
  /** What the runtime is: backend, threads, kernels; one fact a line. */
  readonly runtime: readonly string[];
  /** The model and how it was trained, in words. */
  readonly setting: string;
  readonly tasks: readonly QualityTask[];
  /** False while runs are still to come; it stays false if the benchmark is interrupted. */
  readonly complete: boolean;
  readonly runs: readonly QualityRun[];
}

interface QualityTask {
  readonly name: string;
  readonly summary: string;
  readonly length: number;
  readonly steps: number;
  /** The share of answers that a guess gets right. */
  readonly chance: number;
}

/** The columns of the table: header and meaning. */
export const QUALITY_COLUMNS = [
  ['task', ''],
  ['method', ''],
  ['accuracy', 'share of right answers on sequences that were not learned from: the mean over the seeds'],
  ['from', 'the least of the seeds'],
  ['to', 'the most of the seeds'],
  ['chance', 'what guessing without the sequence gets right'],
  ['seeds', 'trainings, each from weights and with sequences of its own'],
  ['parameters', 'of the model'],
  ['FLOPs', 'of a training: multiplications and additions of products and attention, forward and backward'],
  ['time', 'of a training, the mean'],
] as const;

/** How many columns are texts, the first ones; the others are numbers. */
export const QUALITY_TEXTS = 2;

/** A row for each task and method. */
export function qualityRows({ tasks, runs }: Pick<QualityReport, 'tasks' | 'runs'>): string[][] {
  return groupsOf({ tasks, runs }).map(({ task, method, group }) => {
    const [first] = group as [QualityRun];
    const all = accuracies(group);
    const shares =
      all.length > 0 ? [mean(all), Math.min(...all), Math.max(...all)].map(formatPercent) : ['failed', '', ''];
    const time = formatTime(mean(group.map(({ milliseconds }) => milliseconds)));
    const counts = [String(all.length), first.parameters.toLocaleString('en'), formatFlops(first.flops)];
    return [task.name, method, ...shares, formatPercent(task.chance), ...counts, time];
  });
}

/** Such as 'copy by attention, seed 2: why', of trainings that failed. */
export function qualityFailures({ runs }: Pick<QualityReport, 'runs'>): string[] {
  return runs.flatMap(({ task, method, seed, reason }) =>
    reason === undefined ? [] : [`${task} by ${method}, seed ${seed}: ${reason}`],
  );
}

/** Accuracies by task, and the validation losses of each task by step, a line for each method. */
export function qualitySeries({ tasks, runs }: Pick<QualityReport, 'tasks' | 'runs'>): Series[] {
  const groups = groupsOf({ tasks, runs });
  const methods = [...new Set(groups.map(({ method }) => method))];
  const find = (name: string, method: string) =>
    groups.find((each) => each.task.name === name && each.method === method)?.group ?? [];
  const shown = tasks.filter(({ name }) => runs.some(({ task }) => task === name));
  const lossesAt = (group: readonly QualityRun[], at: number) =>
    group.flatMap(({ losses }) => losses.filter(({ steps }) => steps === at).map(({ loss }) => loss));
  const meanOf = (values: readonly number[]) => (values.length > 0 ? mean(values) : null);
  /** A line for each method: the mean of what `valuesOf` gives for each of `places`. */
  const linesOf = <T>(places: readonly T[], valuesOf: (method: string, place: T) => readonly number[]) =>
    methods.map((method) => ({ label: method, values: places.map((place) => meanOf(valuesOf(method, place))) }));
  return [
    {
      title: 'Accuracy: right answers, as a share of 1, the mean over the seeds',
      x: { label: 'task', values: shown.map(({ name }) => name) },
      lines: [
        ...linesOf(shown, (method, { name }) => accuracies(find(name, method))),
        { label: 'chance', values: shown.map(({ chance }) => chance) },
      ],
    },
    ...shown.map(({ name }) => {
      const all = runs.filter(({ task }) => task === name).flatMap(({ losses }) => losses.map(({ steps }) => steps));
      const steps = [...new Set(all)].sort((a, b) => a - b);
      return {
        title: `${name}: validation loss, the mean over the seeds`,
        x: { label: 'steps', values: steps },
        lines: linesOf(steps, (method, at) => lossesAt(find(name, method), at)),
      };
    }),
  ];
}

function groupsOf({ tasks, runs }: Pick<QualityReport, 'tasks' | 'runs'>) {
  const methods = [...new Set(runs.map(({ method }) => method))];
  return tasks
    .flatMap((task) =>
      methods.map((method) => {
        const group = runs.filter((run) => run.task === task.name && run.method === method);
        return { task, method, group };
      }),
    )
    .filter(({ group }) => group.length > 0);
}

const accuracies = (runs: readonly QualityRun[]): number[] =>
  runs.flatMap(({ accuracy }) => (accuracy === undefined ? [] : [accuracy]));

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
