import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Neighborhood attention',
  title: 'Faster Neighborhood Attention: Reducing the O(n^2) Cost of Self Attention at the Threadblock Level',
  authors: 'Hassani, Hwu, Shi',
  arxiv: '2403.04690',
  family: 'fixed masks',
  order: 'n w',
  cost: 'linear',
  training: 'needed',
  summary:
    'Each token of a line, picture or video attends to the window of tokens nearest to it. Near a border the window is moved in, not cut, so that every token reads equally many.',
  picture: { shows: '8 × 8 tokens, row by row; window 3 × 3.', reach: 'all' },
  problems: [
    'Local attention over images: each pixel attends to its neighbours.',
    'Sliding-window attention on a video or a volume, in two or three dimensions.',
    'High-resolution pictures make self-attention too slow, and what a pixel needs is near it.',
    'A vision transformer with local windows, like a convolution.',
  ],
  methods: ['neighborhood-attention'],
};
