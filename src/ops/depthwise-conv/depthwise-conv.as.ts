/** Convolutions of each channel on its own, channels last; zeros beyond the edges, as many results as inputs. */
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { DepthwiseParams } from './params.generated.as';

/** A task is one row of one picture. */
export function depthwiseConv(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DepthwiseParams>(params);
  const rows = p.rows;
  const columns = p.columns;
  const bytes = <usize>p.channels << 2;
  const kernelRows = p.kernelRows;
  const kernelColumns = p.kernelColumns;
  const y = task % rows;
  const picture = p.x + <usize>(task - y) * <usize>columns * bytes;
  const out = p.out + <usize>task * <usize>columns * bytes;
  const taps = <usize>(kernelRows * kernelColumns);
  const step: isize = p.flipped ? -(<isize>bytes) : <isize>bytes;
  const firstTap = p.other + (p.flipped ? (taps - 1) * bytes : 0);
  const lastRow = rows - 1;
  const top = y - (kernelRows >> 1) * p.dilationRows;
  for (let x: i32 = 0; x < columns; x++) {
    const left = x - (kernelColumns >> 1) * p.dilationColumns;
    for (let c: usize = 0; c < bytes; ) {
      // Sixteen channels at a time stay in registers while the taps pass; then four, then one.
      const wide = c + 64 <= bytes;
      const one = c + 16 > bytes;
      const bias = p.bias + c;
      let a = f32x4.splat(0);
      let b = a;
      let d = a;
      let e = a;
      if (p.bias != 0) {
        a = one ? v128.load32_zero(bias) : v128.load(bias);
        if (wide) {
          b = v128.load(bias, 16);
          d = v128.load(bias, 32);
          e = v128.load(bias, 48);
        }
      }
      for (let u: i32 = 0; u < kernelRows; u++) {
        const fromRow = top + u * p.dilationRows;
        if (fromRow < 0 || fromRow > lastRow) continue;
        for (let w: i32 = 0; w < kernelColumns; w++) {
          const fromColumn = left + w * p.dilationColumns;
          if (fromColumn < 0 || fromColumn >= columns) continue;
          const from = picture + <usize>(fromRow * columns + fromColumn) * bytes + c;
          const tap = <usize>(<isize>firstTap + <isize>(u * kernelColumns + w) * step) + c;
          if (wide) {
            a = madd(v128.load(from), v128.load(tap), a);
            b = madd(v128.load(from, 16), v128.load(tap, 16), b);
            d = madd(v128.load(from, 32), v128.load(tap, 32), d);
            e = madd(v128.load(from, 48), v128.load(tap, 48), e);
          } else if (one) {
            a = madd(v128.load32_zero(from), v128.load32_zero(tap), a);
          } else {
            a = madd(v128.load(from), v128.load(tap), a);
          }
        }
      }
      const to = out + <usize>x * bytes + c;
      if (wide) {
        v128.store(to, a);
        v128.store(to, b, 16);
        v128.store(to, d, 32);
        v128.store(to, e, 48);
        c += 64;
      } else if (one) {
        v128.store32_lane(to, a, 0);
        c += 4;
      } else {
        v128.store(to, a);
        c += 16;
      }
    }
  }
}

/** The gradient by one tap of the kernels; a task is a tap. */
export function depthwiseWeights(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DepthwiseParams>(params);
  const rows = p.rows;
  const columns = p.columns;
  const bytes = <usize>p.channels << 2;
  const kernelColumns = p.kernelColumns;
  const down = (task / kernelColumns - (p.kernelRows >> 1)) * p.dilationRows;
  const right = ((task % kernelColumns) - (kernelColumns >> 1)) * p.dilationColumns;
  const to = p.out + <usize>task * bytes;
  memory.fill(to, 0, bytes);
  for (let picture: i32 = 0; picture < p.batch; picture++) {
    for (let y = max(0, -down); y < min(rows, rows - down); y++) {
      for (let x = max(0, -right); x < min(columns, columns - right); x++) {
        const at = (picture * rows + y) * columns + x;
        const from = at + down * columns + right;
        multiplyAdd(to, p.x + <usize>from * bytes, p.other + <usize>at * bytes, bytes);
      }
    }
  }
}

/** to += a b, elementwise. */
@inline
function multiplyAdd(to: usize, a: usize, b: usize, bytes: usize): void {
  let c: usize = 0;
  for (; c + 16 <= bytes; c += 16) v128.store(to + c, madd(v128.load(a + c), v128.load(b + c), v128.load(to + c)));
  for (; c < bytes; c += 4) f32.store(to + c, f32.load(to + c) + f32.load(a + c) * f32.load(b + c));
}
