/**
 * What the page of a method shows. `page.ts` in the method's folder exports `page`; the definition has
 * `page: () => import('./page')`, so that only what builds or shows pages loads it.
 */

/**
 * Extents by letter, those from which the others follow (`lettersOf`). The first, or `rows` and `columns` if there are, is the
 * length that the cost is drawn against.
 */
export type Extents = Readonly<Record<string, number>>;

/** As a user would write them. */
type Params = Readonly<Record<string, unknown>>;

export interface Sample {
  readonly extents: Extents;
  readonly params: Params;
  /** What letters are the counts of, in words, such as `tokens of the prompt`; default: the tensors that have them. */
  readonly letters?: Readonly<Record<string, string>>;
  /** The head that a picture opens on. Default: 0. */
  readonly head?: number;
  /** Numbers of inputs by name, row-major, for any extents. Default, and for the others: normal random numbers. */
  inputs?(extents: Extents): Readonly<Record<string, ArrayLike<number>>>;
  /** Inputs that the page's program, which draws all numbers, draws from 0 to 1, as the method refuses negative ones. */
  readonly positive?: readonly string[];
}

/** A setting worth a look, such as the paper's, or one with which the method fails. */
export interface Preset extends Pick<Sample, 'params'> {
  readonly name: string;
  /** Those that differ from the sample's. */
  readonly extents?: Extents;
  /** What there is to see, in a sentence. */
  readonly note: string;
  /** If not the page's. */
  readonly view?: View;
}

export const VIEWS = ['mask', 'weights', 'outputs'] as const;
type View = (typeof VIEWS)[number];

export interface Page {
  /** What the page answers. */
  readonly question: string;
  /** What shows it; the page opens with it. */
  readonly sample: Sample;
  readonly presets: readonly Preset[];
  /** Methods to be seen beside it, by name. */
  readonly rivals: readonly string[];
  /** What the page opens on: what the mask shows to each query, what each value weighs, or the outputs. */
  readonly view: View;
  /** Which of the pictures shown is the glyph, an output or an input: its sides divide 64; and which of its planes, default the first. */
  readonly glyph?: { readonly output: string; readonly plane?: number };
  /** A picture before the outputs: the first number of the first output, for params down and across. */
  readonly sweep?: { readonly name: string; readonly down: Swept; readonly across: Swept };
  /** Pictures of inputs and results, where these alone show little: before the outputs, or in place of those of their names. */
  pictures?(tensors: Readonly<Record<string, Numbers>>, params: Params): readonly Picture[];
}

/** An input or a result: its shape, and its numbers row by row. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

export interface Picture {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  /** How many lie side by side. Default: 1. */
  readonly planes?: number;
  /** Row by row, and plane by plane: full ink is the largest magnitude; negative numbers have the opposite ink. */
  readonly data: ArrayLike<number>;
  /** How it is read, in a sentence. */
  readonly note: string;
  /** What stands beside its rows, if it is a table of numbers. */
  readonly labels?: readonly string[];
}

interface Swept {
  readonly param: string;
  readonly values: readonly number[];
}

/** Extents of an attention that follow from others: as many keys as queries, heads and channels alike. */
const FOLLOWS = { m: 'n', g: 'h', a: 'h', e: 'd' } as const;

/** All extents by letter; those of a grid are also its axes. */
export function lettersOf(extents: Extents): Record<string, number> {
  const { rows, columns } = extents;
  const grid = rows && columns ? { n: rows * columns, space0: rows, space1: columns } : {};
  const letters: Record<string, number> = { b: 1, ...grid, ...extents };
  for (const [letter, from] of Object.entries(FOLLOWS)) {
    const extent = letters[letter] ?? letters[from];
    if (extent !== undefined) letters[letter] = extent;
  }
  return letters;
}

/** The shape that a specification such as `b ...space h d` has; undefined where a letter has no extent. */
export function shapeOfSpec(spec: string, extents: Extents): (number | undefined)[] {
  const letters = lettersOf(extents);
  return spec
    .replace('...space', 'space0 space1')
    .split(' ')
    .map((letter) => letters[letter] ?? (Number(letter) || undefined));
}
