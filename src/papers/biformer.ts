import type { Paper } from './paper';

export const paper: Paper = {
  name: 'BiFormer',
  title: 'BiFormer: Vision Transformer with Bi-Level Routing Attention',
  authors: 'Zhu, Wang, Ke, Zhang, Lau',
  arxiv: '2303.08810',
  family: 'chosen keys',
  order: 'n^(4/3)',
  cost: 'between',
  training: 'needed',
  summary:
    'Regions of a picture first find the few regions that are most like them; their tokens then attend exactly, but only within these.',
  picture: {
    shows: '8 × 8 tokens in 16 regions; each sees 4 regions.',
    ink: 'Ink: the weight of a pair. Toy data.',
  },
  problems: [
    'Object detection and image segmentation with a vision transformer that looks only at relevant regions.',
    'Sparse attention on images that depends on their content, where windows are fixed.',
    'A vision backbone with dynamic, query-aware attention.',
    'Choose the most similar regions of an image, then attend within them.',
  ],
  methods: ['bilevel-routing-attention'],
  models: ['biformer'],
  claims: [
    {
      claim: 'BiFormer-S classifies 83.8% of ImageNet right at 4.5 G operations and 25.5M parameters.',
      source: "the repository's table",
      mark: "from the authors' code",
    },
    {
      claim: 'Trained again by the authors, it has 83.75%; Mask R-CNN on it has 48.1 box and 43.6 mask AP on COCO.',
      source: 'readme of the repository',
      mark: "from the authors' code",
    },
  ],
};
