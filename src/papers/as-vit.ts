import type { Paper } from './paper';

export const paper: Paper = {
  name: 'AS-ViT',
  title: 'Adaptive Sparse ViT: Towards Learnable Adaptive Token Pruning by Fully Exploiting Self-Attention',
  authors: 'Liu, Wu, Guo',
  arxiv: '2209.13802',
  family: 'pruned tokens',
  order: 'n²',
  cost: 'quadratic',
  training: 'needed',
  summary:
    'Drops the patches that the class token overlooks, as many as learned thresholds say: simple pictures keep fewer.',
  picture: { shows: '64, 42, 27 and 18 tokens left.' },
  problems: [
    'Token pruning: drop tokens of a vision transformer that do not matter.',
    'My vision transformer is too slow, and many patches show only background.',
    'Easy images should take less computation than difficult ones.',
    'Which image patches can be removed without losing accuracy?',
  ],
  methods: ['adaptive-token-pruning'],
  models: ['deit'],
};
