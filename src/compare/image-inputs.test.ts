import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRuntime, type Runtime } from '../runtime/runtime';
import { uniform } from '../tensor/random';
import { compare } from './compare';
import { alps, imageInputs } from './image-inputs';
import { decodeMap } from './maps';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'reference' });
});
afterAll(() => runtime.dispose());

const [rows, columns] = [5, 6];
const picture = { width: 3 * columns, height: 3 * rows, rgb: uniform(9 * rows * columns * 3, 1, 0.3, 0.6) };

/** The pixels of a patch, from the definition. */
function patch(token: number): number[] {
  const [top, left] = [3 * Math.floor(token / columns), 3 * (token % columns)];
  return Array.from({ length: 27 }, (_, at) => {
    const [y, x] = [top + Math.floor(at / 9), left + (Math.floor(at / 3) % 3)];
    return picture.rgb[3 * (y * picture.width + x) + (at % 3)] as number;
  });
}

test('attention is the filters: non-local means, bilateral of two widths, blur', async () => {
  const { inputs, description, picture: shown } = imageInputs(runtime, { name: 'noise', picture }, [rows, columns]);
  expect(shown).toEqual(picture);
  expect(inputs.q.shape).toEqual([1, rows, columns, 4, 30]);
  expect(inputs.v.shape).toEqual([1, rows, columns, 4, 27]);
  expect(description).toMatch(/^The middle of noise as 5 × 6 tokens.*width of 1.5 tokens and of 0.375 tokens/);

  const { glances, grid } = await compare(inputs, { methods: [], seconds: 0 });
  expect(grid).toEqual([rows, columns]);
  glances!.heads.map(decodeMap).forEach((shares, head) => {
    const width = [Number.POSITIVE_INFINITY, 6 / 4, 6 / 16, 6 / 16][head] as number;
    glances!.tokens.forEach((token, at) => {
      const weights = Array.from({ length: rows * columns }, (_, other) => {
        const colour = patch(token).reduce((sum, value, c) => sum + (value - patch(other)[c]!) ** 2, 0) / 27;
        const distance =
          (Math.floor(token / columns) - Math.floor(other / columns)) ** 2 +
          ((token % columns) - (other % columns)) ** 2;
        return Math.exp(-(head === 3 ? 0 : colour / (2 * 0.1 ** 2)) - distance / (2 * width ** 2));
      });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      weights.forEach((weight, other) => {
        expect(shares[at * rows * columns + other]).toBeCloseTo(weight / total, 3);
      });
    });
  });
});

test('the values are the patches less their mean', async () => {
  const { inputs } = imageInputs(runtime, { name: 'noise', picture }, [rows, columns]);
  const v = await inputs.v.read();
  const mean =
    Array.from({ length: rows * columns }, (_, token) => patch(token)[4]!).reduce((a, b) => a + b) / (rows * columns);
  expect(v[(7 * 4 + 2) * 27 + 4]).toBeCloseTo(patch(7)[4]! - mean, 6);
});

test.each([[[8]], [[2, 2, 2]]])('refuses the grid %j', (grid) => {
  expect(() => imageInputs(runtime, { name: 'noise', picture }, grid)).toThrow(
    'a picture needs a grid of rows and columns',
  );
});

test('the Alps are a landscape, from a package', async () => {
  const { picture } = await alps();
  expect(picture.width).toBeGreaterThan(picture.height);
  expect(picture.rgb.length).toBe(picture.width * picture.height * 3);
});
