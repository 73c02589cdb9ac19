/** Rows whose inputs or scores are huge, infinite or NaN, in float64 and in the order of the definition. */
import { divideSums, dot } from '../attention/forward/exceptional.as';
import { LAYOUT, RESULT } from '../attention/forward/memory.as';
import { keyHeadOf } from '../attention/forward/pack.as';
import { ForwardParams, Problem } from '../attention/params.generated.as';
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { exp, log } from '../../runtime/wasm/assembly/scalar.as';
import { bytesOf, loadElement, storeRow } from '../../runtime/wasm/assembly/storage.as';

/** Query `i` of a head of a batch. */
export function exceptionalRow(f: ForwardParams, block: i32, place: i32, i: i32, tile: usize, scratch: usize): void {
  const p = f.problem;
  if (i >= p.n) return;
  const e = p.e;
  const row = scratch + LAYOUT;
  const sums = tile + RESULT;
  const first = (i / (block + 1)) * (block + 1);
  const past = min(i + 1, first + block);
  memory.fill(sums, 0, <usize>e << 3);
  let largest = largestOf(p, place, i, first, past);
  for (let landmark = block; landmark < first; landmark += block + 1) largest = max(largest, scoreOf(p, place, i, landmark));
  let total: f64 = 0;
  for (let landmark = block; landmark < first; landmark += block + 1) {
    const most = largestOf(p, place, i, landmark - block, landmark);
    let within: f64 = 0;
    for (let j = landmark - block; j < landmark; j++) within += exp(scoreOf(p, place, i, j) - most);
    const gate = exp(scoreOf(p, place, i, landmark) - largest);
    total += gate;
    for (let j = landmark - block; j < landmark; j++) {
      addValue(p, place, j, gate * (exp(scoreOf(p, place, i, j) - most) / within), sums);
    }
  }
  for (let j = first; j < past; j++) {
    const weight = exp(scoreOf(p, place, i, j) - largest);
    total += weight;
    addValue(p, place, j, weight, sums);
  }
  const at = (<usize>(place / p.h) * <usize>p.n + <usize>i) * <usize>p.h + <usize>(place % p.h);
  const dtype = f.out.dtype;
  divideSums(sums, total, e, row);
  storeRow(row, f.out.address + at * <usize>e * bytesOf(dtype), dtype, e);
  f32.store(f.lse + (at << 2), <f32>(largest + log(total)));
}

function largestOf(p: Problem, place: i32, i: i32, first: i32, past: i32): f64 {
  let largest: f64 = -Infinity;
  for (let j = first; j < past; j++) largest = max(largest, scoreOf(p, place, i, j));
  return largest;
}

function scoreOf(p: Problem, place: i32, i: i32, j: i32): f64 {
  const batch = place / p.h;
  const query = rowAddress(p.q, batch, i, place % p.h);
  return p.scale * dot(p.q, query, p.k, rowAddress(p.k, batch, j, keyHeadOf(p, place) - batch * p.g), p.d);
}

function addValue(p: Problem, place: i32, j: i32, weight: f64, sums: usize): void {
  const v = p.v;
  const batch = place / p.h;
  let value = rowAddress(v, batch, j, keyHeadOf(p, place) - batch * p.g);
  for (const past = sums + (<usize>p.e << 3); sums < past; sums += 8, value += v.element * bytesOf(v.dtype)) {
    f64.store(sums, f64.load(sums) + weight * <f64>loadElement(value, v.dtype));
  }
}
