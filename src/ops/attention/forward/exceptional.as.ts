/** Rows whose inputs or scores are huge, infinite or NaN, in float64 and in the order of the definition: such values take their course. */
import { keyIn, patternAt, queryIn, runsOf, Segment, SEGMENT_BYTES } from '../blocks.as';
import { ForwardParams } from '../params.generated.as';
import { modify } from '../score/modifier.as';
import { hookOf, KEYS, LAYOUT, MODIFIER, RESULT, SINGLE, stateOf } from './memory.as';
import { keyHeadOf } from './pack.as';
import { rowAddress } from '../../../runtime/wasm/assembly/layout.as';
import { exp, log } from '../../../runtime/wasm/assembly/scalar.as';
import { bytesOf, loadElement, storeRow } from '../../../runtime/wasm/assembly/storage.as';
import { Operand, PANEL, TILE } from '../../../runtime/cpu/params.generated.as';

/** Writes the result of a tile, in place of all that it has summed. */
export function exceptionalTile<H>(f: ForwardParams, place: i32, own: usize, scratch: usize): void {
  const state = stateOf(own);
  state.isDone = true;
  for (let r: i32 = 0; r < state.rows; r++) {
    if (changetype<H>(0).hasOwnWeights) hookOf<H>(own).exceptionalRow(f, place, r, own, scratch);
    else exceptionalRow<H>(f, place, r, own, scratch);
  }
}

function exceptionalRow<H>(f: ForwardParams, place: i32, r: i32, own: usize, scratch: usize): void {
  const hook = hookOf<H>(own);
  const p = f.problem;
  const q = p.q;
  const k = p.k;
  const v = p.v;
  const d = p.d;
  const e = p.e;
  const h = p.h;
  const batch = place / h;
  const head = place % h;
  const group = keyHeadOf(p, place) - batch * p.g;
  const tile = stateOf(own).tile;
  const i = queryIn(p, tile * TILE + r);
  if (i < 0) return;
  const query = rowAddress(q, batch, i, head);
  const at = (<usize>batch * <usize>p.n + <usize>i) * <usize>h + <usize>head;
  const row = scratch + LAYOUT;
  const sums = own + RESULT;
  memory.fill(sums, 0, <usize>e << 3);

  const runs = runsOf(p, place, tile);
  const pastRuns = p.runs + <usize>(i32.load(runs) + i32.load(runs, 4)) * SEGMENT_BYTES;
  let largest: f64 = -Infinity;
  let total: f64 = 0;
  let seesAny = false;
  for (let pass: i32 = 0; pass < hook.passes; pass++) {
    hook.beginPass(f, pass, at, sums, total, seesAny, row);
    for (let run = p.runs + <usize>i32.load(runs) * SEGMENT_BYTES; run < pastRuns; run += SEGMENT_BYTES) {
      const segment = changetype<Segment>(run);
      const pattern = patternAt(p, segment.pattern);
      for (let slot = segment.first * PANEL; slot < segment.past * PANEL; slot++) {
        if (!((i32.load(pattern + (<usize>(slot % PANEL) << 2)) >> r) & 1)) continue;
        const j = keyIn(p, slot);
        const key = rowAddress(k, batch, j, group);
        let score = p.scale * dot(q, query, k, key, d);
        if (hook.hasScores && p.program != 0) {
          f32.store(scratch + SINGLE + (r << 2), <f32>score);
          i32.store(scratch + KEYS, j);
          modify(p.program, own + MODIFIER, scratch + SINGLE, scratch + SINGLE, scratch + KEYS, 1);
          score = <f64>f32.load(scratch + SINGLE + (r << 2));
          // A modifier hides keys by -Infinity, and whatever their values are.
          if (score == -Infinity) continue;
        }
        if (pass == 0) {
          largest = max(largest, score);
          seesAny = true;
          continue;
        }
        let weight = exp(score - largest);
        if (pass == 1) total += weight;
        weight = hook.exactWeight(f, pass, weight, batch, i, head, key);
        let value = rowAddress(v, batch, j, group);
        for (let c: i32 = 0; c < e; c++, value += v.element * bytesOf(v.dtype)) {
          const sum = sums + (c << 3);
          f64.store(sum, f64.load(sum) + weight * <f64>loadElement(value, v.dtype));
        }
      }
    }
  }

  const dtype = f.out.dtype;
  divideSums(sums, seesAny ? total : 1, e, row);
  storeRow(row, f.out.address + at * <usize>e * bytesOf(dtype), dtype, e);
  f32.store(f.lse + (at << 2), seesAny ? <f32>(largest + log(total)) : -Infinity);
}

/** Float64 sums over their weights' total, as float32. */
export function divideSums(sums: usize, total: f64, e: i32, to: usize): void {
  for (let c: i32 = 0; c < e; c++) f32.store(to + (<usize>c << 2), <f32>(f64.load(sums + (<usize>c << 3)) / total));
}

export function dot(q: Operand, query: usize, k: Operand, key: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let c: i32 = 0; c < d; c++) {
    sum += <f64>loadElement(query, q.dtype) * <f64>loadElement(key, k.dtype);
    query += q.element * bytesOf(q.dtype);
    key += k.element * bytesOf(k.dtype);
  }
  return sum;
}
