import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LabelledPoint, placeLabels } from './labels';

const FRAME = { left: 50, right: 400, top: 20, bottom: 300 };
const HEIGHT = 14;

const point = fc.record({
  x: fc.integer({ min: 50, max: 400 }),
  y: fc.integer({ min: 20, max: 300 }),
  text: fc.string({ minLength: 1, maxLength: 24 }),
});

test('no label leaves the frame, covers another or covers a point', () => {
  fc.assert(
    fc.property(fc.array(point, { maxLength: 20 }), (points) => {
      const boxes = placeLabels(points, FRAME).flatMap((place, at) => {
        const half = ((points[at] as LabelledPoint).text.length * 6) / 2;
        return place ? [{ ...place, left: place.x - half, right: place.x + half }] : [];
      });
      for (const box of boxes) {
        expect(box.left).toBeGreaterThanOrEqual(FRAME.left);
        expect(box.right).toBeLessThanOrEqual(FRAME.right);
        for (const { x, y } of points) {
          expect(x > box.left && x < box.right && Math.abs(y - box.y) < HEIGHT / 2).toBe(false);
        }
        for (const other of boxes) {
          if (other === box) continue;
          expect(other.left < box.right && box.left < other.right && Math.abs(other.y - box.y) < HEIGHT).toBe(false);
        }
      }
    }),
  );
});

test('a lone point has its label close by on the right, or on the left at the right edge', () => {
  const [right] = placeLabels([{ x: 200, y: 100, text: 'window' }], FRAME);
  expect(right).toMatchObject({ y: 100, apart: false });
  expect(right?.x).toBeGreaterThan(200);
  const [left] = placeLabels([{ x: 395, y: 100, text: 'window' }], FRAME);
  expect(left?.x).toBeLessThan(395);
});

test('a label is set apart, with a line to its point, where it would seem to name another', () => {
  const column = [100, 114, 128].map((y) => ({ x: 200, y, text: 'window' }));
  const beside = [...column, { x: 250, y: 114, text: 'right' }, { x: 150, y: 114, text: 'left' }];
  expect(placeLabels(column, FRAME).map((place) => place?.apart)).toEqual([false, false, false]);
  expect(placeLabels(beside, FRAME)[1]?.apart).not.toBe(false);
});

test('a label wider than the frame is left out', () => {
  expect(placeLabels([{ x: 200, y: 150, text: 'x'.repeat(100) }], FRAME)).toEqual([undefined]);
});
