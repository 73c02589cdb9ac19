/** Iterative refinement: residuals of systems with sums in float64, what corrects the solutions, and when that ends. */
import { maddWide } from '../../runtime/wasm/assembly/wide.as';
import { CholeskySystem, columnNorm, inverseNorm } from './condition.as';
import { ResidualParams } from './params.generated.as';
import { isDone } from './triangular-solve.as';

/** Sums of n terms are as exact as this, times the root of n. */
const EPSILON: f64 = 2.220446049250313e-16;

/** Rows and columns whose sums are in registers. */
const ROWS: i32 = 2;
const COLUMNS: i32 = 8;

/** residual = b - a x, for some rows. */
export function residual(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ResidualParams>(params);
  if (p.wide) rowsOf<f64, f64>(p, task, scratch);
  else if (p.wideX) rowsOf<f32, f64>(p, task, scratch);
  else rowsOf<f32, f32>(p, task, scratch);
}

/** Rows of a matrix are even, so that a pair of them is of one; past the last the same row is taken twice. */
function rowsOf<T extends number, X extends number>(p: ResidualParams, task: i32, scratch: usize): void {
  const n = p.n;
  const columns = p.columns;
  const pairs = (n + 1) / ROWS;
  const from = task * p.pairsOfTask;
  for (let pair = from; pair < min(from + p.pairsOfTask, pairs * p.batches); pair++) {
    const batch = pair / pairs;
    if (isDone(p.done, batch)) continue;
    const row = (pair % pairs) * ROWS;
    const other = min(row + 1, n - 1);
    const a = p.a + <usize>batch * <usize>n * <usize>n * sizeof<T>();
    const x = p.x + <usize>batch * <usize>n * <usize>columns * sizeof<X>();
    const first = a + <usize>row * <usize>n * sizeof<T>();
    const second = a + <usize>other * <usize>n * sizeof<T>();
    for (let c: i32 = 0; c < columns; c += COLUMNS) {
      const count = min(COLUMNS, columns - c);
      if (count == COLUMNS) sumEight<T, X>(first, second, x + <usize>c * sizeof<X>(), n, columns, scratch);
      else sumFew<T, X>(first, second, x + <usize>c * sizeof<X>(), n, columns, count, scratch);
      for (let each: i32 = 0; each < 2 * count; each++) {
        const isFirst = each < count;
        const column = c + (isFirst ? each : each - count);
        const place = (<usize>(batch * n + (isFirst ? row : other)) * <usize>columns + <usize>column) * sizeof<T>();
        const sum = f64.load(scratch + (<usize>(isFirst ? each : each - count + COLUMNS) << 3));
        store<T>(p.residual + place, <T>(<f64>load<T>(p.b + place) - sum));
      }
    }
  }
}

function sumFew<T extends number, X extends number>(
  a: usize,
  b: usize,
  x: usize,
  n: i32,
  columns: i32,
  count: i32,
  to: usize,
): void {
  for (let c: i32 = 0; c < count; c++, x += sizeof<X>()) {
    let first: f64 = 0;
    let second: f64 = 0;
    for (let j: usize = 0, at = x; j < <usize>n; j++, at += <usize>columns * sizeof<X>()) {
      first += <f64>load<T>(a + j * sizeof<T>()) * <f64>load<X>(at);
      second += <f64>load<T>(b + j * sizeof<T>()) * <f64>load<X>(at);
    }
    f64.store(to + (<usize>c << 3), first);
    f64.store(to + (<usize>(c + COLUMNS) << 3), second);
  }
}

function sumEight<T extends number, X extends number>(a: usize, b: usize, x: usize, n: i32, columns: i32, to: usize): void {
  let x0 = f64x2.splat(0);
  let x1 = x0;
  let x2 = x0;
  let x3 = x0;
  let y0 = x0;
  let y1 = x0;
  let y2 = x0;
  let y3 = x0;
  const step = <usize>columns * sizeof<X>();
  for (let j: i32 = 0; j < n; j++, a += sizeof<T>(), b += sizeof<T>(), x += step) {
    const first = f64x2.splat(<f64>load<T>(a));
    const second = f64x2.splat(<f64>load<T>(b));
    let value = pair<X>(x);
    x0 = maddWide(first, value, x0);
    y0 = maddWide(second, value, y0);
    value = pair<X>(x + 2 * sizeof<X>());
    x1 = maddWide(first, value, x1);
    y1 = maddWide(second, value, y1);
    value = pair<X>(x + 4 * sizeof<X>());
    x2 = maddWide(first, value, x2);
    y2 = maddWide(second, value, y2);
    value = pair<X>(x + 6 * sizeof<X>());
    x3 = maddWide(first, value, x3);
    y3 = maddWide(second, value, y3);
  }
  v128.store(to, x0);
  v128.store(to, x1, 16);
  v128.store(to, x2, 32);
  v128.store(to, x3, 48);
  v128.store(to, y0, 64);
  v128.store(to, y1, 80);
  v128.store(to, y2, 96);
  v128.store(to, y3, 112);
}

@inline
function pair<T>(x: usize): v128 {
  return sizeof<T>() == 4 ? f64x2.promote_low_f32x4(v128.load64_zero(x)) : v128.load(x);
}

/** x += correction, for some rows. */
export function correct(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ResidualParams>(params);
  if (p.wide) add<f64, f64>(p, task);
  else if (p.wideX) add<f32, f64>(p, task);
  else add<f32, f32>(p, task);
}

function add<T extends number, X extends number>(p: ResidualParams, task: i32): void {
  const elements = 2 * p.pairsOfTask * p.columns;
  const ofMatrix = p.n * p.columns;
  const from = task * elements;
  const past = min(from + elements, ofMatrix * p.batches);
  for (let at = from; at < past; at++) {
    if (p.done && isDone(p.done, at / ofMatrix)) continue;
    const place = p.x + <usize>at * sizeof<X>();
    store<X>(place, load<X>(place) + <X>load<T>(p.correction + <usize>at * sizeof<T>()));
  }
}

/** Before the first correction of a matrix: x = 0, and the norm and the condition of a, from its factor. */
export function beginRefinement(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ResidualParams>(params);
  if (p.wide) begin<f64>(p, task, scratch);
  else begin<f32>(p, task, scratch);
}

@inline
function memoryOf(p: ResidualParams, batch: i32): usize {
  return p.memory + ((<usize>batch * <usize>(2 * p.n + 2)) << 3);
}

function begin<T extends number>(p: ResidualParams, batch: i32, scratch: usize): void {
  const n = p.n;
  const numbers = <usize>n * <usize>p.columns;
  const matrix = <usize>batch * <usize>n * <usize>n * sizeof<T>();
  const own = memoryOf(p, batch);
  const vector = own + 16;
  memory.fill(p.x + ((<usize>batch * numbers) << 3), 0, numbers << 3);
  i32.store(p.done + (<usize>batch << 2), 0);
  i32.store(p.steps + (<usize>batch << 2), 0);
  const system = changetype<CholeskySystem<T>>(scratch);
  system.factor = p.factor + matrix;
  system.n = n;
  const norm = columnNorm<T>(p.a + matrix, n, vector);
  f64.store(own, norm);
  f64.store(own, Infinity, 8);
  const ofInverse = inverseNorm<CholeskySystem<T>>(system, n, vector, vector + (<usize>n << 3));
  f64.store(p.condition + (<usize>batch << 3), norm * ofInverse);
}

/** After a residual of a matrix: its backward error, and whether there is no use in going on. */
export function judgeResidual(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ResidualParams>(params);
  if (isDone(p.done, task)) return;
  if (p.wide) judge<f64>(p, task);
  else judge<f32>(p, task);
}

function judge<T extends number>(p: ResidualParams, batch: i32): void {
  const n = p.n;
  const columns = <usize>p.columns;
  const first = <usize>batch * <usize>n * columns;
  const own = memoryOf(p, batch);
  const norm = f64.load(own);
  let error: f64 = 0;
  for (let c: usize = 0; c < columns; c++) {
    let ofResidual: f64 = 0;
    let ofX: f64 = 0;
    let ofB: f64 = 0;
    for (let i: i32 = 0, at = first + c; i < n; i++, at += columns) {
      ofResidual = max(ofResidual, abs(<f64>load<T>(p.residual + at * sizeof<T>())));
      ofX = max(ofX, abs(f64.load(p.x + (at << 3))));
      ofB = max(ofB, abs(<f64>load<T>(p.b + at * sizeof<T>())));
    }
    if (ofResidual != 0) error = max(error, ofResidual / (norm * ofX + ofB));
  }
  const before = f64.load(own, 8);
  f64.store(own, error, 8);
  f64.store(p.error + (<usize>batch << 3), error);
  const isDone = error <= EPSILON * Math.sqrt(<f64>n) || !(error <= 0.5 * before);
  if (isDone) i32.store(p.done + (<usize>batch << 2), 1);
  else i32.store(p.steps + (<usize>batch << 2), i32.load(p.steps + (<usize>batch << 2)) + 1);
}
