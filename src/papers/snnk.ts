import type { Paper } from './paper';

export const paper: Paper = {
  name: 'SNNK',
  title: 'Scalable Neural Network Kernels',
  authors: 'Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov',
  arxiv: '2310.13225',
  family: 'kernel methods',
  order: 'm (d + l)',
  cost: 'other',
  training: 'needed',
  summary:
    'Splits a layer into a map of its inputs and a map of its weights that meet in one dot product, by random features of its activation.',
  picture: { shows: '64 inputs and 64 weights round a circle.', ink: 'Ink: the product of their 24 random features.' },
  problems: [
    'Compress the feed-forward layers of a network, its MLP.',
    'Parameter-efficient fine-tuning with small adapters.',
    'Replace a fully connected layer by random features of a kernel.',
    'Approximate an activation function by a dot product.',
  ],
  methods: ['snnk'],
};
