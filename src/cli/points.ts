/** Points and targets in files, as `saccade fit` and `saccade predict` read them. */
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { convert, type HostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import { readTensorsOf } from './read-tensors';

export interface Points {
  /** [n, p] */
  readonly x: HostTensor<'f32'>;
  readonly y?: Targets | undefined;
}

export type TargetedPoints = Points & { readonly y: Targets };

export interface Targets {
  /** [n, c]: as given, or a 1 in the column of each point's class. */
  readonly values: HostTensor<'f32'>;
  /** The class of each point, of targets in i32. */
  readonly labels?: Int32Array;
  readonly classes?: number;
}

const FILE = { name: 'saccade fit', inputs: { x: 'n p', y: 'n c' } } as const;
const ASKED = { name: 'saccade predict', inputs: { x: 'm p' }, optional: { y: 'm c' } } as const;
/** More are a mistake: columns of targets, each a system to solve. */
const MOST_CLASSES = 10_000;

/** Those of a file with targets; with classes labels may not be others. */
export const readTargetedPoints = (path: string, classes?: number): Promise<TargetedPoints> =>
  read(path, FILE, classes) as Promise<TargetedPoints>;

/** Those of a file that may have targets too. */
export const readPoints = (path: string, classes?: number): Promise<Points> => read(path, ASKED, classes);

async function read(path: string, of: Parameters<typeof readTensorsOf>[0], classes?: number): Promise<Points> {
  const { x, y } = await readTensorsOf(of, path);
  if (x?.shape.length !== 2 || x.shape.includes(0))
    throw new ShapeError(`x in ${path} must have shape [n, p], got ${formatShape(x?.shape ?? [])}`);
  checkFinite(path, 'x', x);
  const points = { x: convert(x, 'f32') };
  return y ? { ...points, y: targetsOf(path, x.shape[0] as number, y, classes) } : points;
}

function targetsOf(path: string, n: number, y: HostTensor, classes?: number): Targets {
  const [rows, columns = 1] = y.shape;
  if (rows !== n || y.shape.length > 2 || columns === 0)
    throw new ShapeError(
      `y in ${path} must have shape [${n}, c] or [${n}], as x has ${n} points, got ${formatShape(y.shape)}`,
    );
  checkFinite(path, 'y', y);
  if (y.dtype !== 'i32') {
    if (classes !== undefined)
      throw new DTypeError(`y in ${path} must be i32, classes as the model was fitted to, got ${y.dtype}`);
    return { values: { ...convert(y, 'f32'), shape: [n, columns] } };
  }
  if (y.shape.length !== 1)
    throw new ShapeError(`y in ${path} in i32 are classes, so [${n}], got ${formatShape(y.shape)}`);
  const labels = y.data as Int32Array;
  const most = classes ?? MOST_CLASSES;
  const wrong = labels.findIndex((label) => label < 0 || label >= most);
  if (wrong >= 0)
    throw new ParameterError(
      `y in ${path} must have classes from 0 to ${most - 1}, got ${labels[wrong]} at element ${wrong}`,
    );
  const count = classes ?? labels.reduce((largest, label) => Math.max(largest, label), 0) + 1;
  const data = new Float32Array(n * count);
  for (const [row, label] of labels.entries()) data[row * count + label] = 1;
  return { values: { dtype: 'f32', shape: [n, count], data }, labels, classes: count };
}

function checkFinite(path: string, name: string, { dtype, shape, data }: HostTensor): void {
  // Others are whole, or stored as bits.
  if (dtype !== 'f32' && dtype !== 'f64') return;
  const width = shape[1] ?? 1;
  const wrong = (data as Float32Array).findIndex((value) => !Number.isFinite(Math.fround(value)));
  if (wrong >= 0)
    throw new ParameterError(
      `${name} in ${path} must hold finite numbers, got ${data[wrong]} in row ${Math.floor(wrong / width)}, column ${wrong % width}`,
    );
}

/** The mean squared difference of predictions [n, c], and the share of points whose largest score is that of their class. */
export function errorsOf(found: ArrayLike<number>, { values, labels }: Targets): { error: number; right?: number } {
  let total = 0;
  for (let at = 0; at < found.length; at++) total += (found[at]! - values.data[at]!) ** 2;
  const error = total / found.length;
  if (!labels) return { error };
  const chosen = largestOf(found, values.shape[1] as number);
  return { error, right: chosen.reduce((count, label, at) => count + Number(label === labels[at]), 0) / labels.length };
}

/** The column of the largest of each row. */
export function largestOf(scores: ArrayLike<number>, columns: number): Int32Array {
  return Int32Array.from({ length: scores.length / columns }, (_, row) => {
    let best = 0;
    for (let c = 1; c < columns; c++) if (scores[row * columns + c]! > scores[row * columns + best]!) best = c;
    return best;
  });
}
