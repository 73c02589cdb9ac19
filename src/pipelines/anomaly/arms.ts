/** The detectors that are measured beside each other: C3D-AD, and the same without a part of it. */
import type { Runtime } from '../../runtime/runtime';
import type { DetectorSettings } from './detector';
import { type Encoder, standardised } from './encode';

interface Arm extends Pick<DetectorSettings, 'attention' | 'perturbation' | 'anchor'> {
  /** The attention of the frozen network: by random features, or the softmax that it was trained with. */
  readonly frozen: 'kernel' | 'softmax';
}

const WHOLE: Arm = { frozen: 'kernel', attention: 'advisor', perturbation: 0.01, anchor: 0.02 };

const TABLE = {
  'c3d-ad': WHOLE,
  'no-advisor': { ...WHOLE, attention: 'kernel' },
  'no-perturbation': { ...WHOLE, perturbation: 0 },
  softmax: { ...WHOLE, frozen: 'softmax', attention: 'softmax' },
  'fine-tuned': { ...WHOLE, attention: 'kernel', perturbation: 0, anchor: 0 },
} satisfies Readonly<Record<string, Arm>>;

export type ArmName = keyof typeof TABLE;
export const ARMS = Object.keys(TABLE) as readonly ArmName[];

/** Sizes of the network that learns, and what else all arms share. */
const SHARED = {
  ...{ hidden: 64, layers: 2, alpha: 0.7, beta: 0.7, learningRate: 5e-3, noise: 0.5 },
  ...{ epsilon: 0.1, search: 2, frozen: false },
} as const;
/** The seed of the random features in the frozen network. */
const KERNEL = 42;

/** The settings of an arm's detector. */
export function detectorSettings(
  arm: ArmName,
  { steps, batch, features }: Pick<DetectorSettings, 'steps' | 'batch' | 'features'>,
  width: number,
): DetectorSettings {
  const { attention, perturbation, anchor } = TABLE[arm];
  return { ...SHARED, width, steps, batch, features, attention, perturbation, anchor };
}

/** The attention of the frozen network that an arm stands on: arms that share it share features of clouds. */
export const frozenAttention = (arm: ArmName): Arm['frozen'] => TABLE[arm].frozen;

/** The frozen network as an arm takes it. */
export const encoderOf = (
  runtime: Runtime,
  encoder: Encoder,
  arm: ArmName,
  { features }: Pick<DetectorSettings, 'features'>,
): Promise<Encoder> =>
  standardised(runtime, {
    ...encoder,
    kernel: frozenAttention(arm) === 'softmax' ? undefined : { features, seed: KERNEL },
  });
