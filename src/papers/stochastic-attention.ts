import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Stochastic attention',
  title: 'Stochastic Attention: Connectome-Inspired Randomized Routing for Expressive Linear-Time Attention',
  authors: 'Jin, Sui',
  arxiv: '2604.00754',
  family: 'fixed masks',
  order: 'n w',
  cost: 'linear',
  training: 'either way',
  summary:
    'A sliding window over tokens in a random order. A few layers, each shuffled anew, connect every token with every other one; gates can add the ordinary window.',
  picture: { shows: 'Window 4 in three random orders, one a layer.', reach: 'all' },
  problems: [
    'With a sliding window, distant tokens meet only after many layers: reach the whole sequence sooner.',
    'Random connections inspired by the brain of a fly, a small-world network.',
    'Attention in linear time by shuffling the tokens.',
    'Make the receptive field grow faster with depth, at the cost of a sliding window.',
  ],
  methods: ['stochastic-attention'],
};
