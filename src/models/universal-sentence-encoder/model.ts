/** The encoder as a model: tokens of sentences of one length to their vectors. */
import * as valibot from 'valibot';
import type { TrainableParameters } from '../../nn/module';
import { contiguous } from '../../ops/copy';
import { hostTensor } from '../../tensor/host';
import { defineModel } from '../define';
import { readModel, weightsOf } from './files';
import { encode } from './forward';
import { PARAMETERS } from './weights';

/** With their tokens: as many of each. */
const SENTENCES: Readonly<Record<string, readonly number[]>> = {
  'How old are you?': [728, 446, 31, 19, 54],
  'What is your age?': [379, 18, 37, 735, 54],
  'My phone is good.': [404, 825, 18, 129, 6],
  'This phone works well.': [180, 825, 1032, 185, 6],
  'The weather is cold.': [34, 3524, 18, 2282, 6],
  'It is cold outside.': [75, 18, 2282, 1080, 6],
};
const [TEXTS, TOKENS] = [Object.keys(SENTENCES), Object.values(SENTENCES)];

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
  sample: () => ({ params: {}, inputs: { tokens: hostTensor(TOKENS.flat(), [TEXTS.length, 5], 'i32') } }),
  pictures({ embedding }) {
    const { data, shape } = embedding!;
    const [rows, width] = shape as [number, number];
    const product = (i: number, j: number) => {
      let sum = 0;
      for (let at = 0; at < width; at++) sum += data[i * width + at]! * data[j * width + at]!;
      return sum;
    };
    const likeness = Array.from({ length: rows ** 2 }, (_, at) => product(Math.floor(at / rows), at % rows));
    const note =
      'Inner products of the vectors of two sentences: 1 where they are the same, near 0 where they have nothing in common.';
    return [{ name: 'likeness', rows, columns: rows, data: likeness, note, labels: TEXTS }];
  },
  published: { params: {}, load: async () => ({ tensors: weightsOf(await readModel(undefined)) }) },
});
