/**
 * A tile of 24 rows of one head: its weights, what it sums over keys, and its systems.
 *
 * Numbers of pairs lie [keys][24 rows], vectors of rows [3 slices][columns, in panels][8 rows], so that all that is done row by
 * row is vertical, and each product takes what the one before gave: a vector of rows times panels of keys gives numbers of
 * pairs, and keys, six columns at a time, times these give a vector of rows.
 */
import { layOutTile, rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { log } from '../../runtime/wasm/assembly/scalar.as';
import { bytesOf, loadElement, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { exp2Clamped, storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { CHUNK_PANELS, Operand, PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';
import {
  COMMON, IMAGE, INVERSES, LAYOUT, LN2, LOG2E, MAXIMA, NO_MAXIMUM, ORDINARY_NORM, ORDINARY_SCORE, ORDINARY_VALUE, PANEL_ROWS,
  panelsOf, QUERIES, RIDGES, ROW, ROW_OUT, ROWS_OUT, SEEN, sliceBytes, STATE, Tile, vectorBytes,
} from './memory.as';
import { findCommon, panelsAt } from './pack.as';
import { Problem } from './params.generated.as';
import { scoreProduct } from './sums.as';

/**
 * Tile `index` of a head `place` among those of all batches: queries, ridges and the part of the keys that it sees. Returns
 * whether float32 does for it.
 */
export function openTile(p: Problem, place: i32, index: i32, slot: i32, scratch: usize): bool {
  const t = changetype<Tile>(scratch + STATE);
  const n = p.n;
  const m = p.m;
  const h = p.h;
  const d = p.d;
  const causal = p.causal;
  t.batch = place / h;
  t.head = place % h;
  t.group = t.batch * p.g + t.head / (h / p.g);
  t.first = index * TILE;
  t.rows = min(TILE, n - t.first);
  t.length = n;
  t.heads = h;
  const firstSees = causal ? max(0, min(m, t.first + m - n + 1)) : m;
  const lastSees = causal ? max(0, min(m, t.first + t.rows + m - n)) : m;
  t.panels = panelsOf(lastSees);
  t.fullPanels = firstSees / PANEL;
  t.weights = p.work + <usize>slot * p.slotBytes;
  t.matrix = t.weights + p.slotBytes - (p.direct ? matrixBytes(d) : 0);
  t.live = (1 << ((t.rows + SLICE - 1) / SLICE)) - 1;

  const norm = loadVector(p.q, d, 1, scratch + QUERIES, scratch);
  findCommon(p, t.batch, t.group % p.g, scratch + COMMON, scratch);
  const ridges = p.ridgeRows;
  const address = ridges.address;
  const ridge = <f32>p.ridge;
  for (let r: i32 = 0; r < TILE; r++) {
    let own = ridge;
    if (address && r < t.rows) own = loadElement(rowAddress(ridges, t.batch, t.first + r, t.head), ridges.dtype);
    f32.store(scratch + RIDGES + (r << 2), own);
  }
  const norms = largestOf(p, t.group, 0);
  const score = abs(p.scale) * LOG2E * sqrt(<f64>norm * <f64>norms);
  return norm <= ORDINARY_NORM && norms <= ORDINARY_NORM && score <= ORDINARY_SCORE && largestOf(p, t.group, 4) <= ORDINARY_VALUE;
}

export function matrixBytes(d: i32): usize {
  return sliceBytes(d) * <usize>((d + SLICE - 1) / SLICE);
}

/** The largest over a key/value head's chunks: of keys' squared norms at offset 0, of values' magnitudes at 4; NaN if there is one. */
export function largestOf(p: Problem, group: i32, offset: usize): f32 {
  const chunks = (panelsOf(p.m) + CHUNK_PANELS - 1) / CHUNK_PANELS;
  let largest: f32 = 0;
  for (let at: i32 = 0; at < chunks; at++) {
    largest = max(largest, f32.load(p.extremes + offset + (<usize>(group * chunks + at) << 3)));
  }
  return largest;
}

/** The rows of a tile of x [b, n, h, columns], times `factor`, as a vector; returns their largest squared norm. */
export function loadVector(x: Operand, columns: i32, factor: f32, to: usize, scratch: usize): f32 {
  const t = changetype<Tile>(scratch + STATE);
  const rows = t.first + t.rows;
  let largest: f32 = 0;
  for (let s: i32 = 0; s < TILE / SLICE; s++, to += sliceBytes(columns)) {
    memory.fill(to, 0, sliceBytes(columns));
    const first = t.first + s * SLICE;
    largest = max(largest, layOutTile(x, t.batch, t.head, 0, rows, columns, first, SLICE, factor, to, scratch + LAYOUT));
  }
  return largest;
}

/** A vector as rows of a contiguous tensor [b, n, h, columns], times a factor for each row. */
export function storeVector(from: usize, columns: i32, factors: usize, out: usize, dtype: i32, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const bytes = <usize>columns * bytesOf(dtype);
  const rows = scratch + ROWS_OUT;
  for (let r: i32 = 0; r < t.rows; r += 4) {
    const factor = v128.load(factors + (r << 2));
    let at = from + <usize>(r / SLICE) * sliceBytes(columns) + (<usize>(r & 4) << 2);
    for (let c: i32 = 0; c < columns; c += 4, at += 128) {
      storeTransposed(
        f32x4.mul(factor, v128.load(at)),
        f32x4.mul(factor, v128.load(at, 32)),
        f32x4.mul(factor, v128.load(at, 64)),
        f32x4.mul(factor, v128.load(at, 96)),
        rows + (<usize>c << 2),
        ROW_OUT,
      );
    }
    for (let x: i32 = 0; x < min(4, t.rows - r); x++) {
      storeRow(rows + <usize>x * ROW_OUT, out + rowIndex(t, r + x) * bytes, dtype, columns);
    }
  }
}

/** A number of each row to a tensor [b, n, h]. */
export function storeNumbers(from: usize, out: usize, dtype: i32, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  for (let r: i32 = 0; r < t.rows; r++) storeRow(from + (r << 2), out + rowIndex(t, r) * bytesOf(dtype), dtype, 1);
}

/** Where a row of a tile is in [b, n, h]. */
@inline
export function rowIndex(t: Tile, r: i32): usize {
  return (<usize>t.batch * <usize>t.length + <usize>(t.first + r)) * <usize>t.heads + <usize>t.head;
}

/** Which rows see the keys of a panel, as six words at SEEN; 0 where all of them do. */
function whoSees(p: Problem, t: Tile, panel: i32, scratch: usize): usize {
  if (panel < t.fullPanels) return 0;
  const m = p.m;
  const before = p.causal ? t.first + m - p.n : m;
  for (let x: i32 = 0; x < PANEL; x++) {
    const key = panel * PANEL + x;
    const skipped = max(0, key - before);
    i32.store(scratch + SEEN + (x << 2), key < m && skipped < TILE ? -1 << skipped : 0);
  }
  return scratch + SEEN;
}

/**
 * Weights of all keys that sum to 1, 0 for those not seen; at MAXIMA the largest scores, in powers of two, and at INVERSES the
 * largest weights, 0 for rows that see no key.
 */
export function weigh(p: Problem, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const d = p.d;
  const slices = (t.rows + SLICE - 1) / SLICE;
  const step = sliceBytes(d);
  scaleQueries(p, scratch);
  const panels = panelsAt(p.keyPanels, t.group, panelsOf(p.m), d);
  for (let at: usize = 0; at < ROW; at += 16) v128.store(scratch + MAXIMA + at, f32x4.splat(NO_MAXIMUM));
  let row = t.weights;
  for (let panel: i32 = 0; panel < t.panels; panel++, row += PANEL_ROWS) {
    const seen = whoSees(p, t, panel, scratch);
    const keys = panels + <usize>panel * <usize>(d * PANEL * 4);
    for (let s: i32 = 0; s < slices; s++) {
      const lane = <usize>s << 5;
      scoreProduct(keys, scratch + IMAGE + <usize>s * step, d, row + lane, scratch + MAXIMA + lane, seen, s * SLICE);
    }
  }
  for (let lane: usize = 0; lane < <usize>slices << 5; lane += 16) {
    const most = v128.load(scratch + MAXIMA + lane);
    const end = t.weights + <usize>t.panels * PANEL_ROWS;
    let sum = f32x4.splat(0);
    for (let at = t.weights + lane; at < end; at += ROW) {
      const weight = exp2Clamped(f32x4.sub(v128.load(at), most));
      v128.store(at, weight);
      sum = f32x4.add(sum, weight);
    }
    const inverse = v128.and(f32x4.div(f32x4.splat(1), sum), f32x4.gt(sum, f32x4.splat(0)));
    for (let at = t.weights + lane; at < end; at += ROW) v128.store(at, f32x4.mul(inverse, v128.load(at)));
    v128.store(scratch + INVERSES + lane, inverse);
  }
}

/** Log-sum-exps of the scores, to `to`. */
export function logSumExps(p: Problem, to: usize, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  for (let r: i32 = 0; r < t.rows; r++) {
    const row = scratch + (<usize>r << 2);
    const query = scratch + QUERIES + <usize>(r / SLICE) * sliceBytes(p.d) + (<usize>(r % SLICE) << 2);
    let common: f64 = 0;
    for (let c: usize = 0; c < <usize>p.d << 2; c += 4) common += <f64>f32.load(query + (c << 3)) * <f64>f32.load(scratch + COMMON + c);
    const inverse = f32.load(row, INVERSES);
    const lse = p.scale * common + <f64>f32.load(row, MAXIMA) * LN2 - log(<f64>inverse);
    f32.store(to + (<usize>r << 2), inverse > 0 ? <f32>lse : -Infinity);
  }
}

/** Queries times what makes their scores powers of two, at IMAGE. */
function scaleQueries(p: Problem, scratch: usize): void {
  const factor = f32x4.splat(<f32>(p.scale * LOG2E));
  const bytes = vectorBytes(p.d);
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(scratch + IMAGE + at, f32x4.mul(factor, v128.load(scratch + QUERIES + at)));
  }
}
