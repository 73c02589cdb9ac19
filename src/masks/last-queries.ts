import { internedOver, traitsOf } from './combine';
import type { Extent, Mask } from './mask';

/**
 * What the last n of m tokens see by `mask`, which is asked about all m tokens: whether or not its definition places query i
 * at i + m - n.
 */
export function lastQueries(mask: Mask): Mask {
  const { intervals, words } = mask;
  const { variant, check } = traitsOf([mask]);
  const name = `last queries of (${mask.name})`;
  const whole = <E extends Extent>(extent: E): E => ({ ...extent, n: extent.m });
  const position = (i: number, { n, m }: Extent) => i + m - n;
  return internedOver([mask], name, () => ({
    name,
    sees: (i, j, place) => mask.sees(position(i, place), j, whole(place)),
    ...(intervals && { intervals: (i, place) => intervals(position(i, place), whole(place)) }),
    ...(words && {
      words: (queries, place) =>
        words(
          Array.from(queries, (i) => position(i, place)),
          whole(place),
        ),
    }),
    ...(variant && { variant: (place) => variant(whole(place)) }),
    ...(check && { check: (extent) => check(whole(extent)) }),
  }));
}
