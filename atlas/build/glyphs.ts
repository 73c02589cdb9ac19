/**
 * The glyphs: a picture of 64 x 64 cells for each paper of which a method runs, on which that method's page opens, by the same code.
 * A glyph is 4096 numbers from -1 to 1, row by row: 0 is paper, 1 full ink, and negative numbers have the opposite ink. Where
 * a method has queries and keys, rows are queries and columns keys.
 */
import type { Method } from '../../src/methods/define';
import { methods } from '../../src/methods/registry';
import { LAYER_INKS, TILE } from '../site/constants';
import { tokensIn } from '../site/problem';
import { layersOfPairs } from '../site/tasks/layers';
import { outputsShown } from '../site/tasks/outputs';
import { know } from '../site/tasks/setting';
import { weightsInWords, weightsTile } from '../site/tasks/weights';
import { pageOf, paperOf } from './standing';

/** Cells of a side. */
export const N = 64;

const grid = (value: (i: number, j: number) => number) =>
  Float32Array.from({ length: N * N }, (_, at) => value(Math.floor(at / N), at % N));

/**
 * What a method's page opens on: layers of a mask, weights as shares of the largest of their query, or a picture among its
 * outputs; undefined if it is no glyph.
 */
async function opening(method: Method): Promise<Float32Array | undefined> {
  const { sample, view, glyph } = pageOf(method.name);
  const { extents, params, head = 0 } = sample;
  const setting = { method: method.name, extents, params };
  if (glyph) {
    const { output, plane = 0 } = glyph;
    const { shown } = await outputsShown({ setting }, {});
    const { rows, columns, data } = shown.find(({ name }) => name === output)!;
    const cells = Array.from(data).slice(plane * rows * columns, (plane + 1) * rows * columns);
    const most = Math.max(...cells.map(Math.abs));
    return grid((i, j) => cells[Math.floor((i * rows) / N) * columns + Math.floor((j * columns) / N)] / most);
  }
  const level = Math.log2(tokensIn(extents) / N);
  if (view === 'mask' && level === 0)
    return Float32Array.from(layersOfPairs({ setting, head }, 3), (layers) => LAYER_INKS[layers]);
  if (view !== 'weights' || !Number.isInteger(level)) return undefined;
  await weightsInWords({ setting, head });
  const tile = await weightsTile({ setting, head, level, row: 0, column: 0, relative: true });
  return grid((i, j) => tile[i * TILE + j]);
}
know(methods);
/** By the paper's id: of its first method that opens on one. */
const made = new Map<string, Float32Array>();
/** Methods whose pages open on the glyph of their paper. */
const opened = new Set<string>();
for (const method of methods) {
  const { id } = paperOf(method);
  const values = made.has(id) ? undefined : await opening(method);
  if (!values) continue;
  made.set(id, values);
  opened.add(method.name);
}

/** The glyph of a paper by its id; undefined for one that has none. */
export const glyph = (id: string): Float32Array | undefined => made.get(id);

/** Whether a method's page opens on the glyph. */
export const opensOnGlyph = ({ name }: Method): boolean => opened.has(name);

/** The share of possible pairs that is reached in one, two and three layers. */
export function reachOfGlyph(id: string, causal: boolean): number[] {
  const values = glyph(id)!;
  const possible = causal ? (N * (N + 1)) / 2 : N * N;
  return [1, 2, 3].map(
    (layers) => values.reduce((sum, value) => sum + (value >= LAYER_INKS[layers] - 1e-6 ? 1 : 0), 0) / possible,
  );
}
