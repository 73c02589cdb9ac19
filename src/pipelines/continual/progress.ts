/** What is measured beside each other, and what is told of it. */
export const LEARNERS = ['generative', 'stored', 'fine-tuned', 'joint'] as const;
export type LearnerName = (typeof LEARNERS)[number];

/** One of what is measured beside each other. */
export interface Arm {
  readonly learner: LearnerName;
  /** Rows of each class that are kept, of the stored learner alone. */
  readonly stored?: number | undefined;
  readonly seed: number;
}

/** What is told after each task that was learned, and written down. */
export interface Progress extends Arm {
  /** [task learned last][task]. */
  readonly accuracies: readonly (readonly number[])[];
  readonly bytes: { readonly network: number; readonly ofClass: number };
}

/** Such as `generative`, and `stored 20` of the one that keeps 20 rows of each class. */
export const armTitle = ({ learner, stored }: Pick<Arm, 'learner' | 'stored'>): string =>
  stored === undefined ? learner : `${learner} ${stored}`;
