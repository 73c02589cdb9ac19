/** Where the labels of a scatter plot go, so that none covers another or a point. */

export interface LabelledPoint {
  /** Pixels from the left and from the top. */
  readonly x: number;
  readonly y: number;
  readonly text: string;
}

export interface Placement {
  /** Middle of the label, in pixels. */
  readonly x: number;
  readonly y: number;
  /** Whether the label is so far from its point that a line should join them. */
  readonly apart: boolean;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Of an 11 pixel font, about. */
const CHARACTER = 6.1;
const HEIGHT = 14;
const RADIUS = 6;
/** Directions in order of preference: right, left, above, below, then the diagonals. */
const DIRECTIONS = [
  [1, 0],
  [-1, 0],
  [0, -1],
  [0, 1],
  [1, -1],
  [1, 1],
  [-1, -1],
  [-1, 1],
] as const;
const DISTANCES = [9, 20, 32];

/** A place within `frame` for each point's label, in the order of the points; undefined where there is no room. */
export function placeLabels(points: readonly LabelledPoint[], frame: Box): (Placement | undefined)[] {
  const taken: Box[] = points.map(({ x, y }) => boxAround(x, y, 2 * RADIUS, 2 * RADIUS));
  return points.map(({ x, y, text }) => {
    const width = text.length * CHARACTER;
    for (const distance of DISTANCES) {
      for (const [right, down] of DIRECTIONS) {
        const place = { x: x + right * (distance + width / 2), y: y + down * (distance + HEIGHT / 2) };
        const box = boxAround(place.x, place.y, width, HEIGHT);
        if (!contains(frame, box) || taken.some((other) => overlap(other, box))) continue;
        taken.push(box);
        return { ...place, apart: distance > (DISTANCES[0] as number) };
      }
    }
    return undefined;
  });
}

function boxAround(x: number, y: number, width: number, height: number): Box {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

function contains(outer: Box, inner: Box): boolean {
  return (
    inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top && inner.bottom <= outer.bottom
  );
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
