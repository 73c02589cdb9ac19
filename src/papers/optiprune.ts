import type { Paper } from './paper';

export const paper: Paper = {
  name: 'OptiPrune',
  title: 'OptiPrune: Boosting Prompt-Image Consistency with Attention-Guided Noise and Dynamic Token Selection',
  authors: 'one author',
  arxiv: '2507.00789',
  family: 'pruned tokens',
  order: 'n²',
  cost: 'quadratic',
  training: 'not needed',
  summary:
    'Steers the first noise of a diffusion model until attention finds every subject of the prompt, and skips tokens that are like others nearby.',
  picture: {
    shows: '64 tokens of a picture, of which half are pruned.',
    ink: 'Ink: the weight of a pair. Columns of pruned tokens are empty, and their rows are copies. Toy data.',
  },
  problems: [
    'Text-to-image generation leaves out an object or a subject of the prompt.',
    'The generated image does not match the prompt: two subjects are mixed up.',
    'Make Stable Diffusion faster by merging or pruning similar image tokens.',
    'Image generation guided by attention maps of the subjects.',
  ],
  methods: ['simprune-attention', 'subject-scores'],
  pipelines: ['optiprune'],
  claims: [
    {
      claim: 'Pruning by similarity, as in SiTo, makes Stable Diffusion 1.5 1.90 times as fast on COCO30k.',
      source: 'readme of SiTo, on which the pruning is modelled',
      mark: "from the authors' code",
    },
  ],
};
