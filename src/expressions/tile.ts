/** Boolean expressions over tiles of queries and keys in float64, as a word for each key with a bit for each query. */
import type { Fixed } from './evaluate';
import type { Expression } from './expression';
import { OPERATIONS } from './operations';
import { type Step, stepsOf } from './steps';

/** What a value depends on: nothing, the query, the key, both, or only their distance. */
const ONE = 0;
const QUERY = 1;
const KEY = 2;
const BOTH = 3;
const DISTANCE = 4;
const SHAPES = 5;

/** Operations on a query and a key that depend only on their distance. */
const OF_DISTANCE = new Set<string>(['subtract', 'less', 'lessOrEqual', 'equal']);

type Numbers = ArrayLike<number>;

/** Evaluates a boolean expression over tiles of at most `rows` (up to 32) queries and `columns` keys. */
export class Tile {
  readonly #steps: readonly Step[];
  /** The shapes of steps for consecutive queries, and for others. */
  readonly #dense: readonly number[];
  readonly #scattered: readonly number[];
  #shapes: readonly number[];
  /** Elements by step and shape; those in a shape other than the step's are repeated. */
  readonly #values = new Map<number, Float64Array>();
  /** Which of them belong to the current tile. */
  readonly #fresh: Uint8Array;
  /** A word for each key, for boolean steps. */
  readonly #words: readonly (Int32Array | undefined)[];
  #queries: Numbers = [];
  #fixed: Fixed = { b: 0, h: 0, n: 0, m: 0 };
  #firstKey = 0;
  #rows = 0;
  #columns = 0;
  #all = 0;

  constructor(
    expression: Expression,
    readonly rows: number,
    readonly columns: number,
  ) {
    this.#steps = stepsOf(expression);
    this.#dense = shapesOf(this.#steps, true);
    this.#scattered = shapesOf(this.#steps, false);
    this.#shapes = this.#dense;
    this.#fresh = new Uint8Array(SHAPES * this.#steps.length);
    this.#words = this.#steps.map(({ node }) => (node.kind === 'boolean' ? new Int32Array(columns) : undefined));
  }

  /** Sets the queries of the next tiles. */
  take(queries: Numbers, fixed: Fixed): void {
    const count = queries.length;
    let isDense = true;
    for (let r = 1; r < count; r++) isDense &&= queries[r] === (queries[0] as number) + r;
    this.#shapes = isDense ? this.#dense : this.#scattered;
    this.#queries = queries;
    this.#fixed = fixed;
    this.#rows = count;
    this.#all = count === 32 ? -1 : 2 ** count - 1;
    this.#columns = 0;
  }

  /** The words of `count` keys from `first` on, in memory that the next call overwrites. */
  words(first: number, count: number): Int32Array {
    // What does not depend on keys is computed once for the queries.
    const isFirst = this.#columns !== count;
    this.#firstKey = first;
    this.#columns = count;
    for (let at = 0; at < this.#steps.length; at++) {
      const shape = this.#shapes[at] as number;
      if (!isFirst && shape <= QUERY) continue;
      this.#fresh.fill(0, SHAPES * at, SHAPES * (at + 1));
      if (this.#words[at]) this.#decide(at, shape);
      else this.#compute(at, shape);
    }
    return this.#words[this.#steps.length - 1] as Int32Array;
  }

  #compute(at: number, shape: number): void {
    const { node, args } = this.#steps[at] as Step;
    const out = this.#memory(at, shape);
    const count = this.#count(shape);
    if ('value' in node) out[0] = node.value;
    else if ('name' in node) {
      const { name } = node;
      if (name === 'q') for (let r = 0; r < count; r++) out[r] = this.#queries[r] as number;
      else if (name === 'k') for (let c = 0; c < count; c++) out[c] = this.#firstKey + c;
      else out[0] = name === 'score' ? Number.NaN : this.#fixed[name as 'b'];
    } else if ('table' in node) {
      const index = this.#as(args[0] as number, shape);
      const { values } = node.table;
      for (let i = 0; i < count; i++) out[i] = values[index[i] as number] ?? Number.NaN;
    } else {
      const [x, y = x, z = x] = args.map((arg) => this.#as(arg, shape)) as [Float64Array, Float64Array, Float64Array];
      OPERATIONS[node.operation].loop(out, x, y, z, count);
    }
  }

  #decide(at: number, shape: number): void {
    const { node, args } = this.#steps[at] as Step;
    const out = this.#words[at] as Int32Array;
    const count = this.#columns;
    const all = this.#all;
    const [x, y, z] = args.map((arg) => this.#words[arg]) as [Int32Array, Int32Array, Int32Array];
    if ('value' in node) out.fill(node.value === 1 ? all : 0);
    else if (node.operation === 'not') for (let c = 0; c < count; c++) out[c] = ~x[c]! & all;
    else if (node.operation === 'and') for (let c = 0; c < count; c++) out[c] = x[c]! & y[c]!;
    else if (node.operation === 'or') for (let c = 0; c < count; c++) out[c] = x[c]! | y[c]!;
    else if (node.operation === 'select') for (let c = 0; c < count; c++) out[c] = (x[c]! & y[c]!) | (~x[c]! & z[c]!);
    else this.#compare(at, node.operation as Comparison, shape, out);
  }

  #compare(at: number, operation: Comparison, shape: number, out: Int32Array): void {
    const [x, y] = (this.#steps[at] as Step).args as readonly [number, number];
    if (shape === DISTANCE) {
      const seen = this.#memory(at, shape);
      OPERATIONS[operation].loop(seen, this.#as(x, shape), this.#as(y, shape), seen, this.#count(shape));
      // From one key to the next all distances shift by one query.
      let word = 0;
      for (let i = 0; i < this.#rows - 1; i++) word = (word << 1) | seen[i]!;
      for (let c = 0; c < this.#columns; c++) out[c] = word = ((word << 1) | seen[c + this.#rows - 1]!) & this.#all;
      return;
    }
    const places = (arg: number): Places => {
      const own = this.#shapes[arg] as number;
      // The elements of a distance have another order.
      if (own === DISTANCE) return [this.#as(arg, BOTH), this.#columns, 1];
      const byRow = own === BOTH ? this.#columns : Number(own === QUERY);
      return [this.#memory(arg, own), byRow, Number(own === KEY || own === BOTH)];
    };
    const isOfKey = shape === KEY || shape === BOTH;
    const isOfQuery = shape === QUERY || shape === BOTH;
    const [rows, columns] = [isOfQuery ? this.#rows : 1, isOfKey ? this.#columns : 1];
    compareAll(operation, places(x), places(y), out, rows, columns);
    if (!isOfQuery) for (let c = 0; c < columns; c++) out[c] = -out[c]! & this.#all;
    if (!isOfKey) out.fill(out[0] as number);
  }

  /** The elements of step `at`, repeated to `shape`. */
  #as(at: number, shape: number): Float64Array {
    const own = this.#shapes[at] as number;
    const words = this.#words[at];
    if (own === shape && !words) return this.#memory(at, own);
    const repeated = this.#memory(at, shape);
    if (this.#fresh[SHAPES * at + shape] === 1) return repeated;
    this.#fresh[SHAPES * at + shape] = 1;
    if (words) this.#spread(words, repeated, shape);
    else this.#repeat(this.#memory(at, own), own, repeated, shape);
    return repeated;
  }

  #repeat(values: Float64Array, own: number, repeated: Float64Array, shape: number): void {
    const [rows, columns] = [this.#rows, this.#columns];
    if (own === ONE) repeated.fill(values[0] as number, 0, this.#count(shape));
    else if (shape === DISTANCE) {
      const [count, isOfKey] = [this.#count(shape), own === KEY];
      for (let i = 0; i < count; i++)
        repeated[i] = values[isOfKey ? Math.max(0, i - rows + 1) : Math.max(0, rows - 1 - i)]!;
    } else if (own === QUERY)
      for (let r = 0; r < rows; r++) repeated.fill(values[r] as number, r * columns, (r + 1) * columns);
    else if (own === DISTANCE) {
      for (let r = 0, at = 0; r < rows; r++)
        for (let i = rows - 1 - r; i < rows - 1 - r + columns; i++) repeated[at++] = values[i]!;
    } else {
      repeated.set(values.subarray(0, columns));
      for (let at = columns; at < rows * columns; at *= 2)
        repeated.copyWithin(at, 0, Math.min(at, rows * columns - at));
    }
  }

  /** Booleans as numbers. */
  #spread(words: Int32Array, out: Float64Array, shape: number): void {
    const [rows, columns] = [this.#rows, this.#columns];
    if (shape === ONE) out[0] = words[0]! & 1;
    else if (shape === QUERY) for (let r = 0; r < rows; r++) out[r] = (words[0]! >> r) & 1;
    else if (shape === KEY) for (let c = 0; c < columns; c++) out[c] = words[c]! & 1;
    else if (shape === DISTANCE) {
      for (let r = 0; r < rows; r++) out[rows - 1 - r] = (words[0]! >> r) & 1;
      for (let c = 1; c < columns; c++) out[rows - 1 + c] = words[c]! & 1;
    } else for (let r = 0, at = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[at++] = (words[c]! >> r) & 1;
  }

  #count(shape: number): number {
    if (shape === DISTANCE) return this.#rows + this.#columns - 1;
    return (shape & QUERY ? this.#rows : 1) * (shape & KEY ? this.#columns : 1);
  }

  #memory(at: number, shape: number): Float64Array {
    const key = SHAPES * at + shape;
    let memory = this.#values.get(key);
    if (!memory) {
      memory = new Float64Array(
        shape >= BOTH ? this.rows * this.columns + this.rows : Math.max(this.rows, this.columns),
      );
      this.#values.set(key, memory);
    }
    return memory;
  }
}

type Comparison = 'less' | 'lessOrEqual' | 'equal';

/** Elements, and the steps to the next query's and to the next key's. */
type Places = readonly [values: Float64Array, byRow: number, byColumn: number];

/** Sets bit r of word c of out to the comparison of query r and key c. */
function compareAll(
  operation: Comparison,
  [x, xByRow, xByColumn]: Places,
  [y, yByRow, yByColumn]: Places,
  out: Int32Array,
  rows: number,
  columns: number,
): void {
  out.fill(0, 0, columns);
  for (let r = 0; r < rows; r++) {
    let [i, j] = [r * xByRow, r * yByRow];
    if (operation === 'less')
      for (let c = 0; c < columns; c++, i += xByColumn, j += yByColumn) out[c]! |= +(x[i]! < y[j]!) << r;
    else if (operation === 'lessOrEqual')
      for (let c = 0; c < columns; c++, i += xByColumn, j += yByColumn) out[c]! |= +(x[i]! <= y[j]!) << r;
    else for (let c = 0; c < columns; c++, i += xByColumn, j += yByColumn) out[c]! |= +(x[i]! === y[j]!) << r;
  }
}

function shapesOf(steps: readonly Step[], isDense: boolean): number[] {
  const shapes: number[] = [];
  for (const { node, args, inputs } of steps) {
    const own = args.map((arg) => shapes[arg] as number).filter((shape) => shape !== ONE);
    const isOfBoth = inputs.has('q') && inputs.has('k');
    if (!isOfBoth) shapes.push((inputs.has('q') ? QUERY : 0) | (inputs.has('k') ? KEY : 0));
    else {
      const isDistance = OF_DISTANCE.has(node.operation) && args.every((arg) => 'name' in (steps[arg] as Step).node);
      shapes.push(isDense && (isDistance || own.every((shape) => shape === DISTANCE)) ? DISTANCE : BOTH);
    }
  }
  return shapes;
}
