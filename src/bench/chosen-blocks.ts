/** Random blocks of keys for each block of queries, as a mask, which is known ahead, and as a tensor, which is not. */
import { pushRun } from '../masks/intervals';
import type { Mask } from '../masks/mask';
import type { AttentionSettings } from '../ops/attention';
import type { Runtime } from '../runtime/runtime';
import { uniformGenerator } from '../tensor/random';
import { backwardBy, forwardBy } from './attention-operations';
import type { Problem } from './problem';

const BLOCK = 64;
/** The share of the key blocks that a query block sees. */
const SHARE = 1 / 8;

export const CHOSEN_LABEL = `an eighth of the blocks of ${BLOCK}, other ones for each head`;

const countOf = (n: number) => Math.ceil(n / BLOCK);

/** The key blocks of each head and query block, in ascending order: [h][count][k]. */
function choose(n: number, h: number): Int32Array {
  const count = countOf(n);
  const k = Math.ceil(count * SHARE);
  const next = uniformGenerator(1);
  const rows = Array.from({ length: h * count }, () => {
    const chosen = new Set<number>();
    while (chosen.size < k) chosen.add(Math.floor(next() * count));
    return [...chosen].sort((a, b) => a - b);
  });
  return Int32Array.from(rows.flat());
}

export function chosenMask(n: number, h: number): Mask {
  const chosen = choose(n, h);
  const count = countOf(n);
  const k = Math.ceil(count * SHARE);
  const blocksOf = (i: number, head: number) =>
    chosen.subarray((head * count + Math.floor(i / BLOCK)) * k).subarray(0, k);
  return {
    name: 'blocks',
    sees: (i, j, { head }) => blocksOf(i, head).includes(Math.floor(j / BLOCK)),
    intervals(i, { head }) {
      const runs: number[] = [];
      for (const block of blocksOf(i, head)) pushRun(runs, block * BLOCK, Math.min((block + 1) * BLOCK, n));
      return runs;
    },
    variant: ({ head }) => head,
  };
}

/** The blocks as a tensor, as another op might have computed it. */
function selected(runtime: Runtime, { n, h }: Problem): AttentionSettings {
  const chosen = choose(n, h);
  const count = countOf(n);
  const lists = runtime.tensor<'i32'>(chosen, [1, h, count, chosen.length / (h * count)]);
  return { selection: { lists, queryBlock: BLOCK, keyBlock: BLOCK } };
}

export const selectedForward = forwardBy(selected, 'attention by a selection');
export const selectedBackward = backwardBy(selected, 'attention backward by a selection');
