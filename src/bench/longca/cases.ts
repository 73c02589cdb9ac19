/** The cases of `saccade bench longca`: a mask of the benchmark by its name, at a length, with some heads, in one direction. */
import type { Mask } from '../../masks/mask';
import { type MaskProblem, problemOfLetters } from '../../methods/define';
import { maskNamed } from '../../methods/sparse/longca';
import { isDynamic, MASK_NAMES } from '../../methods/sparse/longca/settings';

export const PASSES = ['forward', 'backward'] as const;
type Pass = (typeof PASSES)[number];

/** Query heads, and those of keys and values. */
export type Heads = readonly [h: number, g: number];

export interface LongCaProblem {
  readonly mask: string;
  readonly n: number;
  readonly pass: Pass;
  readonly h: number;
  readonly g: number;
  readonly d: number;
}

export interface LongCaCase extends LongCaProblem {
  readonly contender: string;
}

/** What is to be measured. */
export interface LongCaChoice {
  readonly n: readonly number[];
  /** Lengths of the masks of chosen blocks alone. */
  readonly sparse: readonly number[];
  readonly masks: readonly string[];
  readonly passes: readonly Pass[];
  readonly heads: readonly Heads[];
  readonly d: number;
  readonly contenders: readonly string[];
}

/** Every case, the shortest first; contenders of the same problem follow one another. */
export function casesOf({ n, sparse, masks, passes, heads, d, contenders }: LongCaChoice): LongCaCase[] {
  const lengths = [...new Set([...n, ...sparse])].sort((a, b) => a - b);
  return lengths.flatMap((tokens) =>
    heads.flatMap(([h, g]) =>
      passes.flatMap((pass) =>
        masks
          .filter((mask) => n.includes(tokens) || isDynamic({ mask }))
          .flatMap((mask) => contenders.map((contender) => ({ contender, mask, n: tokens, pass, h, g, d }))),
      ),
    ),
  );
}

export const keyOf = ({ contender, mask, n, pass, h, g, d }: LongCaCase): string =>
  [contender, mask, n, pass, h, g, d].join();

/** The benchmark's mask with its own params, drawn for the length. */
export function maskOf({ mask: name, n, h, g }: Pick<LongCaProblem, 'mask' | 'n' | 'h' | 'g'>): Mask {
  const { method, params, problem } = longca(name, { n, m: n, h, g });
  return method.mask?.(params, problem) as Mask;
}

/** Pairs of a query and a key that all heads see together. */
export function pairsOf({ mask: name, n, h, g }: Pick<LongCaProblem, 'mask' | 'n' | 'h' | 'g'>): number {
  const { method, params } = longca(name, { n, m: n, h, g });
  return method.cost({ b: 1, n, m: n, h, g, d: 1, e: 1 } as never, params).flops / 4;
}

/** Multiplications and additions of the pairs alone: two products forward, five backward. */
export const flopsOf = ({ pass, d, ...problem }: LongCaProblem): number =>
  (pass === 'forward' ? 4 : 10) * d * pairsOf(problem);

function longca(name: string, letters: Readonly<Record<string, number>>) {
  const method = maskNamed(name);
  if (!method) throw new Error(`no mask ${name} among ${MASK_NAMES.join(', ')}`);
  return { method, params: method.parse({}) as never, problem: problemOfLetters(letters) satisfies MaskProblem };
}
