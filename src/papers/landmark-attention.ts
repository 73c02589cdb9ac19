import type { Paper } from './paper';

export const paper: Paper = {
  name: 'Landmark attention',
  title: 'Landmark Attention: Random-Access Infinite Context Length for Transformers',
  authors: 'Mohtashami, Jaggi',
  arxiv: '2305.16300',
  family: 'chosen keys',
  order: 'n / l a token',
  cost: 'quadratic',
  training: 'needed',
  summary:
    'One landmark token stands for each block of the past. Attention to the landmark opens its block, so that far text is read only where it is wanted.',
  picture: { shows: 'Blocks of 8 with a landmark each.', ink: 'Ink: the weight of a pair. Toy data.' },
  problems: [
    'My language model forgets what was said early in a long conversation.',
    'Find information anywhere in a long document, an endless text or a book.',
    'A context window much longer than the one a model was trained with.',
    'Access any earlier token of a long context, at random.',
    'A memory of the past for transformers that does not fade.',
  ],
  methods: ['landmark-attention'],
};
