import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Performer',
  title: 'Rethinking Attention with Performers',
  authors: 'Choromanski et al.',
  arxiv: '2009.14794',
  family: 'linear and recurrent',
  order: 'n d f',
  cost: 'linear',
  training: 'needed',
  summary:
    'Positive random features stand in for the exponential: sums over them estimate softmax attention without its matrix.',
  picture: { shows: '64 random features: rank 64.' },
  problems: [
    'Approximate softmax attention by random features, with weights that are never negative.',
    'Attention in linear time and memory without a sparse pattern.',
    'Unbiased estimates of the softmax kernel with orthogonal random directions.',
  ],
  methods: ['performer'],
};
