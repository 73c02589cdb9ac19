import type { Paper } from './paper';

export const paper: Paper = {
  name: 'L2ViT',
  title: 'The Linear Attention Resurrection in Vision Transformer',
  authors: 'Zheng',
  arxiv: '2501.16182',
  family: 'linear and recurrent',
  order: 'n d²',
  cost: 'linear',
  training: 'needed',
  summary:
    'Linear attention over a whole picture, by turns with small windows and with a convolution that sharpens what linear weights blur.',
  picture: { shows: 'Products of ReLU features; each row is divided by its sum.' },
  problems: [
    'A vision transformer of linear cost for high-resolution images.',
    'Image classification, detection and segmentation with windows and global attention by turns.',
    'Linear attention is less accurate than softmax on images: it is not concentrated enough.',
    'An alternative to the Swin transformer that sees the whole image.',
  ],
  methods: ['l2vit'],
  models: ['l2vit'],
};
