import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Generative kernel continual learning',
  title: 'Generative Kernel Continual learning',
  authors: 'Derakhshani, Zhen, Shao, Snoek',
  arxiv: '2112.13410',
  family: 'kernel methods',
  order: 'one solve a task',
  cost: 'other',
  training: 'needed',
  summary:
    'A generative model recalls samples of earlier tasks, from which kernel machines are fitted, so that no sample need be kept.',
  picture: {
    shows: 'Samples down, those stored across: four tasks of two classes.',
    ink: 'Ink: what a label weighs in a prediction. Toy data.',
  },
  problems: [
    'Continual learning: one task after another without catastrophic forgetting.',
    'Learn new classes without storing old samples in a replay buffer.',
    'A generative model, a variational autoencoder, replays earlier tasks.',
    'Classification with kernel ridge regression for each task.',
  ],
  methods: ['kernel-ridge'],
  pipelines: ['generative-kernel-continual-learning'],
};
