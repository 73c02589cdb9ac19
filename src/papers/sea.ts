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
  claims: [
    {
      claim: 'OPT-125M with SEA has a perplexity of 26.0 on Wikitext2, its teacher 29.2 and Performer 49.8.',
      source: 'table 2',
      mark: 'from the paper',
    },
    {
      claim: 'OPT-1.3B takes 499 MB where softmax attention takes 1120 MB, at a perplexity of 13.5 and 13.9.',
      source: 'table 2',
      mark: 'from the paper',
    },
    {
      claim: 'Stored by rows, the sparse map takes 11.4 ms where coordinates take 75.7 ms.',
      source: 'figures of the paper, as quoted',
      mark: 'from the paper',
    },
    {
      claim: 'After training, a larger budget of keys lowers the perplexity further.',
      source: 'dynamic k, as quoted',
      mark: 'from the paper',
    },
  ],
};
