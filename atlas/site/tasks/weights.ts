/**
 * What each query takes of each value: a method's output for unit values, on the sample's other inputs. Whether it is so is
 * tried on the sample's own values, since some outputs are no sums of values.
 */

import { disposeResults, settled } from '../../../src/methods/outputs';
import { createRuntime } from '../../../src/ops/create-runtime';
import type { Runtime } from '../../../src/runtime/runtime';
import type { Tensor } from '../../../src/tensor/tensor';
import { formatBytes, formatPercent, significant } from '../../../src/text/format';
import type { TaskControl } from '../answer';
import { TILE } from '../constants';
import { gridIn, tokensIn } from '../problem';
import { inputsOf, withNumbers } from './inputs';
import { distance } from './mask';
import { type Setting, settle } from './setting';

const MOST_TOKENS = 2048;
/** Bytes of the weights of all heads. */
const MOST_BYTES = 2 ** 27;
/** Channels of unit values: as many as every op takes. All keys but one have 1 in one of them, the last has 1 for all. */
const CHANNELS = 256;
const KEYS = CHANNELS - 1;
/** Queries on which weights are tried, and how far sums may be off, as a share of the largest result. */
const TRIED = 32;
const TOLERANCE = 1e-3;

/** The weights of all heads, [n, h, n]. */
interface Weights {
  readonly tokens: number;
  readonly heads: number;
  readonly data: Float32Array;
  /** The output that is the sum of values so weighted, the error of these sums, and whether each is only up to a factor. */
  readonly output: string;
  readonly error: number;
  readonly scaled: boolean;
}

/** The extremes of one head's weights. */
interface Extremes {
  /** Magnitudes of those that are not 0. */
  readonly largest: number;
  readonly smallest: number;
  readonly negative: boolean;
  /** The largest magnitude of each query's. */
  readonly rows: Float32Array;
  /** Queries with some weights that are NaN. */
  readonly nan: readonly number[];
}

export interface WeightsInWords
  extends Pick<Weights, 'tokens' | 'output' | 'error' | 'scaled'>,
    Omit<Extremes, 'rows'> {}

interface Head {
  readonly setting: Setting;
  readonly head: number;
}

export async function weightsInWords({ setting, head }: Head, control?: TaskControl): Promise<WeightsInWords> {
  const { weights, extremes } = await headOf({ setting, head }, control);
  const { tokens, output, error, scaled } = weights;
  const { rows: _, ...rest } = extremes;
  return { tokens, output, error, scaled, ...rest };
}

export interface WeightsPlace extends Head {
  /** Cells are of 2^level x 2^level pairs. */
  readonly level: number;
  readonly row: number;
  readonly column: number;
  /** Whether weights are shares of the largest of their query. */
  readonly relative: boolean;
}

/** The weight of the largest magnitude in each cell, row by row; 0 for cells beyond the ends. */
export async function weightsTile({ level, row, column, relative, ...of }: WeightsPlace): Promise<Float32Array> {
  const { weights, extremes, at } = await headOf(of);
  const { tokens, data } = weights;
  const side = TILE * 2 ** level;
  const [top, left] = [row * side, column * side];
  const [bottom, right] = [Math.min(tokens, top + side), Math.min(tokens, left + side)];
  const cells = new Float32Array(TILE * TILE);
  for (let i = top; i < bottom; i++) {
    const from = ((i - top) >> level) * TILE;
    const unit = relative ? extremes.rows[i] || 1 : 1;
    for (let j = left; j < right; j++) {
      const weight = data[at(i, j)] / unit;
      const cell = from + ((j - left) >> level);
      if (Number.isNaN(weight) || Math.abs(weight) > Math.abs(cells[cell])) cells[cell] = weight;
    }
  }
  return cells;
}

/** The weight of value j for query i. */
export async function weightInWords({
  i,
  j,
  ...of
}: Head & { readonly i: number; readonly j: number }): Promise<string> {
  const row = await weightsOfQuery({ ...of, query: i });
  const weight = row[j];
  const largest = row.reduce((best, each, at) => (Math.abs(each) > Math.abs(row[best]) ? at : best), 0);
  const rank = row.filter((each) => Math.abs(each) > Math.abs(weight)).length + 1;
  const where = distance(gridIn(of.setting.extents), i, j);
  if (Number.isNaN(weight)) return `${where}: the weight is NaN`;
  if (weight === 0) return `${where}: weight 0`;
  const most = `of which the largest is ${significant(row[largest])}, on key ${largest.toLocaleString('en')}`;
  return `${where}: weight ${significant(weight)}, number ${rank.toLocaleString('en')} of this query’s, ${most}`;
}

export async function weightsOfQuery({ query, ...of }: Head & { readonly query: number }): Promise<Float32Array> {
  const { weights, at } = await headOf(of);
  return weights.data.slice(at(query, 0), at(query, weights.tokens));
}

export interface WeightsWithin {
  /** For 1, 2, ... tokens, the share of a query's weight on keys nearer than that; the mean over queries. */
  readonly shares: Float64Array;
  /** The same if all keys, or all up to the query, had equal weights. */
  readonly alike: Float64Array;
}

/** How near a query's weight lies, whatever its sign. */
export async function weightsWithin(of: Head): Promise<WeightsWithin> {
  const { weights, at } = await headOf(of);
  const { tokens, data } = weights;
  const [shares, alike] = [new Float64Array(tokens), new Float64Array(tokens)];
  let [isCausal, queries] = [true, 0];
  for (let i = 0; i < tokens; i++) {
    const row = data.subarray(at(i, 0), at(i, tokens)).map(Math.abs);
    const total = row.reduce((sum, weight) => sum + weight, 0);
    // Queries without weight, or with NaN, do not count.
    if (!(total > 0 && total < Number.POSITIVE_INFINITY)) continue;
    queries++;
    for (let j = 0; j < tokens; j++) shares[Math.abs(i - j)] += row[j] / total;
    if (row.subarray(i + 1).some((weight) => weight > 0)) isCausal = false;
  }
  for (let i = 0; i < tokens; i++) {
    const keys = isCausal ? i + 1 : tokens;
    for (let j = 0; j < keys; j++) alike[Math.abs(i - j)] += 1 / keys;
  }
  const summed = (parts: Float64Array, rows: number) => {
    let sum = 0;
    return parts.map((part) => {
      sum += part / (rows || 1);
      return sum;
    });
  };
  return { shares: summed(shares, queries), alike: summed(alike, tokens) };
}

// ---- Weights of the setting at hand, computed once

let runtime: Promise<Runtime> | undefined;
let kept:
  | {
      readonly of: string;
      readonly weights: Promise<Weights>;
      readonly extremes: Map<number, Extremes>;
      readonly control: TaskControl | undefined;
    }
  | undefined;

async function headOf({ setting, head }: Head, control?: TaskControl) {
  const of = JSON.stringify(setting);
  if (kept?.of !== of || kept.control?.signal?.aborted) {
    kept = { of, weights: weightsOf(setting, control), extremes: new Map(), control };
    // A failure is not kept: the next call tries again.
    const failed = kept;
    failed.weights.catch(() => {
      if (kept === failed) kept = undefined;
    });
  }
  const { weights: coming, extremes: known } = kept;
  const weights = await coming;
  const at = (i: number, j: number) => (i * weights.heads + Math.min(head, weights.heads - 1)) * weights.tokens + j;
  const extremes = known.get(head) ?? extremesOf(weights, at);
  known.set(head, extremes);
  return { weights, extremes, at };
}

function extremesOf({ tokens, data }: Weights, at: (i: number, j: number) => number): Extremes {
  let [largest, smallest, negative] = [0, Number.POSITIVE_INFINITY, false];
  const rows = new Float32Array(tokens);
  const nan: number[] = [];
  for (let i = 0; i < tokens; i++) {
    let isNumber = true;
    for (let from = at(i, 0), index = from; index < from + tokens; index++) {
      const weight = data[index];
      const magnitude = Math.abs(weight);
      if (magnitude > rows[i]) rows[i] = magnitude;
      if (magnitude > 0 && magnitude < smallest) smallest = magnitude;
      if (weight < 0) negative = true;
      if (Number.isNaN(weight)) isNumber = false;
    }
    largest = Math.max(largest, rows[i]);
    if (!isNumber) nan.push(i);
  }
  return { largest, smallest: Math.min(smallest, largest), negative, rows, nan };
}

async function weightsOf(asked: Setting, { signal, report }: Partial<TaskControl> = {}): Promise<Weights> {
  const { method, params } = settle(asked);
  const onProgress = (share: number) => report?.(`loading the encoder, ${formatPercent(share)}`);
  const { setting, real } = await withNumbers(asked, { signal, onProgress });
  const tokens = tokensIn(setting.extents);
  if (tokens > MOST_TOKENS)
    throw new Error(
      `Weights are computed of up to ${MOST_TOKENS.toLocaleString('en')} tokens: choose fewer than ${tokens.toLocaleString('en')}.`,
    );
  const bytes = 4 * tokens ** 2 * setting.extents.h;
  if (bytes > MOST_BYTES)
    throw new Error(
      `The weights would take ${formatBytes(bytes)}, more than ${formatBytes(MOST_BYTES)}: choose fewer tokens or heads.`,
    );
  runtime ??= createRuntime({ backend: 'wasm' });
  const started = await runtime;
  const all = await inputsOf(started, setting, real);
  try {
    const { v } = all;
    if (!v) throw new Error(`${method.name} takes no values to be weighed.`);
    const heads = v.shape.at(-2)!;
    const names = Object.keys(method.outputs).filter((name) => method.outputs[name] === method.outputs.out);
    /** Its outputs of the shape of `out`, out first. */
    const outputsFor = async (values: Tensor, inputs: Readonly<Record<string, Tensor>>) => {
      const results = await settled(method.forward({ ...inputs, v: values } as never, params, { signal }));
      const outputs = await Promise.all(names.map((name) => results[name].read() as Promise<Float32Array>));
      disposeResults(results);
      return outputs;
    };
    const shape = [...v.shape.slice(0, -1), CHANNELS];
    let inputs: Readonly<Record<string, Tensor>> = all;
    const found = names.map(() => ({ data: new Float32Array(tokens ** 2 * heads), sums: [] as Float32Array[] }));
    for (let first = 0; first < tokens; first += KEYS) {
      report?.(`computing weights, ${formatPercent(first / tokens)}`);
      // To notice a cancellation.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      using unit = started.tensor(unitValues(tokens, heads, first), shape);
      const outputs = await outputsFor(unit, inputs).catch((error) => {
        // Optional inputs may fit no other number of channels.
        const needed = Object.fromEntries(Object.entries(all).filter(([name]) => name in method.inputs));
        if (Object.keys(needed).length === Object.keys(inputs).length) throw error;
        inputs = needed;
        return outputsFor(unit, inputs);
      });
      const keys = Math.min(KEYS, tokens - first);
      for (const [at, output] of outputs.entries()) {
        const { data, sums } = found[at];
        for (let row = 0; row < tokens * heads; row++)
          data.set(output.subarray(row * CHANNELS, row * CHANNELS + keys), row * tokens + first);
        sums.push(Float32Array.from({ length: tokens * heads }, (_, row) => output[row * CHANNELS + KEYS]));
      }
    }
    const wanted = await outputsFor(v, inputs);
    const values = (await v.read()) as Float32Array;
    for (const [at, { data, sums }] of found.entries()) {
      const plain = errorOf({ data, heads, tokens }, values, wanted[at], false);
      const scaled = plain >= TOLERANCE;
      if (scaled) toOneScale(data, sums, tokens);
      const error = scaled ? errorOf({ data, heads, tokens }, values, wanted[at], true) : plain;
      if (error < TOLERANCE) return { data, heads, tokens, output: names[at], error, scaled };
    }
    throw new Error(
      `The outputs of ${method.name} are no sums of values with a weight each: there is nothing to be drawn.`,
    );
  } finally {
    for (const tensor of Object.values(all)) tensor.dispose();
  }
}

/** [tokens, heads, channels]: of the tokens from `first` on each has 1 in a channel, and all tokens have 1 in the last. */
function unitValues(tokens: number, heads: number, first: number): Float32Array {
  const values = new Float32Array(tokens * heads * CHANNELS);
  for (let row = 0; row < tokens * heads; row++) {
    const channel = Math.floor(row / heads) - first;
    if (channel >= 0 && channel < KEYS) values[row * CHANNELS + channel] = 1;
    values[row * CHANNELS + KEYS] = 1;
  }
  return values;
}

/** Rows that were normalised call by call are rescaled by what the same sum became in each call. */
function toOneScale(data: Float32Array, sums: readonly Float32Array[], tokens: number): void {
  for (let at = 0; at < data.length; at++) {
    const row = Math.floor(at / tokens);
    data[at] *= sums[0][row] / sums[Math.floor((at % tokens) / KEYS)][row];
  }
}

/** How far sums of values are off, of some queries, as they are or each up to a factor; as a share of the largest result. */
function errorOf(
  { data, heads, tokens }: Pick<Weights, 'data' | 'heads' | 'tokens'>,
  values: Float32Array,
  wanted: Float32Array,
  scaled: boolean,
): number {
  const e = values.length / (tokens * heads);
  let [error, largest] = [0, 0];
  const sums = new Float64Array(e);
  for (let query = 0; query < tokens; query += Math.ceil(tokens / TRIED)) {
    for (let head = 0; head < heads; head++) {
      const row = query * heads + head;
      sums.fill(0);
      for (let token = 0; token < tokens; token++) {
        const weight = data[row * tokens + token];
        const from = (token * heads + head) * e;
        if (weight !== 0) for (let c = 0; c < e; c++) sums[c] += weight * values[from + c];
      }
      const result = wanted.subarray(row * e, (row + 1) * e);
      const product = (a: ArrayLike<number>) => sums.reduce((total, sum, c) => total + sum * a[c], 0);
      const factor = scaled ? product(result) / product(sums) : 1;
      for (let c = 0; c < e; c++) {
        const off = Math.abs(result[c] - factor * sums[c]);
        // Rows with NaN do not count.
        if (Number.isNaN(off)) continue;
        largest = Math.max(largest, Math.abs(result[c]));
        error = Math.max(error, off);
      }
    }
  }
  return error / (largest || 1);
}
