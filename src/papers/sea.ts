import type { Paper } from './paper';

export const paper: Paper = {
  name: 'SEA',
  title: 'SEA: Sparse Linear Attention with Estimated Attention Mask',
  authors: 'Lee, Kim, Willette, Hwang',
  arxiv: '2310.01777',
  family: 'chosen keys',
  order: 'n k',
  cost: 'linear',
  training: 'needed',
  summary:
    'A linear pass guesses a narrow map of where attention would go; exact attention is then computed at its best places only. The guess comes from Performer, which runs here.',
  picture: {
    shows: 'A map 16 wide, stretched over each row; 8 keys of its best cells.',
    ink: 'Ink: the weight of a pair. Toy data.',
  },
  problems: [
    'Distil a trained transformer into one of linear cost.',
    'Predict which entries of the attention matrix will be large before they are computed.',
    'Linear cost, and the attention map can still be shown and interpreted.',
    'Approximate softmax attention with random features, as the Performer does.',
  ],
  methods: ['performer', 'sea'],
};
