/** Masks made from masks: conjunction, disjunction, complement. */
import { ParameterError } from '../errors';
import { checkMask } from './check';
import type { Intervals } from './intervals';
import { joinIntervals } from './intervals';
import { KeyWords, keyWords, mergeWords } from './key-words';
import type { Arrangement, Extent, Mask, Place } from './mask';

/** The keys that all of the masks see. */
export function and(...masks: readonly Mask[]): Mask {
  const arranging = masks.find((mask) => mask?.arrange);
  return combine(masks, {
    name: 'and',
    ...(arranging && { arrange: (extent) => arrangedAs(arranging, masks, extent) }),
    sees: (i, j, place) => masks.every((mask) => mask.sees(i, j, place)),
    keys: (a, b) => a && b,
    words: (a, b) => a & b,
  });
}

/** The keys that at least one of the masks sees. */
export function or(...masks: readonly Mask[]): Mask {
  return combine(masks, {
    name: 'or',
    sees: (i, j, place) => masks.some((mask) => mask.sees(i, j, place)),
    keys: (a, b) => a || b,
    words: (a, b) => a | b,
  });
}

/** The keys that the mask does not see. */
export function not(mask: Mask): Mask {
  checkMask('mask of not()', mask);
  const name = `not ${bracketed(mask.name)}`;
  return internedOver([mask], name, () => ({
    name,
    sees: (i, j, place) => !mask.sees(i, j, place),
    ...(mask.intervals
      ? {
          intervals: (i: number, place: Place) =>
            joinIntervals([0, place.m], intervalsOf(mask, i, place), (every, seen) => every && !seen),
        }
      : {
          words: (queries: ArrayLike<number>, place: Place) =>
            mergeWords(
              everyKey(queries.length, place.m),
              keyWords(mask, queries, place),
              (every, seen) => every & ~seen,
            ),
        }),
    ...traitsOf([mask]),
  }));
}

interface Junction extends Pick<Mask, 'arrange'> {
  readonly name: string;
  sees(i: number, j: number, place: Place): boolean;
  keys(a: boolean, b: boolean): boolean;
  words(a: number, b: number): number;
}

function combine(masks: readonly Mask[], { name: word, sees, keys, words, arrange }: Junction): Mask {
  if (masks.length === 0) throw new ParameterError(`${word}() needs at least one mask, got none`);
  masks.forEach((mask, at) => {
    checkMask(`mask ${at} of ${word}()`, mask);
  });
  if (masks.length === 1) return masks[0] as Mask;
  const name = masks.map((mask) => bracketed(mask.name)).join(` ${word} `);
  return internedOver(masks, name, () => ({
    name,
    sees,
    because(i, j, place) {
      const seen = sees(i, j, place);
      return masks.filter((mask) => mask.sees(i, j, place) === seen).flatMap((mask) => reasons(mask, i, j, place));
    },
    ...(masks.every((mask) => mask.intervals)
      ? {
          intervals: (i: number, place: Place) =>
            masks.map((mask) => intervalsOf(mask, i, place)).reduce((a, b) => joinIntervals(a, b, keys)),
        }
      : {
          words: (queries: ArrayLike<number>, place: Place) =>
            masks.map((mask) => keyWords(mask, queries, place)).reduce((a, b) => mergeWords(a, b, words)),
        }),
    // Each row of a sliding mask is a run that holds its position, so these are as well.
    ...(masks.every((mask) => mask.slides) && { slides: true }),
    ...(arrange && { arrange }),
    ...traitsOf(masks),
  }));
}

/** The order that one of several masks proposes, for what all of them see. */
function arrangedAs(own: Mask, masks: readonly Mask[], extent: Extent): Arrangement | undefined {
  const arrangement = own.arrange?.(extent);
  if (!arrangement) return undefined;
  const { queries, keys } = arrangement;
  const others = masks.filter((mask) => mask !== own);
  return {
    queries,
    keys,
    words(first, count, place) {
      // Slots without a query see nothing by the mask itself.
      const tokens = queries.subarray(first, first + count).map((query) => Math.max(0, query));
      const seen = others
        .map((mask) => keyWords(mask, tokens, place))
        .reduce((a, b) => mergeWords(a, b, (x, y) => x & y));
      const { starts, words } = arrangement.words(first, count, place);
      const result = new KeyWords();
      starts.forEach((start, at) => {
        const word = words[at] as number;
        if (word === 0) result.push(start, 0);
        else
          for (let slot = start; slot < (starts[at + 1] as number); slot++)
            result.push(slot, word & seen.at(keys[slot] as number));
      });
      return result;
    },
  };
}

/** Names of the masks to which it is due that query i sees key j, or does not. */
export function reasons(mask: Mask, i: number, j: number, place: Place): readonly string[] {
  return mask.because?.(i, j, place) ?? [mask.name];
}

/** The variants and the check of all operands. */
export function traitsOf(masks: readonly Mask[]): Pick<Mask, 'variant' | 'check'> {
  const varying = masks.filter((mask) => mask.variant);
  const checking = masks.filter((mask) => mask.check);
  return {
    ...(varying.length > 0 && {
      variant: (place) => varying.map((mask) => mask.variant?.(place)).join(),
    }),
    ...(checking.length > 0 && {
      check(extent) {
        for (const mask of checking) mask.check?.(extent);
      },
    }),
  };
}

class Operand {
  readonly next = new WeakMap<Mask, Operand>();
  readonly made = new Map<string, Mask>();
}

const root = new Operand();

/** The one mask of that name over these operands. Names alone do not distinguish masks that hold arrays. */
export function internedOver(operands: readonly Mask[], name: string, make: () => Mask): Mask {
  let node = root;
  for (const operand of operands) {
    const next = node.next.get(operand) ?? new Operand();
    node.next.set(operand, next);
    node = next;
  }
  const mask = node.made.get(name) ?? make();
  node.made.set(name, mask);
  return mask;
}

function intervalsOf(mask: Mask, i: number, place: Place): Intervals {
  return (mask.intervals as NonNullable<Mask['intervals']>)(i, place);
}

/** `count` queries that see all of m keys. */
function everyKey(count: number, m: number): KeyWords {
  const words = new KeyWords();
  words.push(0, count === 32 ? -1 : (1 << count) - 1);
  words.push(m, 0);
  return words;
}

function bracketed(name: string): string {
  return / (and|or) /.test(name) ? `(${name})` : name;
}
