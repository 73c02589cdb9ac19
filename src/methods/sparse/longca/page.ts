import type { Page } from '../../page';
import { toyQkv } from '../../toy';

const DOCUMENTS = [11, 15, 24, 14];

export const page: Page = {
  question: 'Which of fourteen masks fits a task, and what does it cost?',
  sample: {
    extents: { n: 64, h: 2, d: 16 },
    params: { mask: 'global-sliding-window', window: 8 },
    inputs: toyQkv,
  },
  presets: [
    {
      name: 'documents',
      params: { mask: 'causal-document', documents: DOCUMENTS },
      note: 'Several texts in one row, as models are pre-trained: each sees itself alone.',
    },
    {
      name: 'several answers',
      params: { mask: 'share-question', documents: DOCUMENTS },
      note: 'Answers see the question, the first document, and themselves: a prompt of a reward model, or of preferences.',
    },
    {
      name: 'examples',
      params: { mask: 'causal-blockwise', documents: DOCUMENTS },
      note: 'The last document, which is asked about, sees all examples before it.',
    },
    {
      name: 'blocks chosen by scores',
      params: { mask: 'uniform-block-sparse', block: 4 },
      note: 'Each block of queries keeps a fifth of the blocks of keys, others in each head.',
    },
    {
      name: 'unequal blocks',
      params: { mask: 'variable-block-sparse', block: 4 },
      note: 'It fails to save as much: of blocks of random lengths a kernel sees few tiles whole.',
    },
    {
      name: "the paper's",
      extents: { n: 4096, h: 8 },
      params: { mask: 'global-sliding-window', window: 256 },
      note: 'A window to both sides, and twice as many first tokens that see all and that all see.',
    },
  ],
  rivals: ['attention', 's2-attention'],
  view: 'mask',
};
