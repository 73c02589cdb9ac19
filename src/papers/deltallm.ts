import type { Paper } from './paper';

export const paper: Paper = {
  name: 'DeltaLLM',
  title: 'DeltaLLM: A Training-Free Framework Exploiting Temporal Sparsity for Efficient Edge LLM Inference',
  authors: 'Qi, Gao, Ren, Chen',
  arxiv: '2507.19608',
  family: 'chosen keys',
  order: 'n²',
  cost: 'quadratic',
  training: 'not needed',
  summary:
    'Keys change little from one token to the next: only what changed is multiplied, and scores are summed up again. Nearby keys stay exact.',
  picture: { shows: 'Stripes: how much of a key changed.' },
  problems: [
    'Run a language model on a phone or another small edge device.',
    'Save energy and multiplications at inference, without training.',
    'Neighbouring keys are nearly the same: do not multiply them again.',
    'Faster inference on hardware without a large GPU.',
  ],
  methods: ['deltallm'],
};
