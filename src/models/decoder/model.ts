/** Decoders as a model, with methods by their names, as JSON has them: who knows the methods decides which are loaded. */
import * as valibot from 'valibot';
import { isRecord } from '../../check';
import { hostTensor } from '../../tensor/host';
import { defineModel } from '../define';
import { createDecoder, type DecoderAttention, type DecoderConfig } from '.';

const record = valibot.record(valibot.string(), valibot.unknown());
const choice = valibot.union([valibot.string(), record]);

/** As tokens: 0 is an a. */
const LETTERS = [...new TextEncoder().encode('attention')].map((letter) => letter - 97);

type MethodOf = (name: string) => unknown;

/** The model; `methodOf` gives the method of a name, or throws. */
export const decoderModelOf = (methodOf: MethodOf) =>
  defineModel({
    name: 'decoder',
    summary: 'a language model of any known architecture, with any causal method as its attention',
    inputs: { tokens: 'b n' },
    integers: ['tokens'],
    outputs: { logits: 'b n vocabulary' },
    params: valibot.strictObject({
      config: valibot.pipe(record, valibot.description("what Hugging Face's config.json says")),
      attention: valibot.optional(
        valibot.pipe(
          valibot.union([choice, valibot.array(choice)]),
          valibot.description(
            'a method by name, or with its params, for all layers or a list with one for each; else as the configuration says',
          ),
        ),
      ),
      activations: valibot.optional(
        valibot.pipe(
          valibot.picklist(['f32', 'q8']),
          valibot.description(
            'f32: rows that are multiplied by weights in blocks are not rounded to 8 bits, nor weights that were loaded; q8, the default: they are',
          ),
        ),
      ),
    }),
    keepsTypes: true,
    configured: (config) => ({ config }),
    network({ config, attention, activations }) {
      const { parameters, prefix, ignored, whyMissing, isExact, forward } = createDecoder(config as DecoderConfig, {
        attention: namedAttention(attention, methodOf) as DecoderAttention | undefined,
        activations,
      });
      return {
        parameters,
        prefix,
        ignored,
        whyMissing,
        isExact,
        forward: ({ tokens }, given, control) => ({ logits: forward(given, tokens, control) }),
      };
    },
    sample: () => ({
      params: {
        config: {
          model_type: 'llama',
          vocab_size: 26,
          hidden_size: 32,
          intermediate_size: 64,
          num_hidden_layers: 2,
          num_attention_heads: 2,
          tie_word_embeddings: true,
        },
      },
      inputs: { tokens: hostTensor(LETTERS, [1, LETTERS.length], 'i32') },
    }),
  });

/** The attention of a decoder as JSON has it, with methods by their names. */
function namedAttention(given: unknown, methodOf: MethodOf): unknown {
  if (typeof given === 'string') return methodOf(given);
  if (Array.isArray(given)) return given.map((each) => namedAttention(each, methodOf));
  if (!isRecord(given) || typeof given.method !== 'string') return given;
  return { ...given, method: methodOf(given.method) };
}
