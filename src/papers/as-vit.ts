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
  picture: {
    shows: '64 tokens, of which an earlier layer dropped those of two topics.',
    ink: 'Ink: the weight of a pair. What was dropped is seen only by itself. Toy data.',
  },
  problems: [
    'Token pruning: drop tokens of a vision transformer that do not matter.',
    'My vision transformer is too slow, and many patches show only background.',
    'Easy images should take less computation than difficult ones.',
    'Which image patches can be removed without losing accuracy?',
  ],
  methods: ['adaptive-token-pruning'],
  models: ['deit'],
  claims: [
    { claim: 'DeiT-S is 50% faster and loses 0.2 points of accuracy.', source: 'abstract', mark: 'from the paper' },
    {
      claim: 'At 3.0 G operations DeiT-S falls from 79.8 to 79.6, where EViT loses 0.3 and DynamicViT 0.5.',
      source: 'table 1, as quoted by a review',
      mark: 'from a third party',
    },
    {
      claim: 'Thresholds that adapt to the picture are 0.2 points better than keeping equally many tokens of each.',
      source: 'ablation, as quoted by a review',
      mark: 'from a third party',
    },
  ],
};
