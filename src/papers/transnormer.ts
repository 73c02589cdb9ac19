import type { Paper } from './paper';

export const paper: Paper = {
  name: 'TransNormer',
  title: 'The Devil in Linear Transformer',
  authors: 'Qin, Han, Sun, Li, Kong, Barnes, Zhong',
  arxiv: '2210.10340',
  family: 'linear and recurrent',
  order: 'n d²',
  cost: 'linear',
  training: 'needed',
  summary:
    'Linear attention with a norm in the place of its denominator, which made gradients unbounded; early layers attend exactly within blocks.',
  picture: { shows: 'A late layer: all before, without a denominator.' },
  problems: [
    'Training a linear transformer is unstable: it diverges, its gradients explode.',
    'Linear attention dilutes over a long sequence and neglects neighbouring tokens.',
    'What should normalize linear attention in the place of the denominator?',
    'Linear attention is worse than softmax in language modelling: why?',
  ],
  methods: ['transnormer'],
};
