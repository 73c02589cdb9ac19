/** Positions of labels in a scatter plot such that none covers another or a point, or seems to belong to another point. */

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
  /** Whether the label is so far from its point that a line should connect them. */
  readonly apart: boolean;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** The width of a character of 11 pixels, about. */
const CHARACTER = 6.1;
const HEIGHT = 14;
const RADIUS = 6;
/** Where a label may be relative to its point, the best first: beside it, diagonally, and finally apart. */
const PLACES = [
  { right: 1, down: 0, distance: 9 },
  { right: -1, down: 0, distance: 9 },
  { right: 0, down: -1, distance: 9 },
  { right: 0, down: 1, distance: 9 },
  { right: 1, down: -1, distance: 6 },
  { right: 1, down: 1, distance: 6 },
  { right: -1, down: -1, distance: 6 },
  { right: -1, down: 1, distance: 6 },
  { right: 0, down: -1, distance: 24, apart: true },
  { right: 0, down: 1, distance: 24, apart: true },
  { right: -1, down: -1, distance: 16, apart: true },
  { right: 1, down: 1, distance: 16, apart: true },
];

/** A place within `frame` for each point's label, in the order of the points; undefined where there is no room. */
export function placeLabels(points: readonly LabelledPoint[], frame: Box): (Placement | undefined)[] {
  const taken: Box[] = points.map(({ x, y }) => boxAround(x, y, 2 * RADIUS, 2 * RADIUS));
  return points.map((point) => {
    const { x, y, text } = point;
    const width = text.length * CHARACTER;
    for (const { right, down, distance, apart = false } of PLACES) {
      const place = { x: x + right * (distance + width / 2), y: y + down * (distance + HEIGHT / 2) };
      const box = boxAround(place.x, place.y, width, HEIGHT);
      if (!contains(frame, box) || taken.some((other) => overlap(other, box))) continue;
      // A label nearer to another point would be read as that point's.
      if (!apart && points.some((other) => other !== point && gap(other, box) <= gap(point, box))) continue;
      taken.push(box);
      return { ...place, apart };
    }
    return undefined;
  });
}

function boxAround(x: number, y: number, width: number, height: number): Box {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

/** Distance of a point from a box. */
function gap({ x, y }: LabelledPoint, { left, right, top, bottom }: Box): number {
  return Math.hypot(Math.max(left - x, x - right, 0), Math.max(top - y, y - bottom, 0));
}

function contains(outer: Box, inner: Box): boolean {
  return (
    inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top && inner.bottom <= outer.bottom
  );
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
