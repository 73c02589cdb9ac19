import type { Paper } from './paper';

export const paper: Paper = {
  name: 'BEVANet',
  title: 'BEVANet: Bilateral Efficient Visual Attention Network for Real-Time Semantic Segmentation',
  authors: 'Huang, Chao, Huang, Liao, Chuang',
  arxiv: '2508.07300',
  family: 'large kernels',
  order: 'n',
  cost: 'linear',
  training: 'needed',
  summary:
    'Dilated strips across and down a picture, weighed anew at each place, in a network of two branches that segments street scenes in real time.',
  picture: { shows: '5 × 5, and strips of 7 with dilation 3.' },
  problems: [
    'Semantic segmentation of road scenes in real time.',
    'Autonomous driving: segment the street at many frames a second.',
    'Segmentation with sharp boundaries on an embedded GPU.',
    'A fast two-branch network for dense prediction.',
  ],
  methods: ['sdlska'],
  models: ['bevanet'],
  claims: [
    {
      claim: '79.3 mIoU on Cityscapes without pretraining, 81.0 with it, at 33 frames a second.',
      source: 'abstract',
      mark: 'from the paper',
    },
    {
      claim: 'The small network has 78.2 mIoU with 15.2M parameters at 70 frames a second on an RTX 3090.',
      source: 'readme of the repository',
      mark: "from the authors' code",
    },
  ],
};
