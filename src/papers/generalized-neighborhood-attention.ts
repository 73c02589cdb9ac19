import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Generalized neighborhood attention',
  title: 'Generalized Neighborhood Attention: Multi-dimensional Sparse Attention at the Speed of Light',
  authors: 'Hassani et al.',
  arxiv: '2504.16922',
  family: 'fixed masks',
  order: 'n w',
  cost: 'linear',
  training: 'not needed',
  summary:
    'Neighbouring queries share one window, so that windows line up with the tiles in which a kernel computes and little work in a tile is wasted.',
  picture: { shows: '8 × 8 tokens, row by row; window 4 × 4, stride 2 × 4.', reach: 'all' },
  problems: [
    'Make video generation with a diffusion transformer faster, without training it again.',
    'Sliding windows save operations on paper, but the GPU is hardly faster.',
    'A choice between sliding windows and the blocked windows of the Swin transformer.',
    'How large a stride and a tile make sparse local attention fast on hardware?',
  ],
  methods: ['generalized-neighborhood-attention'],
};
