/** Keys and values of the forward pass, packed as the micro-kernel takes them. */
import { EXTREMES_BYTES, ForwardParams, Problem } from '../params.generated.as';
import { LAYOUT, PACKED } from './memory.as';
import { layOutPanels, layOutSlices, PANEL_SLICE_BYTES } from '../../../runtime/wasm/assembly/layout.as';
import { CHUNK_PANELS, PANEL, SLICE } from '../../../runtime/cpu/params.generated.as';

/**
 * Keys and values of one chunk of one batch: keys to panels [d][6 keys], values to panels' slices [6 keys][8 columns].
 * Each head's largest squared key norm and largest value magnitude become at least theirs, NaN if there is one.
 */
export function packKeysValues(params: usize, task: i32, scratch: usize): void {
  const f = changetype<ForwardParams>(params);
  const p = f.problem;
  const g = p.g;
  const m = p.m;
  const d = p.d;
  const e = p.e;
  const panels = p.panels;
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const batch = task / chunks;
  const chunk = task % chunks;
  const past = min((chunk + 1) * CHUNK_PANELS, panels);
  const panelBytes = <usize>(d * PANEL * 4);
  const valueBytes = <usize>slicesOf(p) * PANEL_SLICE_BYTES;
  const slice = sliceStep(f);
  const panel = panelStep(f);
  const order = p.keys;
  const k = p.k;
  const v = p.v;
  // Two panels of keys, then of values, through all heads: rows lie side by side, and so are a few ascending streams.
  for (let first = chunk * CHUNK_PANELS; first < past; first += 2) {
    const last = min(first + 2, past);
    for (let bg = batch * g; bg < (batch + 1) * g; bg++) {
      const to = f.packedKeys + <usize>(bg * panels) * panelBytes;
      const norm = layOutPanels(k, batch, bg % g, order, m, d, first, last, to, scratch);
      atomicMax(f.extremes + <usize>(bg * EXTREMES_BYTES), norm);
    }
    for (let bg = batch * g; bg < (batch + 1) * g; bg++) {
      const to = f.packedValues + <usize>(bg * panels) * valueBytes;
      const value = layOutSlices(v, batch, bg % g, order, m, e, first, last, to, slice, panel, scratch);
      atomicMax(f.extremes + <usize>(bg * EXTREMES_BYTES) + 4, value);
    }
  }
}

/** The same for one key/value head, into working memory. */
export function packHead(f: ForwardParams, bg: i32, scratch: usize): void {
  const p = f.problem;
  const g = p.g;
  const m = p.m;
  const panels = p.panels;
  const order = p.keys;
  const layout = scratch + LAYOUT;
  const keys = scratch + PACKED;
  const values = valuesBehind(p, keys);
  const norm = layOutPanels(p.k, bg / g, bg % g, order, m, p.d, 0, panels, keys, layout);
  const slice = sliceStep(f);
  const value = layOutSlices(p.v, bg / g, bg % g, order, m, p.e, 0, panels, values, slice, PANEL_SLICE_BYTES, layout);
  const extremes = f.extremes + <usize>(bg * EXTREMES_BYTES);
  f32.store(extremes, norm);
  f32.store(extremes, value, 4);
}

/** A magnitude that threads share becomes at least `value`. As integers magnitudes order alike, and NaN is the largest. */
function atomicMax(magnitude: usize, value: f32): void {
  const wanted = reinterpret<i32>(value) & 0x7fffffff;
  for (let known = atomic.load<i32>(magnitude); known < wanted; ) {
    const found = atomic.cmpxchg<i32>(magnitude, known, wanted);
    if (found == known) return;
    known = found;
  }
}

/** Bytes from a slice to the next. */
@inline
export function sliceStep(f: ForwardParams): usize {
  return f.byPanels ? PANEL_SLICE_BYTES : <usize>f.problem.panels * PANEL_SLICE_BYTES;
}

/** Bytes from a panel to the next. */
@inline
export function panelStep(f: ForwardParams): usize {
  return f.byPanels ? <usize>slicesOf(f.problem) * PANEL_SLICE_BYTES : PANEL_SLICE_BYTES;
}

/** The key/value head, through all batches, of a query head. */
@inline
export function keyHeadOf(p: Problem, place: i32): i32 {
  return <i32>((<i64>place * <i64>p.g) / <i64>p.h);
}

@inline
export function slicesOf(p: Problem): i32 {
  return (p.e + SLICE - 1) / SLICE;
}

@inline
export function packedKeysOf(f: ForwardParams, place: i32, scratch: usize): usize {
  const p = f.problem;
  if (f.packedKeys == 0) return scratch + PACKED;
  const panels = keyHeadOf(p, place) * p.panels;
  return f.packedKeys + <usize>panels * <usize>(p.d * PANEL * 4);
}

@inline
export function packedValuesOf(f: ForwardParams, place: i32, scratch: usize): usize {
  const p = f.problem;
  if (f.packedKeys == 0) return valuesBehind(p, scratch + PACKED);
  const panels = keyHeadOf(p, place) * p.panels;
  return f.packedValues + <usize>panels * <usize>slicesOf(p) * PANEL_SLICE_BYTES;
}

/** Where the values of a head begin whose packed keys lie at `keys`. */
@inline
function valuesBehind(p: Problem, keys: usize): usize {
  return (keys + <usize>(p.panels * p.d * PANEL * 4) + 63) & ~63;
}
