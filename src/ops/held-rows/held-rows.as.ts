/** Rows of tokens whose elements are held until they have moved by more than a threshold; a task is a head of a batch. */
import { HeldRowsParams } from './params.generated.as';

export function heldRows(params: usize, task: i32, scratch: usize): void {
  const p = changetype<HeldRowsParams>(params);
  const head = task % p.h;
  const step = <usize>(p.h * p.d) << 2;
  const first = <usize>(task / p.h * p.n) * step + (<usize>(head * p.d) << 2);
  const n = p.n;
  const d = p.d;
  const threshold = f32.load(p.thresholds + (<usize>head << 2));
  const limit = f32x4.splat(threshold);
  const nothing = f32x4.splat(0);
  let zeros: i32 = 0;
  let c: i32 = 0;
  for (; c + 4 <= d; c += 4) {
    let x = p.x + first + (<usize>c << 2);
    let to = p.held + first + (<usize>c << 2);
    let held = nothing;
    let count = i32x4.splat(0);
    for (let i: i32 = 0; i < n; i++, x += step, to += step) {
      const value = v128.load(x);
      const change = f32x4.sub(value, held);
      // What is not a number is sent.
      const isHeld = i == 0 ? nothing : f32x4.le(f32x4.abs(change), limit);
      count = i32x4.sub(count, v128.or(isHeld, f32x4.eq(change, nothing)));
      held = v128.bitselect(held, value, isHeld);
      v128.store(to, held);
    }
    const pairs = i32x4.add(count, i32x4.shuffle(count, count, 2, 3, 0, 1));
    zeros += i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
  }
  for (; c < d; c++) {
    let x = p.x + first + (<usize>c << 2);
    let to = p.held + first + (<usize>c << 2);
    let held: f32 = 0;
    for (let i: i32 = 0; i < n; i++, x += step, to += step) {
      const value = f32.load(x);
      const isHeld = i > 0 && abs(value - held) <= threshold;
      if (isHeld || value == held) zeros++;
      if (!isHeld) held = value;
      f32.store(to, held);
    }
  }
  f32.store(p.share + (<usize>task << 2), <f32>(<f64>zeros / (<f64>n * <f64>d)));
}
