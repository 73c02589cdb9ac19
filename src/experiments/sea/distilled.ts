/** A decoder that learned to find passkeys, and one of SEA that learned of it with few keys and is tried with more. */
import type { Method } from '../../methods/define';
import { sea } from '../../methods/sparse/sea';
import type { Decoder } from '../../models';
import { distillation } from '../../models/decoder/distillation';
import { NO_TARGET } from '../../models/decoder/landmarks';
import { contiguous } from '../../ops/copy';
import type { Tensor } from '../../tensor/tensor';
import type { MeasureContext } from '../experiment';
import { disposeAll } from '../held';
import { PASSKEY_TOKENS, passkey } from '../passkey';
import { batchOf, tinyDecoder, trained } from '../tiny-decoder';
import { mean } from '../vectors';

export const LENGTH = 64;
const SIZE = { vocabulary: PASSKEY_TOKENS, context: LENGTH, width: 48, heads: 4, layers: 2 };
const CELLS = 16;
/** Keys in training, and those at test time. */
export const TRAINED = 4;
export const TRIED = [TRAINED, 2 * TRAINED, 4 * TRAINED, LENGTH] as const;
const BATCH = 16;

/** A mark comes back up to three times more, so that there is more to learn of. */
const textOf = (seed: number) => passkey(LENGTH, seed, seed % 4);

interface Recalled {
  /** Nats an answer: of the teacher, and of the student by `TRIED`. */
  readonly teacher: number;
  readonly student: readonly number[];
  readonly steps: number;
  readonly distilling: number;
}

export async function recalled(context: MeasureContext): Promise<Recalled> {
  const { runtime, quick } = context;
  const [steps, distilling] = quick ? [3, 3] : [700, 300];
  const withKeys = (keys: number) =>
    tinyDecoder(SIZE, { method: sea as Method, params: { cells: CELLS, keys, positions: LENGTH } });
  const held: Tensor[] = [];
  const initial = (decoder: Decoder, seed: number) => {
    const parameters: Record<string, Tensor> = decoder.initialize(runtime, { seed });
    held.push(...Object.values(parameters));
    return parameters;
  };
  const training = { batch: BATCH, learningRate: 0.004, draw: (seed: number) => textOf(1000 + seed) };
  try {
    const teacher = tinyDecoder(SIZE);
    const known = initial(teacher, 1);
    await trained(context.part(0, 0.4, 'a teacher'), teacher, known, { ...training, steps });
    const student = withKeys(TRAINED);
    const own = initial(student, 2);
    for (const [name, x] of Object.entries(known)) contiguous(x, { out: own[name]! });
    const loss = distillation({ decoder: teacher, parameters: known }, student);
    await trained(context.part(0.4, 0.9, 'distillation'), student, own, { ...training, steps: distilling, loss });
    const losses: number[] = [];
    for (const keys of TRIED) losses.push(await lossOf(context, withKeys(keys), own));
    return { teacher: await lossOf(context, teacher, known), student: losses, steps, distilling };
  } finally {
    disposeAll(held);
  }
}

/** Nats an answer on texts that no training saw. */
async function lossOf(
  { runtime, quick, step }: MeasureContext,
  decoder: Decoder,
  parameters: Record<string, Tensor>,
): Promise<number> {
  const losses: number[] = [];
  for (let first = 0; first < (quick ? 1 : 16); first++) {
    await step(0.95, 'other texts');
    const loss = runtime.scope(() => {
      const texts = Array.from({ length: BATCH }, (_, row) => textOf(first * BATCH + row));
      const { tokens, targets } = batchOf(runtime, decoder, texts);
      return decoder.loss(parameters, tokens, targets, { ignore: NO_TARGET });
    });
    losses.push((await loss.read())[0]!);
    loss.dispose();
  }
  return mean(losses);
}
