import type { Paper } from './paper';

export const paper: Paper = {
  name: 'UniRepLKNet',
  title:
    'UniRepLKNet: A Universal Perception Large-Kernel ConvNet for Audio, Video, Point Cloud, Time-Series and Image Recognition',
  authors: 'Ding, Zhang, Ge, Zhao, Song, Yue, Shan',
  arxiv: '2311.15599',
  family: 'large kernels',
  order: 'n K²',
  cost: 'linear',
  training: 'needed',
  summary:
    'Trains large kernels beside dilated small ones, which fold into one kernel once training is over. One network sees, hears and forecasts.',
  picture: { shows: '13 × 13 and its five dilated branches.' },
  problems: [
    'One convolutional network for images, audio, video, point clouds and time series.',
    'Time series forecasting, such as the weather.',
    'Audio and speech recognition with a convolutional network.',
    'Structural re-parameterization: fold parallel convolutions into one for inference.',
  ],
  methods: ['dilated-reparam-conv'],
  models: ['unireplknet'],
};
