import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { tensor, type Wide } from '../../reference';
import type { BoxSettings } from './boxes';

/** Boxes with regions by labels that spread until none changes: no code of the fast path. */
export function reference({ map }: { readonly map: HostTensor }, settings: BoxSettings): Record<string, Wide> {
  const [b, rows, columns] = map.shape as [number, number, number];
  const logits = toFloat64(map);
  const boxes: number[][] = [];
  for (let batch = 0; batch < b; batch++) {
    const share = (y: number, x: number) => 1 / (1 + Math.exp(-logits[(batch * rows + y) * columns + x]!));
    const values = Array.from({ length: rows * columns }, (_, at) => {
      let sum = 0;
      let weights = 0;
      for (const dy of [-1, 0, 1])
        for (const dx of [-1, 0, 1]) {
          const weight = Math.exp(-(dy * dy + dx * dx) / (2 * settings.sigma ** 2));
          weights += weight;
          sum += weight * share(inside(Math.floor(at / columns) + dy, rows), inside((at % columns) + dx, columns));
        }
      return sum / weights;
    });
    const least = settings.threshold < 0 ? -settings.threshold * Math.max(...values) : settings.threshold;
    const labels = values.map((value, at) => (value > least ? at : -1));
    for (let changed = true; changed; ) {
      changed = false;
      for (const [i, a] of labels.entries())
        for (const [j, c] of labels.entries()) {
          const [dy, dx] = [Math.floor(i / columns) - Math.floor(j / columns), (i % columns) - (j % columns)];
          if (c < 0 || a <= c || Math.abs(dy) > 1 || Math.abs(dx) > 1) continue;
          labels[i] = c;
          changed = true;
        }
    }
    for (const label of [...new Set(labels)].filter((each) => each >= 0).sort((i, j) => i - j)) {
      const places = [...labels.keys()].filter((at) => labels[at] === label);
      if (places.length === 1 || places.length > settings.maximumArea) continue;
      const spans = [places.map((at) => at % columns), places.map((at) => Math.floor(at / columns))].map(
        (line, axis) => {
          const [first, past] = [Math.min(...line), Math.max(...line) + 1];
          if (places.length >= settings.smallArea) return [first, past] as const;
          const width = Math.max(3, past - first + 1);
          const centre = (first + past) / 2;
          const extent = axis === 0 ? columns : rows;
          return [
            Math.max(0, Math.floor(centre - width / 2)),
            Math.min(extent - 1, Math.floor(centre + width / 2)),
          ] as const;
        },
      );
      boxes.push([batch, spans[0]![0], spans[1]![0], spans[0]![1], spans[1]![1]]);
    }
  }
  return { boxes: tensor(Float64Array.from(boxes.flat()), [boxes.length, 5]) };
}

/** A place before the first or past the last is mirrored in it. */
const inside = (at: number, extent: number): number => {
  const mirrored = at < 0 ? -at : at >= extent ? 2 * extent - 2 - at : at;
  return Math.min(Math.max(mirrored, 0), extent - 1);
};
