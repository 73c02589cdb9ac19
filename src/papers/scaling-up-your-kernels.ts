import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Scaling Up Your Kernels',
  title: 'Scaling Up Your Kernels: Large Kernel Design in ConvNets towards Universal Representations',
  authors: 'Zhang, Ding, Yue',
  arxiv: '2410.08049',
  family: 'large kernels',
  order: 'n K²',
  cost: 'linear',
  training: 'needed',
  summary:
    'Rules by which few large kernels do better than many small ones, and a convolution that lets one modality be the kernel over another.',
  picture: { shows: 'Kernels of 31, 21, 13, 9, 5 and 3.' },
  problems: [
    'Design a convolutional network with very large kernels, as an alternative to transformers.',
    'How large should convolution kernels be?',
    'Fuse text, audio or video into image features by convolution.',
    'Multimodal learning with convolutional networks.',
  ],
  methods: ['asymmetric-conv-fusion'],
};
