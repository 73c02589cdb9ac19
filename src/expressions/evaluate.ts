/** Evaluation in float64, exactly as JavaScript would: of whole grids of queries and keys, one operation at a time. */
import type { Expression, InputName } from './expression';
import { OPERATIONS } from './operations';
import { type Step, stepsOf } from './steps';

/** What is the same for all elements of a grid. */
export type Fixed = Readonly<Record<'b' | 'h' | 'n' | 'm', number>>;

/** What an element depends on: neither, the query, the key, both. */
const ONE = 0;
const QUERY = 1;
const KEY = 2;
const BOTH = 3;

const NOTHING = new Float64Array(0);

/** Evaluates one expression over grids of at most `rows` queries and `columns` keys. */
export class Grid {
  readonly #steps: readonly Step[];
  readonly #shapes: readonly number[];
  /** Of each step and shape: its elements, repeated to that shape where it has fewer dimensions. */
  readonly #values = new Map<number, Float64Array>();
  #fresh = new Set<number>();
  #sizes: readonly number[] = [];

  constructor(
    expression: Expression,
    readonly rows: number,
    readonly columns: number,
  ) {
    this.#steps = stepsOf(expression);
    this.#shapes = this.#steps.map(({ inputs }) => shapeOf(inputs));
  }

  /**
   * The elements [queries][keys], in memory that the next call overwrites. `scores` are such elements too, and are
   * asked for only where the expression mentions them.
   */
  evaluate(queries: ArrayLike<number>, keys: ArrayLike<number>, fixed: Fixed, scores = NOTHING): Float64Array {
    this.#sizes = [1, queries.length, keys.length, queries.length * keys.length];
    this.#fresh = new Set();
    this.#steps.forEach((_, at) => {
      this.#compute(at, queries, keys, fixed, scores);
    });
    return this.#as(this.#steps.length - 1, BOTH);
  }

  #compute(at: number, queries: ArrayLike<number>, keys: ArrayLike<number>, fixed: Fixed, scores: Float64Array): void {
    const { node, args } = this.#steps[at] as Step;
    const shape = this.#shapes[at] as number;
    const out = this.#memory(at, shape);
    const count = this.#sizes[shape] as number;
    if ('value' in node) out[0] = node.value;
    else if ('name' in node) {
      const { name } = node;
      const source = name === 'score' ? scores : name === 'q' ? queries : name === 'k' ? keys : [fixed[name]];
      for (let i = 0; i < count; i++) out[i] = source[i] as number;
    } else if ('table' in node) {
      const index = this.#as(args[0] as number, shape);
      const { values } = node.table;
      for (let i = 0; i < count; i++) out[i] = values[index[i] as number] ?? Number.NaN;
    } else {
      const [x = NOTHING, y = NOTHING, z = NOTHING] = args.map((arg) => this.#as(arg, shape));
      OPERATIONS[node.operation].loop(out, x, y, z, count);
    }
  }

  /** The elements of step `at`, repeated to `shape`. */
  #as(at: number, shape: number): Float64Array {
    const own = this.#shapes[at] as number;
    const values = this.#memory(at, own);
    if (own === shape) return values;
    const repeated = this.#memory(at, shape);
    if (this.#fresh.has(4 * at + shape)) return repeated;
    this.#fresh.add(4 * at + shape);
    const [, rows, columns, all] = this.#sizes as [number, number, number, number];
    if (own === ONE) repeated.fill(values[0] as number, 0, this.#sizes[shape]);
    else if (own === QUERY)
      for (let r = 0; r < rows; r++) repeated.fill(values[r] as number, r * columns, (r + 1) * columns);
    else for (let start = 0; start < all; start += columns) repeated.set(values.subarray(0, columns), start);
    return repeated;
  }

  #memory(at: number, shape: number): Float64Array {
    const key = 4 * at + shape;
    let memory = this.#values.get(key);
    if (!memory) {
      memory = new Float64Array((shape & QUERY ? this.rows : 1) * (shape & KEY ? this.columns : 1));
      this.#values.set(key, memory);
    }
    return memory;
  }
}

const points = new WeakMap<Expression, Grid>();

/** The value at one point; booleans are 0 and 1. */
export function evaluate(expression: Expression, q: number, k: number, fixed: Fixed, score = Number.NaN): number {
  let grid = points.get(expression);
  if (!grid) {
    grid = new Grid(expression, 1, 1);
    points.set(expression, grid);
  }
  return grid.evaluate([q], [k], fixed, Float64Array.of(score))[0] as number;
}

function shapeOf(inputs: ReadonlySet<InputName>): number {
  if (inputs.has('score')) return BOTH;
  return (inputs.has('q') ? QUERY : 0) | (inputs.has('k') ? KEY : 0);
}
