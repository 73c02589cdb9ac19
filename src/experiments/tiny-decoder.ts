/** Decoders small enough to be trained within an experiment, on sequences whose answers are known. */
import { createDecoder, type Decoder, type DecoderAttention } from '../models';
import { insertTargets, NO_TARGET } from '../models/decoder/landmarks';
import type { ModuleControl } from '../nn';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';
import { adamw, train, warmupCosine } from '../train';
import type { MeasureContext } from './experiment';

/** A sequence, and the answer at each token: the token to come, or `NO_TARGET`. */
export interface Sequence {
  readonly tokens: readonly number[];
  readonly targets: readonly number[];
}

interface TinyOptions {
  readonly vocabulary: number;
  /** The most tokens, landmarks among them. */
  readonly context: number;
  readonly width: number;
  readonly heads: number;
  readonly layers: number;
}

/** A Llama. */
export const tinyDecoder = (
  { vocabulary, context, width, heads, layers }: TinyOptions,
  attention?: DecoderAttention,
): Decoder =>
  createDecoder(
    {
      model_type: 'llama',
      vocab_size: vocabulary,
      hidden_size: width,
      intermediate_size: 2 * width,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      max_position_embeddings: context,
      tie_word_embeddings: true,
      initializer_range: 0.05,
    },
    { attention },
  );

/** Tokens and the answers at each, [b, n] i32. */
type Batch = Readonly<Record<'tokens' | 'targets', Tensor>>;

/** Sequences of one length side by side, with landmarks where the decoder wants them. */
export function batchOf(runtime: Runtime, { landmarks }: Decoder, sequences: readonly Sequence[]): Batch {
  const rows = sequences.map(({ tokens, targets }) => insertTargets(tokens, targets, landmarks));
  const tensor = (name: 'tokens' | 'targets') =>
    runtime.tensor(
      rows.flatMap((row) => [...row[name]]),
      [rows.length, (rows[0] as Sequence).tokens.length],
      'i32',
    );
  return { tokens: tensor('tokens'), targets: tensor('targets') };
}

interface TinyTraining {
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly draw: (seed: number) => Sequence;
  /** Default: the cross entropy of the answers. */
  readonly loss?: (parameters: Record<string, Tensor>, batch: Batch, control: ModuleControl) => Tensor;
}

/** Trains parameters in so many steps of AdamW. */
export async function trained(
  { runtime, signal, step: report }: MeasureContext,
  decoder: Decoder,
  parameters: Record<string, Tensor>,
  { steps, batch, learningRate, draw, loss }: TinyTraining,
): Promise<void> {
  using optimizer = adamw(parameters, { learningRate, betas: [0.9, 0.98], weightDecay: 0.01 });
  await train<Batch>({
    parameters,
    optimizer,
    steps,
    clip: 1,
    signal,
    schedule: warmupCosine({ steps, warmup: Math.ceil(steps / 20), floor: 0.05 }),
    batches: (index) =>
      batchOf(
        runtime,
        decoder,
        Array.from({ length: batch }, (_, row) => draw(index * batch + row)),
      ),
    loss: (parameters, batch, { training }) =>
      loss?.(parameters as Record<string, Tensor>, batch, { training }) ??
      decoder.loss(parameters, batch.tokens, batch.targets, { ignore: NO_TARGET, training }),
    onStep: ({ step, loss }) => report(step / steps, `step ${step} of ${steps}, loss ${loss.toFixed(2)}`),
  });
}
