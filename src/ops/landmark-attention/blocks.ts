/** Keys by blocks, each of which begins a panel, so that kernels take whole blocks through a softmax of their own. */
import { KeyWords } from '../../masks/key-words';
import { interned, type Mask } from '../../masks/mask';
import { PANEL } from '../../runtime/cpu/params';

/** Panels that a block with its landmark fills. */
export const panelsOf = (block: number): number => Math.ceil((block + 1) / PANEL);

/**
 * Whose scores a query needs: the tokens of its own block up to it, and all of earlier blocks, with their landmarks. Slots behind a
 * landmark, up to the next panel, have no key and are seen as it is, so that panels of earlier blocks are seen whole.
 */
export function landmarkBlocks(block: number): Mask {
  const size = block + 1;
  const slots = panelsOf(block) * PANEL;
  return interned({
    name: `blocks of ${block} and a landmark`,
    sees(i, j) {
      const isEarlier = Math.floor(j / size) < Math.floor(i / size);
      return j <= i && (isEarlier || j % size !== block);
    },
    arrange: ({ n, m }) => ({
      queries: Int32Array.from({ length: n }, (_, i) => i),
      keys: Int32Array.from({ length: Math.ceil(m / size) * slots }, (_, slot) => {
        const j = Math.floor(slot / slots) * size + (slot % slots);
        return slot % slots < size && j < m ? j : -1;
      }),
      words(first, count) {
        const all = 2 ** count - 1;
        const words = new KeyWords();
        const own = Math.floor(first / size);
        const last = Math.floor((first + count - 1) / size);
        if (own > 0) words.push(0, all);
        /** From query `i` on. */
        const from = (i: number) => (i >= first + count ? 0 : all & ~(2 ** Math.max(0, i - first) - 1));
        for (let at = own; at <= last; at++) {
          for (let token = 0; token < block; token++) words.push(at * slots + token, from(at * size + token));
          words.push(at * slots + block, from((at + 1) * size));
        }
        words.push((last + 1) * slots, 0);
        return words;
      },
    }),
  });
}
