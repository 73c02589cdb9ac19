import { afterAll, beforeAll, expect, test } from 'vitest';
import { parallax } from '../methods/local-linear/parallax';
import { createRuntime } from '../ops/create-runtime';
import type { Runtime } from '../runtime/runtime';
import { type HostTensor, toFloat64 } from '../tensor/host';
import { uniform } from '../tensor/random';
import { compare } from './compare';
import { isMeasured } from './comparison';
import type { Qkv } from './contenders';
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

test('Parallax, whose scores are large there, is held to what float32 can do', async () => {
  const onCpu = await createRuntime({ backend: 'wasm', threads: 1 });
  const { inputs } = imageInputs(onCpu, await alps(), [16, 16]);
  const { rows } = await compare(inputs, { methods: [parallax], seconds: 0 });
  const found = rows.filter(({ method }) => method === 'parallax');
  expect(found.length).toBeGreaterThan(0);
  for (const row of found) expect(isMeasured(row) && row.exactness).toBeLessThan(2e-4);
  const twice = parallax.rounding!(await hostOf(inputs, 2)) / parallax.rounding!(await hostOf(inputs, 1));
  expect(twice).toBeCloseTo(4);
  onCpu.dispose();
});

/** q in the place of r, too; the values so many times as large, and keys as well. */
async function hostOf({ q, k, v }: Qkv, factor: number) {
  const [queries, keys, values] = await Promise.all([q, k, v].map((x) => x.toHost()));
  const times = (x: HostTensor) => ({ ...x, data: toFloat64(x).map((y) => factor * y), dtype: 'f64' as const });
  return { q: queries!, r: queries!, k: times(keys!), v: times(values!) };
}

test('the Alps are a landscape, from a package', async () => {
  const { picture } = await alps();
  expect(picture.width).toBeGreaterThan(picture.height);
  expect(picture.rgb.length).toBe(picture.width * picture.height * 3);
});
