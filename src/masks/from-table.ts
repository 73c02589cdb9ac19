import { DTypeError, ShapeError } from '../errors';
import { checkHost, type HostTensor } from '../tensor/host';
import { formatShape, rowMajorStrides } from '../tensor/shape';
import { KeyWords } from './key-words';
import type { Mask, Place } from './mask';

/**
 * What a table [n, m], [h, n, m] or [b, h, n, m] of u8 says: anything but 0 where query q sees key k. Axes of extent 1 are
 * shared. The table is copied: what becomes of it later changes nothing.
 */
export function fromTable(table: HostTensor): Mask {
  checkHost('table', table);
  const rank = table.shape.length;
  if (table.dtype !== 'u8') throw new DTypeError(`table must be u8, got ${table.dtype}`);
  if (rank < 2 || rank > 4)
    throw new ShapeError(`table must have shape [n, m], [h, n, m] or [b, h, n, m], got ${formatShape(table.shape)}`);
  const seen = (table.data as Uint8Array).slice();
  const shape = [1, 1, ...table.shape].slice(-4);
  const [ofBatch, ofHead, ofQuery, ofKey] = rowMajorStrides(shape).map((stride, axis) =>
    shape[axis] === 1 ? 0 : stride,
  ) as [number, number, number, number];
  const variant = ({ batch, head }: Place) => batch * ofBatch + head * ofHead;
  return {
    name: `table ${formatShape(table.shape)}`,
    sees: (i, j, place) => seen[variant(place) + i * ofQuery + j * ofKey] !== 0,
    words(queries, place) {
      const rows = Array.from(queries, (i) => variant(place) + i * ofQuery);
      const words = new KeyWords();
      for (let j = 0; j < place.m; j++) {
        let word = 0;
        for (let r = 0; r < rows.length; r++) if (seen[(rows[r] as number) + j * ofKey] !== 0) word |= 1 << r;
        words.push(j, word);
      }
      words.push(place.m, 0);
      return words;
    },
    variant,
    check({ b, h, n, m }) {
      if ([b, h, n, m].every((extent, axis) => shape[axis] === 1 || shape[axis] === extent)) return;
      throw new ShapeError(
        `the mask's table must broadcast to ${formatShape([b, h, n, m])}, got ${formatShape(table.shape)}`,
      );
    },
  };
}
