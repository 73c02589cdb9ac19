import type { Paper } from './paper';

export const paper: Paper = {
  name: 'VAN',
  title: 'Visual Attention Network',
  authors: 'Guo, Lu, Liu, Cheng, Hu',
  arxiv: '2202.09741',
  family: 'large kernels',
  order: 'n',
  cost: 'linear',
  training: 'needed',
  summary: 'A large convolution, made of three cheap ones, gates its own input. There are no queries, keys or pairs.',
  picture: { shows: '5 × 5, then 7 × 7 with dilation 3.' },
  problems: [
    'A convolutional backbone for images in the place of self-attention.',
    'Image classification, object detection and segmentation without a transformer.',
    'Long-range dependencies in images by large convolutions at linear cost.',
    'An attention mechanism for vision without queries and keys.',
  ],
  methods: ['large-kernel-attention'],
  models: ['van'],
};
