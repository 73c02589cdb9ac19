/** What learners keep, beside how well they tell: the generative one and those that store rows. */
import { groupBy } from '../../group-by';
import { type Estimate, estimateMean } from '../../measure/statistics';
import { averageAccuracy, forgetting } from '../metrics';
import { type Arm, armTitle, type Progress } from './progress';

/** A learner over its seeds, after the last task. */
export interface LearnerSummary extends Omit<Arm, 'seed'> {
  /** The mean over tasks and seeds, and a 95% interval. */
  readonly accuracy: Estimate;
  readonly forgetting: Estimate;
  readonly memory: {
    /** Bytes that it keeps of all classes. */
    readonly classes: number;
    /** The same, and four for each weight of its network. */
    readonly whole: number;
    /** Bytes that it keeps of the classes so far, after each task. */
    readonly tasks: readonly number[];
  };
}

export interface EqualMemory {
  readonly generative: LearnerSummary;
  /** The one of the fewest stored rows that is as accurate, or the one of the most rows if none of those that learned is. */
  readonly stored: LearnerSummary;
  readonly isAsAccurate: boolean;
  /** Its memory over that of the generative learner. */
  readonly ratio: Pick<LearnerSummary['memory'], 'classes' | 'whole'>;
}

/** Each learner over its seeds, in the order they were found; `counts` are of the classes of each task. */
export function summariesOf(found: readonly Progress[], counts: readonly number[]): LearnerSummary[] {
  const upTo = (task: number) => counts.slice(0, task).reduce((sum, count) => sum + count, 0);
  return [...groupBy(found, armTitle).values()].map((own) => {
    const [{ learner, stored, bytes }] = own as [Progress];
    const kept = upTo(counts.length) * bytes.ofClass;
    return {
      learner,
      stored,
      accuracy: estimateMean(own.map(({ accuracies }) => averageAccuracy(accuracies))),
      forgetting: estimateMean(own.map(({ accuracies }) => forgetting(accuracies))),
      memory: {
        classes: kept,
        whole: kept + bytes.network,
        tasks: counts.map((_, task) => upTo(task + 1) * bytes.ofClass),
      },
    };
  });
}

/** Memory at equal accuracy, by means; undefined without the generative learner or stored rows. */
export function equalMemory(learners: readonly LearnerSummary[]): EqualMemory | undefined {
  const generative = learners.find(({ learner }) => learner === 'generative');
  if (!generative) return undefined;
  const storing = learners
    .filter(({ learner }) => learner === 'stored')
    .sort((a, b) => a.memory.classes - b.memory.classes);
  const found = storing.find(({ accuracy }) => accuracy.value >= generative.accuracy.value);
  const stored = found ?? storing.at(-1);
  if (!stored) return undefined;
  const over = (what: keyof EqualMemory['ratio']) => stored.memory[what] / generative.memory[what];
  return {
    generative,
    stored,
    isAsAccurate: found !== undefined,
    ratio: { classes: over('classes'), whole: over('whole') },
  };
}
