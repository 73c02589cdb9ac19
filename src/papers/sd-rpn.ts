import type { Paper } from './paper';

export const paper: Paper = {
  name: 'SD-RPN',
  title: 'Catching the Details: Self-Distilled RoI Predictors for Fine-Grained MLLM Perception',
  authors: 'Shi, Pei, Dong, Xu',
  arxiv: '2509.16944',
  family: 'pruned tokens',
  order: 'some layers',
  cost: 'other',
  training: 'needed',
  summary:
    "Learns from a model's own attention where in a picture the answer to a question lies, and looks there once more, closer.",
  picture: {
    shows: 'A picture of 16 × 16 tokens.',
    ink: 'Ink: attention of the answer. Toy data.',
  },
  problems: [
    'A multimodal language model overlooks small details and small text in an image.',
    'Find the region of an image that a question is about, crop it and zoom in.',
    'Visual question answering about high-resolution photographs.',
    "Learn from a model's own attention maps as labels, without annotation.",
  ],
  methods: ['roi-labels', 'roi-boxes'],
  pipelines: ['sd-rpn'],
  claims: [
    {
      claim: 'LLaVA-1.5-7B reads DocVQA at 34.2 where it had 21.5, at 0.62 of its speed.',
      source: 'table of document benchmarks',
      mark: 'from the paper',
    },
    {
      claim: 'On V* it rises from 50.3 to 70.7, Qwen2.5-VL-7B from 78.0 to 89.5.',
      source: 'table of high-resolution benchmarks',
      mark: 'from the paper',
    },
  ],
};
