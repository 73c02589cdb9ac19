import type { Paper } from './paper';

export const paper: Paper = {
  name: 'LongCA-bench',
  title: 'Long-Context Attention Benchmark: From Kernel Efficiency to Distributed Context Parallelism',
  authors: 'Bu, Wang, Zeng, Sun, Huang, Cao, Xu',
  arxiv: '2510.17896',
  family: 'fixed masks',
  order: 'area of the mask',
  cost: 'other',
  training: 'none',
  summary:
    'One benchmark for attention kernels under fourteen masks, and for five ways to spread a long sequence over devices. The masks run here as masks of exact attention.',
  picture: {
    shows: 'Its twelve fixed masks and two block-sparse ones, on 14 tokens each.',
    ink: 'Ink: seen in one layer.',
  },
  problems: [
    'Benchmark: which attention kernel is fastest for my mask and my length?',
    'Compare the speed of attention implementations on one or many GPUs.',
    'Train on sequences too long for one device: context parallelism, ring attention.',
    'Pack many documents into one sequence without attention between them: document masks.',
  ],
  methods: ['attention'],
  lacking: 'the five ways to spread a sequence over devices',
};
