import type { Paper } from './paper';

export const paper: Paper = {
  name: 'SALE',
  title: 'SALE : Low-bit Estimation for Efficient Sparse Attention in Long-context LLM Prefilling',
  authors: 'Ji, Zhang, Fu, Cui',
  arxiv: '2505.24179',
  family: 'chosen keys',
  order: 'n², 4-bit',
  cost: 'quadratic',
  training: 'not needed',
  summary:
    'Scores every pair of a long prompt in four bits first, then computes exactly only the blocks in which some pair matters.',
  picture: { shows: 'Blocks of 16 × 8 of 512 tokens whose 4-bit scores stand out.', ink: 'Ink: kept. Toy data.' },
  problems: [
    'Reading a long prompt takes too long: speed up prefill.',
    'Skip keys that do not matter at inference, without training.',
    'Long documents make a language model slow to answer.',
    'Estimate attention scores cheaply with low-bit, quantized queries and keys.',
    'Which blocks of the attention matrix can be left out?',
  ],
  methods: ['sale'],
};
