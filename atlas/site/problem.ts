/** The extents of a setting, and the attentions among the methods: those of q, k and v. */
import type { Cost, Letters, Method } from '../../src/methods/define';
import type { Extents } from '../../src/methods/page';

export const isSpatial = ({ inputs }: Pick<Method, 'inputs'>) =>
  Object.values(inputs).some((spec) => spec.includes('...space'));

export const isAttention = ({ inputs }: Pick<Method, 'inputs'>) => ['q', 'k', 'v'].every((name) => name in inputs);

/** The cost of a method with what a layer computes for it, such as an estimate. */
export function costInLayer(method: Method, letters: Letters, params: never): Cost {
  const { n = 1, h = 1, g = h, d = 1, e = d } = letters;
  const config = { width: h * d, heads: h, keyHeads: g, d, e, layer: 0, layers: 1 };
  const cost = method.cost(letters, params);
  return { ...cost, flops: cost.flops + (method.layer?.(config, params).flops?.(n) ?? 0) };
}

/** Tokens of a sequence, or along both axes of a grid. */
export const gridIn = (extents: Extents): number[] =>
  (extents.rows ? ['rows', 'columns'] : ['n']).map((letter) => extents[letter] ?? 1);

/** All tokens. */
export const tokensIn = (extents: Extents) => gridIn(extents).reduce((size, extent) => size * extent, 1);

/** The letters of what is called the length: one, or both of a grid. */
export const lengthOf = (extents: Extents) => (extents.rows ? ['rows', 'columns'] : Object.keys(extents).slice(0, 1));

/** What the length of a page's setting counts. */
export const lengthName = ({ baseline, sample }: AnyPage) =>
  baseline ? 'tokens' : sample.extents.rows ? 'places' : (lengthOf(sample.extents)[0] ?? '');
interface AnyPage {
  readonly baseline?: string;
  readonly sample: { readonly extents: Extents };
}

/** The length: as many tokens, or how many the first letter counts. */
export const lengthIn = (extents: Extents) =>
  lengthOf(extents).reduce((length, letter) => length * (extents[letter] ?? 1), 1);

/** At another length; a grid is as square as powers of two can be. */
export function atLength(extents: Extents, length: number): Extents {
  const rows = extents.rows ? 2 ** Math.floor(Math.log2(length) / 2) : length;
  const lengths = lengthOf(extents).map((letter, at) => [letter, at === 0 ? rows : length / rows]);
  return { ...extents, ...Object.fromEntries(lengths) };
}

/**
 * Where real q, k and v come from, as `saccade compare` makes them, and the heads that they have: the layers of the sentence
 * encoder, through which a text goes, and patches of a photograph, for methods on grids.
 */
export const REAL_NUMBERS = {
  'layer 0': { h: 4, d: 64, spatial: false },
  'layer 1': { h: 4, d: 128, spatial: false },
  picture: { h: 4, d: 30, spatial: true },
} as const;
export type RealNumbers = keyof typeof REAL_NUMBERS;
