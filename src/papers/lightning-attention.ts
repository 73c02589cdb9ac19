import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Lightning attention',
  title: 'Various Lengths, Constant Speed: Efficient Language Modeling with Lightning Attention',
  authors: 'Qin, Sun, Li, Shen, Sun, Zhong',
  arxiv: '2405.17381',
  family: 'linear and recurrent',
  order: 'n d²',
  cost: 'linear',
  training: 'needed',
  summary:
    'The past is one matrix a head that fades at a fixed rate, so that every token costs the same, however long the text.',
  picture: {
    shows: 'One head; the decay of a token is e to the −1/16.',
    ink: 'Ink: the weight of a pair, as if pairs were stored. Toy data.',
  },
  problems: [
    'Linear attention for language models in constant memory.',
    'Train a language model on long sequences as fast as on short ones.',
    'Generate text with a state of fixed size in the place of a KV cache that grows.',
    'The speed of training should not depend on the length of the sequence.',
    'Causal linear attention with exponential decay, like a recurrent network.',
  ],
  methods: ['lightning-attention'],
};
