/** How to read the glyphs: by family, and for each paper what is drawn and, if it differs from its family, how. */
import type { Family } from '../../src/papers';

const OF_FAMILY: Readonly<Record<Family, string>> = {
  exact: 'Ink: seen.',
  'fixed masks': 'Full ink: seen in one layer. Fainter: reached through two, three.',
  'chosen keys': 'Full ink: attended. Faint: only estimated, or passed over. Toy data.',
  'pruned tokens': 'Full ink: kept to the last stage. Fainter: dropped earlier. Toy data.',
  'linear and recurrent': 'Ink: the weight of a pair, as if pairs were stored. Toy data.',
  'local linear': 'Ink: the weight of a pair; grey: negative. Toy data.',
  'large kernels': 'One pixel in the middle. Ink: in how many ways it gathers from there.',
  'kernel methods': 'Ink: the value.',
};

const OF_PAPER: Readonly<Record<string, readonly [what: string, how?: string]>> = {
  attention: ['Queries down, keys across: 64 tokens, every pair seen.', ''],
  'faster-neighborhood-attention': ['8 × 8 tokens, row by row; window 3 × 3.'],
  'generalized-neighborhood-attention': ['8 × 8 tokens, row by row; window 4 × 4, stride 2 × 4.'],
  's2-attention': ['Four heads, blocks of 2, stride 4.', 'Full ink: what one head sees. Fainter: what the others see.'],
  'stochastic-attention': ['Window 4 in three random orders, one a layer.'],
  'power-attention': ['Tokens; window 2 and the first token.'],
  'longca-bench': ['Its twelve fixed masks and two block-sparse ones, on 14 tokens each.', 'Ink: seen in one layer.'],
  biformer: ['16 regions of 4 tokens; each sees 4 regions.'],
  sale: ['Blocks of 4 × 2 whose 4-bit scores stand out.'],
  deltallm: ['Stripes: how much of a key changed.'],
  'retrieval-attention': ['First 3, last 9 and the 7 best keys.'],
  'landmark-attention': ['Blocks of 8 with a landmark each; two are opened.'],
  sea: ['A map 12 wide, stretched over each row; its 4 best cells.'],
  'as-vit': ['64, 42, 27 and 18 tokens left.'],
  'sd-rpn': ['A picture of 16 × 16 tokens.', 'Ink: attention of the answer. Framed: the region to enlarge. Toy data.'],
  optiprune: [
    'A picture of 16 × 16 tokens.',
    'Full ink: base of its patch. Half: kept. Faint: copied from the most similar. Toy data.',
  ],
  'lightning-attention': [
    'One head; the decay of a token is e to the −1/16.',
    'Ink: the weight of a pair, as if pairs were stored.',
  ],
  transnormer: ['Blocks of 8 in early layers, all before in later ones.'],
  performer: ['64 random features: rank 64.'],
  'gated-delta-networks': [
    'What a token wrote fades, and is replaced as its key returns.',
    'Ink: the weight of a pair, as if pairs were stored; grey: negative. Toy data.',
  ],
  l2vit: ['8 × 8 tokens, windows of 4 × 4 alternating with all.'],
  dydila: ['Cubes of features, less half of their mean.', 'Ink: the weight of a pair; grey: negative. Toy data.'],
  'nats-linear': [
    'Chunks of 8: exact, or fading through the state.',
    'Ink: the weight of a pair, as if pairs were stored.',
  ],
  'c3d-ad': ['Ten random features: rank ten.'],
  'local-linear-attention': ['Positions as keys, kernel 9 wide.', 'Ink: the weight of a pair; grey: negative.'],
  parallax: ['A random probe.'],
  van: ['5 × 5, then 7 × 7 with dilation 3.'],
  bevanet: ['5 × 5, and strips of 7 with dilation 3.'],
  unireplknet: ['13 × 13 and its five dilated branches.'],
  'scaling-up-your-kernels': ['Kernels of 31, 21, 13, 9, 5 and 3.'],
  'random-feature-attention': [
    '64 random heads down, keys around a circle across.',
    'Ink: the weight that a head gives a key.',
  ],
  snnk: ['Above the diagonal a kernel, below it 24 random features.', 'Ink: the value of the kernel.'],
  'more-is-better': ['Samples across, features down, 4 to 4000 of each.', 'Ink: the test risk, in ten steps.'],
  'generative-kernel-continual-learning': [
    'Four tasks of two classes; no kernel between tasks.',
    'Ink: the value of the kernel. Toy data.',
  ],
};

export function reading({ id, family }: { readonly id: string; readonly family: Family }): string {
  const [what, how = OF_FAMILY[family]] = OF_PAPER[id] ?? [''];
  return `${what} ${how}`.trim();
}
