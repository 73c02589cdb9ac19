/** What models are trained on: a task, starting with shorter sequences where it is hard to begin with. */
import { show } from '../../check';
import { ParameterError } from '../../errors';
import { associativeRecall, copy, inContextRegression, needle, stateTracking, type Task } from '../../train/tasks';

export interface Stage {
  readonly task: Task;
  /** Sequences of a step. */
  readonly batch: number;
  /** The share of the steps. */
  readonly share: number;
}

export interface Course {
  readonly name: string;
  readonly summary: string;
  /** By default. */
  readonly steps: number;
  /** Tasks of one vocabulary; models are judged by the last. */
  readonly stages: readonly [Stage, ...Stage[]];
}

export const courses: readonly Course[] = [
  {
    name: 'associative-recall',
    summary: '64 pairs of keys and values, then every key: its value (MQAR)',
    steps: 3000,
    stages: [
      { task: associativeRecall({ length: 16 }), batch: 64, share: 0.6 },
      { task: associativeRecall({ length: 64 }), batch: 32, share: 0.15 },
      { task: associativeRecall({ length: 256 }), batch: 16, share: 0.25 },
    ],
  },
  {
    name: 'needle',
    summary: 'four marked tokens, anywhere among 252: which they were',
    steps: 1000,
    stages: [
      { task: needle({ length: 16 }), batch: 64, share: 0.6 },
      { task: needle({ length: 64 }), batch: 32, share: 0.15 },
      { task: needle({ length: 256 }), batch: 16, share: 0.25 },
    ],
  },
  {
    name: 'copy',
    summary: '64 random tokens once more',
    steps: 800,
    stages: [
      { task: copy({ length: 16 }), batch: 64, share: 0.5 },
      { task: copy({ length: 64 }), batch: 32, share: 0.2 },
      { task: copy({ length: 128 }), batch: 16, share: 0.3 },
    ],
  },
  {
    name: 'in-context-regression',
    summary: 'values of a linear function of two inputs, as one of eight intervals, from the points before',
    steps: 800,
    stages: [{ task: inContextRegression(), batch: 16, share: 1 }],
  },
  ...[3, 5].map(
    (items): Course => ({
      name: `state-tracking-s${items}`,
      summary: `the product of 64 permutations of ${items}, at each of them`,
      steps: 800,
      stages: [
        { task: stateTracking({ length: 16, items }), batch: 64, share: 0.5 },
        { task: stateTracking({ items }), batch: 32, share: 0.5 },
      ],
    }),
  ),
];

/** The course of that name; a ParameterError lists the known names. */
export function findCourse(name: string): Course {
  const course = courses.find((candidate) => candidate.name === name);
  if (course) return course;
  throw new ParameterError(`task must be one of ${courses.map(({ name }) => name).join(', ')}, got ${show(name)}`);
}

/** The task that models are judged by. */
export const lastTask = ({ stages }: Course): Task => (stages.at(-1) as Stage).task;

/** The stage of a step, counted from 0. */
export function stageAt({ stages }: Course, step: number, steps: number): Stage {
  let past = 0;
  for (const stage of stages) {
    past += stage.share;
    if (step < Math.round(past * steps)) return stage;
  }
  return stages.at(-1) as Stage;
}
