import type { Page } from '../../page';
import { toyQkv } from '../../toy';

export const page: Page = {
  question: 'How far back does a state remember that fades at a fixed rate?',
  sample: {
    extents: { n: 64, h: 8, d: 16 },
    params: { schedule: 'released', layers: 24 },
    head: 3,
    // As in TransNormerLLM, queries and keys have been through SiLU.
    inputs: (extents) => toyQkv(extents, { features: (row) => row.map((x) => x / (1 + Math.exp(-x))) }),
  },
  presets: [
    {
      name: "the paper's",
      params: { schedule: 'paper', layers: 24 },
      note: 'The first head does not fade at all; the last ones see a token or two.',
    },
    {
      name: 'a late layer',
      params: { schedule: 'released', layer: 20, layers: 24 },
      note: 'Late layers fade more slowly.',
    },
    {
      name: 'no decay',
      params: {},
      note: 'It fails to prefer what is near: the whole past weighs alike, and sums grow with the length.',
    },
  ],
  rivals: ['gated-delta-rule', 'transnormer', 'attention'],
  view: 'weights',
};
