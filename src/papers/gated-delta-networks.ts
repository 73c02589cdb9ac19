import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Gated delta networks',
  title: 'Gated Delta Networks: Improving Mamba2 with Delta Rule',
  authors: 'Yang, Kautz, Hatamizadeh',
  arxiv: '2412.06464',
  family: 'linear and recurrent',
  order: 'n d²',
  cost: 'linear',
  training: 'needed',
  summary:
    'A recurrent memory that fades by a gate of each token and replaces what a key held, in place of only adding to it.',
  picture: {
    shows: 'What a token wrote fades, and is replaced as its key returns.',
    ink: 'Ink: the weight of a pair, as if pairs were stored; the other ink: negative. Toy data.',
  },
  problems: [
    'A recurrent layer for language models that recalls better than Mamba2 and plain linear attention.',
    'A state of fixed size that overwrites outdated values and forgets when it should.',
    'The delta rule in chunks, trained in parallel over long sequences.',
  ],
  methods: ['gated-delta-rule'],
};
