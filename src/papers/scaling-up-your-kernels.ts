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
  picture: {
    shows: 'A sequence down, its channels across: each has the pattern elsewhere.',
    ink: 'Ink: how well the pattern, as the kernel, fits there; the other ink: how ill. Toy data.',
  },
  problems: [
    'Design a convolutional network with very large kernels, as an alternative to transformers.',
    'How large should convolution kernels be?',
    'Fuse text, audio or video into image features by convolution.',
    'Multimodal learning with convolutional networks.',
  ],
  methods: ['asymmetric-conv-fusion'],
  claims: [
    {
      claim:
        "24 layers of 31 × 31 at 16 × 16 places take 8.4 ms by the authors' kernel, 171.4 ms by PyTorch, and hardly more than 3 × 3.",
      source: 'table 1',
      mark: 'from the paper',
    },
    {
      claim: 'MobileNetV2 with 13 × 13 kernels falls to 53.98% without shortcuts and rises to 72.53% with them.',
      source: 'table 2a',
      mark: 'from the paper',
    },
    {
      claim:
        'From kernels of 3 to 7 to 13 RepLKNet-B goes from 82.11 to 82.73 to 83.02% on ImageNet, and from 46.05 to 48.35 mIoU on ADE20K.',
      source: 'table 2d',
      mark: 'from the paper',
    },
  ],
};
