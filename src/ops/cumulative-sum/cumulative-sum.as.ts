/** Cumulative sums of rows, in float64, since errors would grow along them; tasks are runs of rows. */
import { CumulativeSumParams } from './params.generated.as';

export function cumulativeSum(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CumulativeSumParams>(params);
  const columns = <usize>p.columns;
  const last = min((task + 1) * p.rowsOfTask, p.rows);
  for (let r = task * p.rowsOfTask; r < last; r++) {
    const first = (<usize>r * columns) << 2;
    if (p.reverse) sumRow(p.x + first, p.out + first, columns, true);
    else sumRow(p.x + first, p.out + first, columns, false);
  }
}

@inline
function sumRow(x: usize, out: usize, columns: usize, reverse: bool): void {
  let before = f64x2.splat(0);
  let c: usize = 0;
  for (; c + 4 <= columns; c += 4) {
    const at = (reverse ? columns - 4 - c : c) << 2;
    const four = inOrder(v128.load(x + at), reverse);
    const low = sumPair(f64x2.promote_low_f32x4(four));
    const high = f64x2.add(lastOf(low), sumPair(f64x2.promote_low_f32x4(v128.shuffle<f32>(four, four, 2, 3, 2, 3))));
    const lowSums = f32x4.demote_f64x2_zero(f64x2.add(before, low));
    const highSums = f32x4.demote_f64x2_zero(f64x2.add(before, high));
    v128.store(out + at, inOrder(v128.shuffle<f32>(lowSums, highSums, 0, 1, 4, 5), reverse));
    before = f64x2.add(before, lastOf(high));
  }
  let sum = f64x2.extract_lane(before, 0);
  for (; c < columns; c++) {
    const at = (reverse ? columns - 1 - c : c) << 2;
    sum += f32.load(x + at);
    f32.store(out + at, <f32>sum);
  }
}

@inline
function inOrder(four: v128, reverse: bool): v128 {
  return reverse ? v128.shuffle<f32>(four, four, 3, 2, 1, 0) : four;
}

/** a, b to a, a + b. */
@inline
function sumPair(pair: v128): v128 {
  return f64x2.add(pair, v128.shuffle<f64>(f64x2.splat(0), pair, 0, 2));
}

/** b in both lanes. */
@inline
function lastOf(pair: v128): v128 {
  return v128.shuffle<f64>(pair, pair, 1, 1);
}
