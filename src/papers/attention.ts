import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Exact attention',
  title: 'Attention Is All You Need',
  authors: 'Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin',
  arxiv: '1706.03762',
  family: 'exact',
  order: 'n²',
  cost: 'quadratic',
  training: 'not needed',
  summary: 'Every token weighs every other one by the softmax of their product: what all others are measured against.',
  picture: {
    shows: 'Queries down, keys across: 64 tokens that return to a few topics, every pair weighed.',
    ink: 'Ink: the weight of a pair. Toy data.',
  },
  problems: [
    'Exact softmax attention, fast and in linear memory, on a processor or a GPU.',
    'The attention of a transformer: self-attention, cross-attention, grouped heads.',
    'A baseline that every approximation of attention is compared with.',
  ],
  methods: ['attention'],
};
