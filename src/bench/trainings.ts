/** The decoders whose training is measured. */
import { MASKS, type Problem } from './problem';
import { LOSSES } from './training-losses';
import { type Training, trainingStep } from './training-operations';

const ADAMW = { learningRate: 1e-3, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1 } as const;
/** 10M parameters. */
const SMALL = { n: 256, h: 5, d: 64, batch: 8, layers: 6, hidden: 864, vocabulary: 8192, steps: 20 } as const;

export const TRAININGS = {
  adamw: { ...SMALL, optimizer: { name: 'adamw', ...ADAMW } },
  muon: { ...SMALL, optimizer: { name: 'muon', learningRate: 0.02, momentum: 0.95, weightDecay: 0, adamw: ADAMW } },
  long: {
    n: 8192,
    h: 4,
    d: 64,
    batch: 1,
    layers: 12,
    hidden: 688,
    vocabulary: 8192,
    steps: 2,
    recompute: true,
    optimizer: { name: 'adamw', ...ADAMW },
  },
} as const satisfies Readonly<Record<string, Training & Pick<Problem, 'n' | 'h' | 'd'>>>;
export type TrainingName = keyof typeof TRAININGS;

/** A problem whose operation is a training step, the first `steps` of which are checked. */
export function problemOfTraining(name: TrainingName, steps: number = TRAININGS[name].steps): Problem {
  const { n, h, d } = TRAININGS[name];
  const operation = trainingStep({ ...TRAININGS[name], steps }, LOSSES[name].slice(0, steps));
  return { n, h, d, mask: MASKS.causal, operation };
}
