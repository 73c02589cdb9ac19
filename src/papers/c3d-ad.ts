import type { Paper } from './paper';

export const paper: Paper = {
  name: 'C3D-AD',
  title: 'C3D-AD: Toward Continual 3D Anomaly Detection via Kernel Attention with Learnable Advisor',
  authors: 'Lu, Liang, Zhang, Hu, Wang, Gao',
  arxiv: '2508.01311',
  family: 'linear and recurrent',
  order: 'n m',
  cost: 'linear',
  training: 'needed',
  summary:
    'Finds defects in point clouds with attention over a few random features, and with a memory that learns new kinds of objects task by task.',
  picture: { shows: 'Ten random features: rank ten.' },
  problems: [
    'Detect anomalies and defects in point clouds, 3D scans of industrial products.',
    'Continual learning of new kinds of objects, without forgetting the old ones.',
    'Quality inspection in a factory.',
    'Attention with few random features for thousands of points.',
  ],
  methods: ['kernel-attention', 'point-groups'],
  pipelines: ['c3d-ad'],
};
