/** Trainings that go on from a model: its weights in the place of random ones, and perhaps what it knows as what is learned. */
import { ParameterError } from '../errors';
import { createDecoder, type Decoder, type DecoderConfig, type LayerAttention } from '../models';
import type { LandmarkConfig, Landmarks } from '../models/decoder/landmarks';
import { withTrainedAttention } from '../models/decoder/trained-attention';
import { concat, contiguous } from '../ops/copy';
import { mean } from '../ops/reduce';
import type { Runtime } from '../runtime/runtime';
import { sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { type Tokenizer, tokenizerOf } from '../train';
import { attentionOfModel } from './attention';
import { openModel } from './language';

/** A model that a training goes on from. */
export interface Base {
  readonly config: DecoderConfig;
  readonly decoder: Decoder;
  readonly parameters: Readonly<Record<string, Tensor>>;
  readonly tokenizer: Tokenizer;
}

/** The model of `--from` or `--distill`, if one is given. */
export async function baseOf(
  runtime: Runtime,
  { from, distill }: { readonly from?: string | undefined; readonly distill?: string | undefined },
): Promise<Base | undefined> {
  if (from !== undefined && distill !== undefined)
    throw new ParameterError('--distill goes on from its model by itself: leave --from out');
  const path = from ?? distill;
  if (path === undefined) return undefined;
  await using weights = await openModel(path === 'default' ? undefined : path);
  const file = await weights.readBeside('tokenizer.json', {});
  if (!weights.config || !file)
    throw new ParameterError(`${weights.name} must have a config.json and a tokenizer.json beside it to go on from`);
  const config = weights.config as DecoderConfig;
  const decoder = createDecoder(config, { attention: await attentionOfModel(config) });
  const parameters = (await decoder.load(runtime, weights, { types: 'f32' })) as Record<string, Tensor>;
  return { config, decoder, parameters, tokenizer: tokenizerOf(JSON.parse(new TextDecoder().decode(file))) };
}

/** A configuration with a token for landmarks, behind those of the tokenizer, for blocks of any length. */
export function configWithLandmarks(config: DecoderConfig, tokens: number): DecoderConfig {
  const vocabulary = Math.max(config.vocab_size as number, tokens + 1);
  const { landmark_every: _, ...others } = config as DecoderConfig & LandmarkConfig;
  return { landmark_token_id: vocabulary - 1, ...others, vocab_size: vocabulary } as DecoderConfig;
}

/** The configuration of a model that is trained with some attention, in which every so many tokens may be followed by a landmark. */
export function configOfTrained(
  config: DecoderConfig,
  landmarks: Landmarks | undefined,
  attention: readonly LayerAttention[],
): DecoderConfig {
  const { landmark_every: _, landmark_token_id: __, ...others } = config as DecoderConfig & LandmarkConfig;
  const ofLandmarks = landmarks && { landmark_every: landmarks.every, landmark_token_id: landmarks.token };
  const turns = attention.map(({ method, params = {} }) => ({ method: method.name, params }));
  return withTrainedAttention({ ...others, ...ofLandmarks } as DecoderConfig, turns);
}

/**
 * Parameters of a decoder: the base's where it has them, of new tokens the mean of all; random ones else. Where the base teaches, they are
 * copies of its own, as training writes in place.
 */
export function parametersFrom(
  base: Base,
  decoder: Decoder,
  runtime: Runtime,
  { seed, isTeacher }: { readonly seed: number; readonly isTeacher: boolean },
): Record<string, Tensor> {
  const own: Record<string, Tensor> = decoder.initialize(runtime, { seed });
  for (const name of Object.keys(own)) {
    const [initial, known] = [own[name] as Tensor, base.parameters[name] as Tensor<'f32'> | undefined];
    if (!known) continue;
    const more = (initial.shape[0] as number) - (known.shape[0] as number);
    if (more > 0) {
      own[name] = runtime.scope(() => {
        const row = mean(known, { axes: [0], keepDims: true });
        return concat([known, ...Array.from({ length: more }, () => row)], 0);
      });
    } else if (sameShape(known.shape, initial.shape)) own[name] = isTeacher ? contiguous(known) : known;
    else throw new ParameterError(`${name} of the model to go on from has another shape`);
    if (own[name] !== initial) initial.dispose();
  }
  return own;
}
