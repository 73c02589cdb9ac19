/**
 * The glyphs: one picture of 64 x 64 cells for each paper, computed and never drawn. Where a method runs, it is the picture on
 * which its page opens, by the same code; for other papers it follows from the definition, on toy data.
 * A glyph is 4096 numbers from -1 to 1, row by row: 0 is paper, 1 full ink, and negative numbers have the opposite ink. Where
 * a method has queries and keys, rows are queries and columns keys.
 */
import type { Method } from '../../src/methods/define';
import { methods } from '../../src/methods/registry';
import { normal } from '../../src/tensor/random';
import { LAYER_INKS, TILE } from '../site/constants';
import { tokensIn } from '../site/problem';
import { layersOfPairs } from '../site/tasks/layers';
import { outputsShown } from '../site/tasks/outputs';
import { know } from '../site/tasks/setting';
import { weightsInWords, weightsTile } from '../site/tasks/weights';
import { pageOf, paperOf } from './standing';

type Vector = number[];

/** Cells of a side. */
export const N = 64;

// ---- Helpers

/** Draws one of the numbers after the other. */
function drawing(numbers: Float32Array): () => number {
  let at = 0;
  return () => numbers[at++];
}
const normals = (seed: number) => drawing(normal(8192, seed));

function grid(value: (i: number, j: number) => number): Float32Array {
  const out = new Float32Array(N * N);
  for (let i = 0; i < N; i++) for (let j = 0; j < N; j++) out[i * N + j] = value(i, j);
  return out;
}

const range = (past: number) => Array.from({ length: Math.max(0, past) }, (_, at) => at);

/** The `count` candidates with the highest scores. */
const best = (candidates: number[], count: number, scoreOf: (candidate: number) => number) =>
  new Set(candidates.toSorted((a, b) => scoreOf(b) - scoreOf(a)).slice(0, count));

/** A smooth picture of side x side vectors: a few soft discs on a ground. */
function picture(side: number): Vector[] {
  const draw = normals(29);
  const discs = [
    [0.3, 0.34, 0.22],
    [0.7, 0.28, 0.15],
    [0.62, 0.72, 0.24],
    [0.15, 0.82, 0.16],
  ];
  return Array.from({ length: side * side }, (_, t) => {
    const [y, x] = [(Math.floor(t / side) + 0.5) / side, ((t % side) + 0.5) / side];
    const parts = discs.map(([cx, cy, r]) => Math.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / r ** 2) * 1.6));
    return [...parts.map((p) => 2 * p), 0.8 - Math.max(...parts), 0.12 * draw(), 0.12 * draw()];
  });
}

// ---- Tokens pruned or picked (toy data)

function pruned() {
  const image = picture(8);
  const salience = image.map((v) => Math.max(...v.slice(0, 4)) + 0.1 * v[5]);
  const order = [...best(range(N), N, (t) => salience[t])];
  const rank = range(N).map((t) => order.indexOf(t));
  // Three thresholds leave 64, 42, 27 and 18 tokens.
  const stage = (t: number) => (rank[t] < 18 ? 3 : rank[t] < 27 ? 2 : rank[t] < 42 ? 1 : 0);
  return grid((i, j) => [0.06, LAYER_INKS[3], LAYER_INKS[2], 1][Math.min(stage(i), stage(j))]);
}

// ---- Large kernels: what one pixel gathers; two cells for each offset, from -15 to 15, and a margin

function plane(paths: (y: number, x: number) => number) {
  let most = 0;
  const values = grid((i, j) => {
    const v = paths(Math.floor((i - 1) / 2) - 15, Math.floor((j - 1) / 2) - 15);
    most = Math.max(most, v);
    return v;
  });
  return values.map((v) => (v ? 0.12 + 0.88 * (v / most) ** 0.9 : 0));
}
const nested = () => {
  const sizes = [31, 21, 13, 9, 5, 3];
  return plane((y, x) =>
    sizes.reduce((count, k) => count + (Math.max(Math.abs(y), Math.abs(x)) <= (k - 1) / 2 ? 1 : 0), 0),
  );
};

const GLYPHS: Readonly<Record<string, () => Float32Array>> = {
  'as-vit': pruned,
  'scaling-up-your-kernels': nested,
};

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
    const { rows, columns, data } = (await outputsShown({ setting }, {})).find(({ name }) => name === output)!;
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
/** By the paper's id: of its first method that opens on one, or drawn. */
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
for (const [id, drawn] of Object.entries(GLYPHS)) if (!made.has(id)) made.set(id, drawn());

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
