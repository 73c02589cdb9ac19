import { madd } from '../../runtime/wasm/assembly/vector.as';
import { PeakParams } from './params.generated.as';

export const SCRATCH_BYTES: usize = 16;

/** The twelve multiply-adds of a step of `product` without its memory: the peak that it is measured against. */
export function peak(params: usize, task: i32, scratch: usize): void {
  const p = changetype<PeakParams>(params);
  const rounds = p.rounds;
  // A param: the compiler would write a literal anew at each use.
  const factor = f32x4.splat(<f32>p.factor);
  let x0 = f32x4.splat(<f32>task);
  let y0 = f32x4.splat(1);
  let x1 = f32x4.splat(2);
  let y1 = f32x4.splat(3);
  let x2 = f32x4.splat(4);
  let y2 = f32x4.splat(5);
  let x3 = f32x4.splat(6);
  let y3 = f32x4.splat(7);
  let x4 = f32x4.splat(8);
  let y4 = f32x4.splat(9);
  let x5 = f32x4.splat(10);
  let y5 = f32x4.splat(11);
  for (let i: i32 = 0; i < rounds; i++) {
    x0 = madd(x0, factor, factor);
    y0 = madd(y0, factor, factor);
    x1 = madd(x1, factor, factor);
    y1 = madd(y1, factor, factor);
    x2 = madd(x2, factor, factor);
    y2 = madd(y2, factor, factor);
    x3 = madd(x3, factor, factor);
    y3 = madd(y3, factor, factor);
    x4 = madd(x4, factor, factor);
    y4 = madd(y4, factor, factor);
    x5 = madd(x5, factor, factor);
    y5 = madd(y5, factor, factor);
  }
  const sum = f32x4.add(
    f32x4.add(f32x4.add(f32x4.add(x0, y0), f32x4.add(x1, y1)), f32x4.add(f32x4.add(x2, y2), f32x4.add(x3, y3))),
    f32x4.add(f32x4.add(x4, y4), f32x4.add(x5, y5)),
  );
  v128.store(scratch, sum);
}
