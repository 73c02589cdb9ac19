/** The encoder as a model: tokens of sentences of one length to their vectors. */
import * as valibot from 'valibot';
import type { TrainableParameters } from '../../nn/module';
import { contiguous } from '../../ops/copy';
import { hostTensor } from '../../tensor/host';
import { defineModel } from '../define';
import { readModel, weightsOf } from './files';
import { encode } from './forward';
import { PARAMETERS } from './weights';

/** "How old are you?", "What is your age?", and "My phone is good." */
const SENTENCES = [
  [728, 446, 31, 19, 54],
  [379, 18, 37, 735, 54],
  [404, 825, 18, 129, 6],
];

export const universalSentenceEncoder = defineModel({
  name: 'universal-sentence-encoder',
  summary: 'sentences to vectors whose inner products measure likeness of meaning: a small transformer',
  inputs: { tokens: 'b n' },
  integers: ['tokens'],
  outputs: { embedding: 'b 512' },
  params: valibot.strictObject({}),
  network: () => ({
    parameters: PARAMETERS,
    forward({ tokens }, weights, { signal }) {
      const [b, n] = tokens.shape as [number, number];
      const rows = contiguous(tokens).reshape([b * n]);
      return { embedding: encode(weights as TrainableParameters, rows, Array<number>(b).fill(n), { signal }) };
    },
  }),
  sample: () => ({ params: {}, inputs: { tokens: hostTensor(SENTENCES.flat(), [3, 5], 'i32') } }),
  published: { params: {}, load: async () => ({ tensors: weightsOf(await readModel(undefined)) }) },
});
