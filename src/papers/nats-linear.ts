import type { Paper } from './paper';

export const paper: Paper = {
  name: 'NAtS-L',
  title: 'Neural Attention Search Linear: Towards Adaptive Token-Level Hybrid Attention Models',
  authors: 'Deng, Winje, Fehring, Lindauer',
  arxiv: '2602.03681',
  family: 'linear and recurrent',
  order: 'f n²',
  cost: 'quadratic',
  training: 'needed',
  summary:
    'A router sends each chunk of tokens either to exact attention or into a state that a gated delta rule keeps; every query reads both.',
  picture: {
    shows: 'Chunks of 8 tokens: those that fade through the state.',
    ink: 'Ink: the weight of a pair, as if pairs were stored.',
  },
  problems: [
    'A hybrid model of softmax attention and a recurrent layer or state space model.',
    'Some tokens must be recalled exactly, the rest can be compressed into a state.',
    'Mix linear attention with full attention, chosen for each token.',
    'A recurrent memory that overwrites old values: the delta rule, DeltaNet, Mamba.',
    'Long contexts with less memory, without losing what must be looked up.',
  ],
  methods: ['nats-linear', 'gated-delta-rule'],
};
