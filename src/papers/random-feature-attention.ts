import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Random-feature attention',
  title: 'What can a Single Attention Layer Learn? A Study Through the Random Features Lens',
  authors: 'Fu, Guo, Bai, Mei',
  arxiv: '2307.11353',
  family: 'kernel methods',
  order: 'one solve',
  cost: 'other',
  training: 'needed',
  summary:
    'What one layer of attention can learn while its queries and keys stay random: functions that average over keys, from few samples.',
  picture: {
    shows: 'Keys round a circle down, 64 random heads across.',
    ink: 'Ink: the weight that a head gives a key.',
  },
  problems: [
    'Theory of attention: what can a layer learn, and from how many samples?',
    'Generalization bounds and sample complexity of transformers.',
    'Attention with random, frozen queries and keys.',
    'Does attention learn better than a fully connected network?',
  ],
  methods: ['random-feature-attention'],
};
