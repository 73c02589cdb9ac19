/** The state: from the initial one, through a chunk's keys and values, and to the final one. */
import { rowAddress, rowBytes } from '../../runtime/wasm/assembly/layout.as';
import { DECAY_ADD, product } from '../../runtime/wasm/assembly/product.as';
import { PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { CARRY, KEY_ROWS, POWERS, stateSliceBytes, Task, VALUES } from './memory.as';
import { CHUNK, PassParams } from './params.generated.as';

/** state = decay^rows state + keys^T values. */
export function updateState(p: PassParams, t: Task, scratch: usize): void {
  const rows = t.rows;
  const decay = f32x4.splat(f32.load(t.table + POWERS + (<usize>rows << 2)));
  const carry = scratch + CARRY;
  v128.store(carry, decay);
  v128.store64_lane(carry, decay, 0, 16);
  const step = stateSliceBytes(p) >> 3;
  const pastKeys = scratch + KEY_ROWS + step;
  let values = scratch + VALUES;
  let state = t.state;
  for (let s = t.slices; s > 0; s--, values += <usize>CHUNK << 5) {
    for (let keys = scratch + KEY_ROWS; keys < pastKeys; keys += PANEL * 4, state += PANEL << 5) {
      product(keys, step, false, values, rows, state, 32, DECAY_ADD, carry);
    }
  }
}

/** Slices of the initial state, zeros where there is none. */
export function loadState(p: PassParams, bh: i32, firstSlice: i32, slices: i32, to: usize): void {
  const x = p.initial;
  const h = p.h;
  const d = p.d;
  const step = stateSliceBytes(p);
  memory.fill(to, 0, <usize>slices * step);
  const features = x.address == 0 ? 0 : p.stateFeatures;
  const columns = p.stateColumns;
  const between = x.element << 2;
  const next = rowBytes(x);
  for (let s: i32 = 0; s < slices; s++, to += step) {
    const column = (firstSlice + s) * SLICE;
    const count = min(SLICE, columns - column);
    let row = rowAddress(x, bh / h, 0, bh % h) + <usize>column * between;
    const pastFeatures = to + (<usize>features << 5);
    for (let feature = to; feature < pastFeatures; feature += 32, row += next) {
      copyNumbers(row, between, feature, count);
    }
    if (p.initialSums == 0) continue;
    if (p.sumsAcross) {
      const from = p.initialSums + (<usize>(bh * p.sumsWidth + column) << 2);
      copyNumbers(from, 4, to + (<usize>p.stateFeatures << 5), count);
    } else if (count < SLICE) {
      const from = p.initialSums + (<usize>(bh * p.sumsWidth) << 2);
      const sums = to + (<usize>count << 2);
      for (let r: i32 = 0; r < d; r++) f32.store(sums + (<usize>r << 5), f32.load(from + (<usize>r << 2)));
    }
  }
}

/** Slices of the final state to where it is wanted, if it is. */
export function storeState(p: PassParams, bh: i32, firstSlice: i32, slices: i32, from: usize): void {
  const x = p.final;
  if (x.address == 0) return;
  const h = p.h;
  const d = p.d;
  const columns = p.stateColumns;
  const next = rowBytes(x);
  for (let s: i32 = 0; s < slices; s++, from += stateSliceBytes(p)) {
    const column = (firstSlice + s) * SLICE;
    const count = min(SLICE, columns - column);
    let row = rowAddress(x, bh / h, 0, bh % h) + (<usize>column << 2);
    const pastFeatures = from + (<usize>d << 5);
    for (let feature = from; feature < pastFeatures; feature += 32, row += next) {
      copyNumbers(feature, 4, row, count);
    }
    if (p.finalSums == 0 || count == SLICE) continue;
    const to = p.finalSums + (<usize>(bh * p.sumsWidth) << 2);
    const sums = from + (<usize>count << 2);
    for (let r: i32 = 0; r < d; r++) f32.store(to + (<usize>r << 2), f32.load(sums + (<usize>r << 5)));
  }
}

/** Up to eight numbers, `between` bytes apart, side by side. */
function copyNumbers(from: usize, between: usize, to: usize, count: i32): void {
  if (count == SLICE && between == 4) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    return;
  }
  for (let c: i32 = 0; c < count; c++, from += between, to += 4) f32.store(to, f32.load(from));
}
