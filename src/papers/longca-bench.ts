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
  picture: { shows: 'One of its fourteen masks: causal attention within each document.' },
  problems: [
    'Benchmark: which attention kernel is fastest for my mask and my length?',
    'Compare the speed of attention implementations on one or many GPUs.',
    'Train on sequences too long for one device: context parallelism, ring attention.',
    'Pack many documents into one sequence without attention between them: document masks.',
  ],
  methods: ['longca'],
  pipelines: ['longca-bench'],
  claims: [
    {
      claim:
        'On regular masks FlashAttention-3 is fastest; on the six irregular ones only FlashMask and FlexAttention are efficient.',
      source: 'notes on the paper',
      mark: 'from a third party',
    },
    {
      claim:
        'With blocks of 128 and a fifth of them kept, FlashInfer reaches 414.93 TFLOPs forward, FlashAttention-2 with blocks 315.12.',
      source: 'table 5, as quoted',
      mark: 'from a third party',
    },
    {
      claim:
        'Over 96 GPUs and 768K tokens two-dimensional schemes are 20 to 40% faster than ring and Ulysses on documents.',
      source: 'notes on the paper',
      mark: 'from a third party',
    },
  ],
};
