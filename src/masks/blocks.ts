import { causal } from './band';
import { checkMask, checkWhole } from './check';
import { internedOver, reasons, traitsOf } from './combine';
import { pushRun } from './intervals';
import { KeyWords } from './key-words';
import type { Extent, Mask } from './mask';

/**
 * A mask between blocks of `size` tokens: a query sees a key if, of their blocks, `mask` sees one from the other.
 * Query i is at position i + m - n, blocks are counted from position 0, and the last of either side may be short.
 */
export function blocks(size: number, mask: Mask): Mask {
  checkWhole('size of blocks', size, 1);
  checkMask('mask of blocks()', mask);
  const { intervals, words } = mask;
  const { variant, check } = traitsOf([mask]);
  const name = `blocks of ${size} (${mask.name})`;
  const query = (i: number, { n, m }: Extent) => Math.floor((i + m - n) / size) - Math.floor((m - n) / size);
  return internedOver([mask], name, () => ({
    name,
    sees: (i, j, place) => mask.sees(query(i, place), Math.floor(j / size), inBlocks(place, size)),
    because: (i, j, place) =>
      reasons(mask, query(i, place), Math.floor(j / size), inBlocks(place, size)).map(
        (reason) => `${reason} of blocks of ${size}`,
      ),
    ...(intervals && {
      intervals(i, place) {
        const runs: number[] = [];
        const coarse = intervals(query(i, place), inBlocks(place, size));
        for (let at = 0; at < coarse.length; at += 2) {
          pushRun(runs, (coarse[at] as number) * size, Math.min((coarse[at + 1] as number) * size, place.m));
        }
        return runs;
      },
    }),
    ...(words && {
      words(queries, place) {
        const ofBlocks = Array.from(queries, (i) => query(i, place));
        const coarse = words(ofBlocks, inBlocks(place, size));
        const result = new KeyWords();
        coarse.starts.forEach((start, at) => {
          result.push(Math.min(start * size, place.m), coarse.words[at] as number);
        });
        return result;
      },
    }),
    ...(variant && { variant: (place) => variant(inBlocks(place, size)) }),
    ...(check && { check: (extent) => check(inBlocks(extent, size)) }),
  }));
}

/** Causal between blocks, so that a block sees all of itself. */
export function blockCausal(size: number): Mask {
  return blocks(size, causal());
}

/** The problem in blocks, where the blocks of the last query and the last key are aligned as well. */
function inBlocks<E extends Extent>(extent: E, size: number): E {
  const past = Math.ceil(extent.m / size);
  return { ...extent, n: past - Math.floor((extent.m - extent.n) / size), m: past };
}
