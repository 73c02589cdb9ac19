import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Parallax',
  title: 'Parallax: Parameterized Local Linear Attention for Language Modeling',
  authors: 'Zuo, Pai, Zeng, Dewulf, Hu, Wang',
  arxiv: '2605.29157',
  family: 'local linear',
  order: 'n²',
  cost: 'quadratic',
  training: 'needed',
  summary:
    'Local linear attention in which a learned probe takes the place of the solver: softmax with a correction, at about twice the work.',
  picture: { shows: 'A random probe.' },
  problems: [
    'A better language model with the same number of parameters: improve softmax attention itself.',
    'Pretraining large language models with a stronger attention.',
    'Decoding is limited by memory bandwidth: use the idle arithmetic.',
    'A correction to softmax attention that is learned.',
  ],
  methods: ['parallax'],
};
