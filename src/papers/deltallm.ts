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
  picture: { shows: 'Keys that are nearly the ones before.', ink: 'Ink: the weight of a pair. Toy data.' },
  problems: [
    'Run a language model on a phone or another small edge device.',
    'Save energy and multiplications at inference, without training.',
    'Neighbouring keys are nearly the same: do not multiply them again.',
    'Faster inference on hardware without a large GPU.',
  ],
  methods: ['deltallm'],
  claims: [
    {
      claim:
        'In prefill 60% of the products of BitNet-b1.58-2B-4T are skipped, and its accuracy on WinoGrande does not fall.',
      source: 'abstract',
      mark: 'from the paper',
    },
    {
      claim: 'With decoding, too, 57% are skipped, and F1 on SQuAD-v2 goes from 29.63 to 30.97.',
      source: 'abstract',
      mark: 'from the paper',
    },
    {
      claim: 'Llama-3.2-1B-Instruct loses next to nothing at up to 60% in prefill.',
      source: 'abstract',
      mark: 'from the paper',
    },
  ],
};
