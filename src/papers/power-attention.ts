import type { Paper } from './paper';

export const paper: Paper = {
  name: 'PowerAttention',
  title: 'PowerAttention: Exponentially Scaling of Receptive Fields for Effective Sparse Attention',
  authors: 'Chen, Xu, An, Wang et al.',
  arxiv: '2503.03588',
  family: 'fixed masks',
  order: 'n log n',
  cost: 'between',
  training: 'needed',
  summary:
    'A block of tokens sees the blocks nearby, the first one, and those 1, 2, 4, 8 and so on away: a few layers lead anywhere in the past.',
  picture: { shows: 'Tokens; window 2 and the first token.', reach: 'past' },
  problems: [
    'My language model loses the beginning of a long text.',
    'A long context of a hundred thousand tokens: early information must still reach the last token.',
    'With sliding-window attention a model forgets what came early.',
    'The receptive field should grow exponentially with the number of layers.',
    'Sparse attention for long contexts that leaves no holes.',
  ],
  methods: ['power-attention'],
};
