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
  claims: [
    {
      claim:
        'VAN-B0 has 75.4% on ImageNet; without the dilated part 74.1, without the gate 74.3, with a sum in its place 74.6.',
      source: 'table 3',
      mark: 'from the paper',
    },
    {
      claim: 'Kernels of 7, 14, 21 and 28 give 74.8, 75.3, 75.4 and 75.4%.',
      source: 'table 6',
      mark: 'from the paper',
    },
    {
      claim: 'B1 and B2 have 81.1 and 82.8%, where Swin-T has 81.3 and ConvNeXt-T 82.1.',
      source: 'table of ImageNet',
      mark: 'from the paper',
    },
  ],
};
