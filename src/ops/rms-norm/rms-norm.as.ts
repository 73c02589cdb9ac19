/** Rows over their root mean square, and the gradient; tasks are runs of rows. */
import { dot, madd } from '../../runtime/wasm/assembly/vector.as';
import { RmsNormParams, ROWS } from './params.generated.as';

export function rmsNorm(params: usize, task: i32, scratch: usize): void {
  const p = changetype<RmsNormParams>(params);
  const bytes = <usize>p.columns << 2;
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const x = p.x + <usize>r * bytes;
    const out = p.out + <usize>r * bytes;
    const root = sqrt(<f64>dot(x, x, bytes) / <f64>p.columns + p.epsilon);
    const divisor = root + p.offset;
    // A row of zeros stays one.
    const factor = divisor > 0 ? 1 / divisor : divisor == divisor ? 0 : NaN;
    if (p.gradOut == 0) {
      combine(x, <f32>factor, x, 0, out, bytes);
    } else {
      const gradOut = p.gradOut + <usize>r * bytes;
      const inner = root > 0 ? (<f64>dot(x, gradOut, bytes) * factor * factor) / (<f64>p.columns * root) : 0;
      combine(gradOut, <f32>factor, x, <f32>-inner, out, bytes);
    }
  }
}

/** to = f a + g b. */
function combine(a: usize, f: f32, b: usize, g: f32, to: usize, bytes: usize): void {
  const left = f32x4.splat(f);
  const right = f32x4.splat(g);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) {
    v128.store(to + at, madd(right, v128.load(b + at), f32x4.mul(left, v128.load(a + at))));
  }
  for (; at < bytes; at += 4) f32.store(to + at, f * f32.load(a + at) + g * f32.load(b + at));
}
