import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { tensor, type Wide } from '../../reference';

interface Params {
  readonly sinkThreshold: number;
  readonly foreground: number;
  readonly background: number;
  readonly maximumArea: number;
}

const [SEEN, UNSEEN, OPEN] = [1, 0, -100];

/** Labels picture by picture; thresholds are float32 numbers, as the maps are. */
export function reference(
  { attention, sinks }: { readonly attention: HostTensor; readonly sinks?: HostTensor | undefined },
  params: Params,
): Record<string, Wide> {
  const [b, rows, columns] = attention.shape as [number, number, number];
  const [given, sunk] = [toFloat64(attention), sinks && toFloat64(sinks)];
  const [least, foreground, background] = [params.sinkThreshold, params.foreground, params.background].map(Math.fround);
  const size = rows * columns;
  const labels = new Float64Array(b * size).fill(OPEN);
  for (let first = 0; first < b * size; first += size) {
    const a = given.subarray(first, first + size).map((each, at) => ((sunk?.[first + at] ?? -1) >= least! ? 0 : each));
    const most = Math.max(...a);
    const seen = [...a.keys()].filter((at) => a[at]! > foreground! * most);
    const [ys, xs] = [seen.map((at) => Math.floor(at / columns)), seen.map((at) => at % columns)];
    const [top, bottom, left, right] = [Math.min(...ys), Math.max(...ys), Math.min(...xs), Math.max(...xs)];
    if (seen.length === 0 || (bottom - top + 1) * (right - left + 1) >= params.maximumArea * size) continue;
    for (const [at, each] of a.entries()) {
      const [y, x] = [Math.floor(at / columns), at % columns];
      const isInside = y >= top && y <= bottom && x >= left && x <= right;
      if (seen.includes(at)) labels[first + at] = SEEN;
      else if (!isInside && each < background! * most) labels[first + at] = UNSEEN;
    }
  }
  return { labels: tensor(labels, [b, rows, columns]) };
}
