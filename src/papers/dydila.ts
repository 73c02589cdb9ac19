import type { Paper } from './paper';

export const paper: Paper = {
  name: 'DyDiLA',
  title:
    'Dynamic Differential Linear Attention: Enhancing Linear Diffusion Transformer for High-Quality Image Generation',
  authors: 'Cao, Yao, Wang, Ye, Wei, Shan',
  arxiv: '2601.13683',
  family: 'linear and recurrent',
  order: 'n d²',
  cost: 'linear',
  training: 'needed',
  summary:
    'Linear attention for diffusion models, sharpened by powers that each token picks, less what all queries and keys have in common.',
  picture: {
    shows: 'Cubes of features that keep their length.',
    ink: 'Ink: the weight of a pair; the other ink: negative. Toy data.',
  },
  problems: [
    'High-resolution image generation with a linear diffusion transformer.',
    'Generating images with a diffusion transformer is too slow.',
    'Linear attention over-smooths: all weights look alike and images get blurred.',
    'Differential attention: subtract what all tokens have in common.',
  ],
  methods: ['dydila'],
  pipelines: ['dydi-lit'],
};
