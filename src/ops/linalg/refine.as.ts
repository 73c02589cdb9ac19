/** Iterative refinement: residuals of systems with sums in float64, and what corrects the solutions. */
import { ResidualParams } from './params.generated.as';
import { maddWide } from './substitute.as';

/** Rows and columns whose sums are in registers. */
const ROWS: i32 = 2;
const COLUMNS: i32 = 8;

/** residual = b - a x, for some rows. */
export function residual(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ResidualParams>(params);
  if (p.wide) rowsOf<f64>(p, task, scratch);
  else rowsOf<f32>(p, task, scratch);
}

/** Rows of a matrix are even, so that a pair of them is of one; past the last the same row is taken twice. */
function rowsOf<T extends number>(p: ResidualParams, task: i32, scratch: usize): void {
  const n = p.n;
  const columns = p.columns;
  const pairs = (n + 1) / ROWS;
  const from = task * p.pairsOfTask;
  for (let pair = from; pair < min(from + p.pairsOfTask, pairs * p.batches); pair++) {
    const batch = pair / pairs;
    const row = (pair % pairs) * ROWS;
    const other = min(row + 1, n - 1);
    const a = p.a + <usize>batch * <usize>n * <usize>n * sizeof<T>();
    const x = p.x + <usize>batch * <usize>n * <usize>columns * sizeof<T>();
    const first = a + <usize>row * <usize>n * sizeof<T>();
    const second = a + <usize>other * <usize>n * sizeof<T>();
    for (let c: i32 = 0; c < columns; c += COLUMNS) {
      const count = min(COLUMNS, columns - c);
      if (count == COLUMNS) sumEight<T>(first, second, x + <usize>c * sizeof<T>(), n, columns, scratch);
      else sumFew<T>(first, second, x + <usize>c * sizeof<T>(), n, columns, count, scratch);
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

function sumFew<T extends number>(a: usize, b: usize, x: usize, n: i32, columns: i32, count: i32, to: usize): void {
  for (let c: i32 = 0; c < count; c++, x += sizeof<T>()) {
    let first: f64 = 0;
    let second: f64 = 0;
    for (let j: usize = 0, at = x; j < <usize>n; j++, at += <usize>columns * sizeof<T>()) {
      first += <f64>load<T>(a + j * sizeof<T>()) * <f64>load<T>(at);
      second += <f64>load<T>(b + j * sizeof<T>()) * <f64>load<T>(at);
    }
    f64.store(to + (<usize>c << 3), first);
    f64.store(to + (<usize>(c + COLUMNS) << 3), second);
  }
}

function sumEight<T extends number>(a: usize, b: usize, x: usize, n: i32, columns: i32, to: usize): void {
  let x0 = f64x2.splat(0);
  let x1 = x0;
  let x2 = x0;
  let x3 = x0;
  let y0 = x0;
  let y1 = x0;
  let y2 = x0;
  let y3 = x0;
  const step = <usize>columns * sizeof<T>();
  for (let j: i32 = 0; j < n; j++, a += sizeof<T>(), b += sizeof<T>(), x += step) {
    const first = f64x2.splat(<f64>load<T>(a));
    const second = f64x2.splat(<f64>load<T>(b));
    let value = pair<T>(x);
    x0 = maddWide(first, value, x0);
    y0 = maddWide(second, value, y0);
    value = pair<T>(x + 2 * sizeof<T>());
    x1 = maddWide(first, value, x1);
    y1 = maddWide(second, value, y1);
    value = pair<T>(x + 4 * sizeof<T>());
    x2 = maddWide(first, value, x2);
    y2 = maddWide(second, value, y2);
    value = pair<T>(x + 6 * sizeof<T>());
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
  const elements = 2 * p.pairsOfTask * p.columns;
  const from = task * elements;
  const past = min(from + elements, p.n * p.batches * p.columns);
  for (let at = from; at < past; at++) {
    if (p.wide) f64.store(p.x + (<usize>at << 3), f64.load(p.x + (<usize>at << 3)) + f64.load(p.correction + (<usize>at << 3)));
    else f32.store(p.x + (<usize>at << 2), f32.load(p.x + (<usize>at << 2)) + f32.load(p.correction + (<usize>at << 2)));
  }
}
