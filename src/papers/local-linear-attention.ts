import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Local linear attention',
  title: 'Local Linear Attention: An Optimal Interpolation of Linear and Softmax Attention For Test-Time Regression',
  authors: 'Zuo, Yin, Zeng, Li, Zhu, Wang',
  arxiv: '2510.01450',
  family: 'local linear',
  order: 'n² d',
  cost: 'quadratic',
  training: 'needed',
  summary:
    'Attention as regression: it fits a line around each query where softmax fits a constant. That costs more and errs less where keys end.',
  picture: {
    shows: 'A line fitted around each query, ridge 1.',
    ink: 'Ink: the weight of a pair; the other ink: negative. Toy data.',
  },
  problems: [
    'In-context learning and associative recall that is better than softmax attention.',
    'Attention as regression at test time, a local linear fit.',
    'More accurate attention, even if it costs more computation.',
    'Bias and variance of attention as a kernel smoother.',
  ],
  methods: ['local-linear-attention'],
};
