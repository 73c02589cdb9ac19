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
  claims: [
    {
      claim:
        'A dilated small kernel beside a large one, folded into it, gives 81.63% on ImageNet, where the large one alone gives 81.44.',
      source: 'ablation of re-parameterization',
      mark: 'from the paper',
    },
    {
      claim: 'Kernels of 13 in the later stages give 46.5 mIoU on ADE20K, of 11 45.5, of 15 45.9.',
      source: 'ablation of kernel sizes',
      mark: 'from the paper',
    },
    {
      claim: 'The temperature of thousands of stations is forecast with an error of 7.602, where Corrformer has 7.709.',
      source: 'table of time series',
      mark: 'from the paper',
    },
    {
      claim: 'Speech commands are told apart in 98.5% of the cases.',
      source: 'table of audio',
      mark: 'from the paper',
    },
  ],
};
