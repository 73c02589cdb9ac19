/** Which blocks of keys are seen without estimates: the first, and those near each block of queries. */
import type { Mask } from '../../../masks/mask';
import { interned } from '../../../masks/mask';

export interface Reserving {
  readonly queryBlock: number;
  readonly keyBlock: number;
  readonly local: number;
  readonly segment: number;
}

/** Key blocks of a block of queries, by their numbers: 1 to before `near` are estimated, those to before `seen` are near. */
interface Span {
  readonly near: number;
  readonly seen: number;
}

/** For block `a` of the last n queries of m tokens. */
function spanOf(a: number, n: number, m: number, { queryBlock, keyBlock, local, segment }: Reserving): Span {
  const seen = Math.ceil((m - n + Math.min((a + 1) * queryBlock, n)) / keyBlock);
  const [size, least] = [segment / keyBlock, local / keyBlock];
  // Whole segments of estimated blocks begin after the first block; what is left over before the last of them is near.
  const segments = Math.ceil((seen - 1) / size);
  const rest = segments * size - (seen - 1);
  const near = size * Math.ceil((least + rest) / size) - rest;
  return { near: Math.max(1, seen - near), seen };
}

/** `near` and `seen` of each block of queries. */
export const spansOf = (n: number, m: number, reserving: Reserving): Int32Array =>
  Int32Array.from({ length: 2 * Math.ceil(n / reserving.queryBlock) }, (_, at) => {
    const { near, seen } = spanOf(at >> 1, n, m, reserving);
    return at % 2 === 0 ? near : seen;
  });

/** The last n of m tokens see the first block and those near, up to themselves. */
export function reserved(reserving: Reserving): Mask {
  const { queryBlock, keyBlock, local, segment } = reserving;
  const nearOf = (i: number, n: number, m: number) =>
    spanOf(Math.floor(i / queryBlock), n, m, reserving).near * keyBlock;
  return interned({
    name: `first and near blocks of ${[queryBlock, keyBlock, local, segment]}`,
    sees: (i, j, { n, m }) => j <= i + m - n && (j < keyBlock || j >= nearOf(i, n, m)),
    intervals(i, { n, m }) {
      const past = i + m - n + 1;
      const near = nearOf(i, n, m);
      return near <= keyBlock ? [0, past] : near < past ? [0, keyBlock, near, past] : [0, Math.min(keyBlock, past)];
    },
  });
}
