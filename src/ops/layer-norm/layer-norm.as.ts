/** Layer normalisation; tasks are runs of rows. */
import { madd, sumAround } from '../../runtime/wasm/assembly/vector.as';
import { LayerNormParams, ROWS } from './params.generated.as';

export function layerNorm(params: usize, task: i32, scratch: usize): void {
  const p = changetype<LayerNormParams>(params);
  const columns = <usize>p.columns;
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const x = p.x + <usize>r * (columns << 2);
    const out = p.out + <usize>r * (columns << 2);
    const mean = sumAround(x, columns, 0, false) / <f32>columns;
    const variance = sumAround(x, columns, mean, true) / <f32>columns;
    const factor = <f32>(1 / sqrt(<f64>variance + p.epsilon));
    const mean4 = f32x4.splat(mean);
    const factor4 = f32x4.splat(factor);
    let at: usize = 0;
    const end = columns << 2;
    for (; at + 16 <= end; at += 16) {
      const normal = f32x4.mul(f32x4.sub(v128.load(x + at), mean4), factor4);
      v128.store(out + at, madd(normal, v128.load(p.gain + at), v128.load(p.bias + at)));
    }
    for (; at < end; at += 4) {
      const normal = (f32.load(x + at) - mean) * factor;
      f32.store(out + at, normal * f32.load(p.gain + at) + f32.load(p.bias + at));
    }
  }
}
