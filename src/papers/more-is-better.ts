import type { Paper } from './paper';

export const paper: Paper = {
  name: 'More is Better',
  title:
    'More is Better in Modern Machine Learning: when Infinite Overparameterization is Optimal and Overfitting is Obligatory',
  authors: 'Simon, Karkada, Ghosh, Belkin',
  arxiv: '2311.14646',
  family: 'kernel methods',
  order: 'closed form',
  cost: 'other',
  training: 'none',
  summary:
    'A formula for the risk of regression on random features. With the ridge at its best, more features and more samples never hurt.',
  picture: { shows: 'Samples across, features down, 4 to 4096 of each.', ink: 'Ink: the test error.' },
  problems: [
    'Do more parameters and more data always help? Overparameterization and overfitting in theory.',
    'Double descent, benign overfitting and the optimal ridge.',
    'Predict the test error of kernel regression before training.',
    'Scaling laws of model size and data.',
  ],
  methods: ['random-feature-risk'],
};
