/** Tokens by their residue modulo a step, for masks whose queries see keys of their own residue only. */
import { BoundedMap } from '../bounded-map';
import { congruent } from './intervals';
import { wordsOf } from './key-words';
import type { Arrangement, Extent } from './mask';

/** Queries of a residue from which on an order by residues is worth it: fewer fill no tile. */
const LEAST_QUERIES = 8;
const KEPT = 8;

/**
 * `arrange` of a mask whose query at position p = i + m - n sees the keys congruent to p modulo `step` from the first of
 * `bounds` to before the second: in the order of residues each query sees a single run.
 */
export function arrangeByResidue(
  step: number,
  bounds: (position: number, m: number) => readonly [first: number, past: number],
): (extent: Extent) => Arrangement | undefined {
  const kept = new BoundedMap<string, Arrangement>(KEPT);
  return ({ n, m }) => {
    if (step === 1 || n < LEAST_QUERIES * step) return undefined;
    return kept.get(`${n} ${m}`, () => {
      const queries = byResidue(n, m - n, step).tokens;
      const { tokens: keys, starts } = byResidue(m, 0, step);
      return {
        queries,
        keys,
        words(first, count) {
          const rows = Array.from(queries.subarray(first, first + count), (i) => {
            const position = i + m - n;
            const residue = congruent(position, 0, step);
            const [start, end] = bounds(position, m).map(
              (key) => (starts[residue] as number) + Math.max(0, Math.ceil((key - residue) / step)),
            ) as [number, number];
            return start < end ? [start, end] : [];
          });
          return wordsOf(rows);
        },
      };
    });
  };
}

/** Tokens at positions from `offset` on, residue after residue, and the slot of the first of each residue. */
function byResidue(count: number, offset: number, step: number) {
  const tokens = new Int32Array(count);
  const starts = new Int32Array(step);
  let slot = 0;
  for (let residue = 0; residue < step; residue++) {
    starts[residue] = slot;
    for (let token = congruent(residue - offset, 0, step); token < count; token += step) tokens[slot++] = token;
  }
  return { tokens, starts };
}
