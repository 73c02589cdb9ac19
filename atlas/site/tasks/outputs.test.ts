/** What takes no queries, keys and values has a page from its inputs and outputs: run, outputs, costs and code. */
import * as valibot from 'valibot';
import { expect, test } from 'vitest';
import { defineMethod } from '../../../src/methods/define';
import { map } from '../../../src/ops/map/map';
import { hostTensor, toFloat64 } from '../../../src/tensor/host';
import { dataOf } from '../../build/page-data';
import { programOf } from '../code';
import { costSeries } from './cost';
import { outputsShown } from './outputs';
import { runHere } from './run';
import { know } from './setting';

const page = {
  question: 'What is the square of a picture?',
  sample: {
    extents: { rows: 6, columns: 9, c: 2 },
    params: {},
    inputs: () => ({ x: Float32Array.from({ length: 108 }, (_, at) => at / 108 - 0.5) }),
  },
  presets: [],
  rivals: [],
  view: 'outputs',
} as const;
const squared = defineMethod({
  name: 'squared',
  family: 'dense',
  summary: 'the square of each pixel, and its mean',
  inputs: { x: 'b c rows columns' },
  outputs: { out: 'b c rows columns' },
  params: valibot.strictObject({}),
  reference: ({ x }) => ({
    out: hostTensor(
      toFloat64(x).map((value) => value * value),
      x.shape,
      'f64',
    ),
  }),
  forward: ({ x }) => ({ out: map((value) => value * value, x) }),
  cost: ({ b, c, rows, columns }) => ({ flops: b * c * rows * columns, bytes: 8 * b * c * rows * columns, state: 0 }),
  variants: () => [],
  page: async () => ({ page }),
});
know([squared as never]);

const setting = { method: 'squared', extents: page.sample.extents, params: {} };
const control = { signal: undefined, report: () => undefined };

test('pictures in and out are shown, on the sample of the page', async () => {
  const {
    shown: [x, out],
  } = await outputsShown({ setting }, control);
  expect([x.name, x.kind, x.planes, x.rows, x.columns]).toEqual(['x', 'picture', 2, 6, 9]);
  expect(out.name).toBe('out');
  for (const [at, value] of Array.from(out.data).entries()) expect(value).toBeCloseTo(x.data[at] ** 2);
});

test('a run tells its error, and has nothing exact beside it', async () => {
  const { inputs, rows } = await runHere({ setting, backends: ['wasm'] }, control);
  expect(inputs).toBe('x: the sample of this page.');
  expect(rows[0]).toMatchObject({ checked: 'at rows 6, columns 9, c 2' });
  expect(rows[0].error).toBeLessThan(1e-6);
  expect(rows[0].exact).toBeUndefined();
});

test('costs grow with the places of the picture, and the program has each input by its shape', async () => {
  const { lengths, lines } = await costSeries({ setting, beside: [] }, control);
  expect(lengths.slice(0, 2)).toEqual([54, 64]);
  expect(lines[0].costs.slice(0, 2).map((cost) => cost?.flops)).toEqual([2 * 54, 2 * 64]);
  const program = programOf(dataOf(squared, page), setting, false);
  expect(program).toContain('x: runtime.random([1, 2, 6, 9], { seed: 1 }),');
  expect(program).toContain("const output = results['out'];");
});
