/** Regions of interest in a map: blurred, cut off at a threshold, and what hangs together in a box. */

export interface BoxSettings {
  /** Places above it are of a region; below 0 the share of the largest instead, with its sign changed. */
  readonly threshold: number;
  /** Standard deviation of the 3 x 3 blur, in places. */
  readonly sigma: number;
  /** Regions of fewer places get a box of three at least; those of one are dropped. */
  readonly smallArea: number;
  /** Regions of more places are dropped. */
  readonly maximumArea: number;
}

/** [x0, y0, x1, y1], the ends not included. */
export type Box = readonly [number, number, number, number];

/** The places of a map of logits [rows, columns] that are above the threshold once it is blurred, row-major. */
export function placesAbove(logits: Float64Array, rows: number, columns: number, settings: BoxSettings): number[] {
  const { sigma, threshold } = settings;
  const shares = logits.map((logit) => 1 / (1 + Math.exp(-logit)));
  const blurred = blur(blur(shares, rows, columns, columns, 1, sigma), columns, rows, 1, columns, sigma);
  const least = threshold < 0 ? -threshold * Math.max(...blurred) : threshold;
  return [...blurred.keys()].filter((at) => (blurred[at] as number) > least);
}

/** The boxes of a map of logits [rows, columns], in the order of their regions' first places. */
export function boxesOf(logits: Float64Array, rows: number, columns: number, settings: BoxSettings): Box[] {
  const { smallArea, maximumArea } = settings;
  return regionsOf(placesAbove(logits, rows, columns, settings), rows, columns)
    .filter((places) => places.length > 1 && places.length <= maximumArea)
    .map((places) => {
      const [ys, xs] = [places.map((at) => Math.floor(at / columns)), places.map((at) => at % columns)];
      const [x, y] = [spanOf(xs), spanOf(ys)];
      const isSmall = places.length < smallArea;
      const [x0, x1] = isSmall ? grown(x, columns) : x;
      const [y0, y1] = isSmall ? grown(y, rows) : y;
      return [x0, y0, x1, y1];
    });
}

type Span = readonly [first: number, past: number];

const spanOf = (places: readonly number[]): Span => [Math.min(...places), Math.max(...places) + 1];

/** One place longer and three long at least, about the same centre, within the map. */
function grown([first, past]: Span, extent: number): Span {
  const half = Math.max(3, past - first + 1) / 2;
  const centre = (first + past) / 2;
  return [Math.max(0, Math.floor(centre - half)), Math.min(extent - 1, Math.floor(centre + half))];
}

/** Three places of each line by normal weights; what lies past an end is mirrored in it. */
function blur(x: Float64Array, lines: number, extent: number, line: number, step: number, sigma: number): Float64Array {
  const side = Math.exp(-1 / (2 * sigma ** 2));
  const out = new Float64Array(x.length);
  for (let l = 0; l < lines; l++)
    for (let i = 0; i < extent; i++) {
      const value = (at: number) => x[l * line + mirrored(at, extent) * step] as number;
      out[l * line + i * step] = (side * value(i - 1) + value(i) + side * value(i + 1)) / (1 + 2 * side);
    }
  return out;
}

function mirrored(at: number, extent: number): number {
  if (extent === 1) return 0;
  return at < 0 ? -at : at < extent ? at : 2 * (extent - 1) - at;
}

/** Places that hang together, corners included, each in the order found. */
function regionsOf(places: readonly number[], rows: number, columns: number): number[][] {
  const left = new Set(places);
  const regions: number[][] = [];
  for (const first of left) {
    left.delete(first);
    const region = [first];
    for (const at of region)
      for (
        let y = Math.max(0, Math.floor(at / columns) - 1);
        y <= Math.min(rows - 1, Math.floor(at / columns) + 1);
        y++
      )
        for (let x = Math.max(0, (at % columns) - 1); x <= Math.min(columns - 1, (at % columns) + 1); x++)
          if (left.delete(y * columns + x)) region.push(y * columns + x);
    regions.push(region);
  }
  return regions;
}
