/** Keys, less what they have in common, and values in the layouts that products take. */
import { layOutPanels, layOutSlices, PANEL_SLICE_BYTES, rowAddress, rowBytes } from '../../runtime/wasm/assembly/layout.as';
import { loadRow } from '../../runtime/wasm/assembly/storage.as';
import { largestLane } from '../../runtime/wasm/assembly/vector.as';
import { CHUNK_PANELS, F32, Operand, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { columnPanels, COMMON, LAYOUT, OPERAND, PANEL_ROW, panelsOf, QUERIES, ROW_OUT, ROWS_OUT, SAMPLES } from './memory.as';
import { Problem } from './params.generated.as';

/** In the place of what tiles keep, while keys are packed. */
const CHUNK_ROWS: usize = QUERIES;

/**
 * Keys, less what they have in common, and values of one chunk of one key/value head in the layouts that are wanted, and the
 * extremes of the chunk.
 */
export function packKeysValues(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const m = p.m;
  const panels = panelsOf(m);
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const group = task / chunks;
  const batch = group / p.g;
  const head = group % p.g;
  const first = (task % chunks) * CHUNK_PANELS;
  const past = min(first + CHUNK_PANELS, panels);
  const v = p.v;
  const d = p.d;
  const e = p.e;
  const layout = scratch + LAYOUT;
  const count = past - first;
  const row = <usize>(first * PANEL);
  const rows = min(m, past * PANEL) - first * PANEL;
  const k = distances(p, batch, head, first * PANEL, rows, scratch);
  const norm = layOutPanels(k, 0, 0, 0, rows, d, 0, count, panelsAt(p.keyPanels, group, panels, d) + row * (<usize>d << 2), layout);
  layOutColumnPanels(k, 0, 0, rows, d, 0, count, columnPanelsAt(p.keyColumnPanels, group, panels, d) + row * PANEL_ROW, panels, scratch);
  let value: f32 = 0;
  if (p.valueColumnPanels) value = layOutColumnPanels(v, batch, head, m, e, first, past, columnPanelsAt(p.valueColumnPanels, group, panels, e), panels, scratch);
  if (p.valuePanels) layOutPanels(v, batch, head, 0, m, e, first, past, panelsAt(p.valuePanels, group, panels, e), layout);
  if (p.keySlices) {
    const bytes = <usize>panels * PANEL_SLICE_BYTES;
    const to = p.keySlices + <usize>(group * ((d + SLICE - 1) / SLICE)) * bytes + (row << 5);
    layOutSlices(k, 0, 0, 0, rows, d, 0, count, to, bytes, PANEL_SLICE_BYTES, layout);
  }
  f32.store(p.extremes + (<usize>task << 3), norm);
  f32.store(p.extremes + (<usize>task << 3), value, 4);
}

/** Some rows of keys less what they have in common, as an operand of one head: a copy only if that is anything. */
function distances(p: Problem, batch: i32, head: i32, first: i32, rows: i32, scratch: usize): Operand {
  const k = p.k;
  const common = scratch + COMMON;
  const row0 = rowAddress(k, batch, first, head);
  if (!findCommon(p, batch, head, common, scratch)) return operandAt(row0, k.dtype, k.row, k.element, scratch);
  const d = p.d;
  const bytes = <usize>d << 2;
  const step = rowBytes(k);
  const stride = k.element;
  const dtype = k.dtype;
  let to = scratch + CHUNK_ROWS;
  for (let row: i32 = 0; row < rows; row++, to += bytes) {
    const at = loadRow(row0 + <usize>row * step, stride, dtype, d, to);
    for (let c: usize = 0; c < bytes; c += 4) f32.store(to + c, f32.load(at + c) - f32.load(common + c));
  }
  return operandAt(scratch + CHUNK_ROWS, F32, d, 1, scratch);
}

function operandAt(address: usize, dtype: i32, row: usize, element: usize, scratch: usize): Operand {
  const operand = scratch + OPERAND;
  memory.fill(operand, 0, Operand.BYTES);
  f64.store(operand, <f64>address);
  f64.store(operand, <f64>dtype, 8);
  f64.store(operand, <f64>row, 24);
  f64.store(operand, <f64>element, 40);
  return changetype<Operand>(operand);
}

/**
 * What the keys of a head have in common: of some of them, by columns, the number nearest to 0 if all have one sign, else 0.
 * Means, distances from these and, but for a constant of each row, scores are those of keys less any vector; without what is
 * common their rounding follows the keys' spread. Keys that spread about 0 stay as they are. Returns whether there is anything.
 */
export function findCommon(p: Problem, batch: i32, head: i32, to: usize, scratch: usize): bool {
  const k = p.k;
  const d = p.d;
  const bytes = <usize>d << 2;
  const least = scratch + ROWS_OUT;
  const most = least + ROW_OUT;
  for (let x: i32 = 0; x < SAMPLES; x++) {
    const row = rowAddress(k, batch, <i32>((<i64>x * <i64>(p.m - 1)) / (SAMPLES - 1)), head);
    const at = loadRow(row, k.element, k.dtype, d, to);
    if (x == 0) {
      memory.copy(least, at, bytes);
      memory.copy(most, at, bytes);
    }
    let c: usize = 0;
    for (; c + 16 <= bytes; c += 16) {
      v128.store(least + c, f32x4.min(v128.load(at + c), v128.load(least + c)));
      v128.store(most + c, f32x4.max(v128.load(at + c), v128.load(most + c)));
    }
    for (; c < bytes; c += 4) {
      f32.store(least + c, min(f32.load(at + c), f32.load(least + c)));
      f32.store(most + c, max(f32.load(at + c), f32.load(most + c)));
    }
  }
  let isAny = false;
  for (let c: usize = 0; c < bytes; c += 4) {
    const common = max<f32>(0, f32.load(least + c)) + min<f32>(0, f32.load(most + c));
    f32.store(to + c, common);
    if (common != 0) isAny = true;
  }
  return isAny;
}

/** Where the panels of a head begin. */
@inline
export function panelsAt(base: usize, head: i32, panels: i32, columns: i32): usize {
  return base + <usize>(head * panels) * <usize>(columns * PANEL * 4);
}

/** Where the column panels of a head begin. */
@inline
export function columnPanelsAt(base: usize, head: i32, panels: i32, columns: i32): usize {
  return base + <usize>(head * panels) * (<usize>(columnPanels(columns) * PANEL) * PANEL_ROW);
}

/**
 * The rows of one head in the panels `first` to `past` as [column panels][rows][6] at `to`, padded with zeros. Returns
 * the largest magnitude, NaN if there is one.
 */
export function layOutColumnPanels(
  x: Operand,
  batch: i32,
  head: i32,
  rows: i32,
  columns: i32,
  first: i32,
  past: i32,
  to: usize,
  panels: i32,
  scratch: usize,
): f32 {
  const panelBytes = <usize>(panels * PANEL) * PANEL_ROW;
  const row0 = rowAddress(x, batch, 0, head);
  const step = rowBytes(x);
  const stride = x.element;
  const dtype = x.dtype;
  const buffer = scratch + ROWS_OUT;
  let largest = f32x4.splat(0);
  memory.fill(buffer, 0, ROW_OUT);
  for (let row = first * PANEL; row < past * PANEL; row++) {
    if (row < rows) {
      const at = loadRow(row0 + <usize>row * step, stride, dtype, columns, buffer);
      if (at != buffer) memory.copy(buffer, at, <usize>columns << 2);
    } else memory.fill(buffer, 0, <usize>columns << 2);
    let group = to + <usize>row * PANEL_ROW;
    for (let c: usize = 0; c < <usize>columns << 2; c += PANEL_ROW, group += panelBytes) {
      const left = v128.load(buffer + c);
      const right = v128.load64_zero(buffer + c, 16);
      v128.store(group, left);
      v128.store64_lane(group, right, 0, 16);
      largest = f32x4.max(largest, f32x4.max(f32x4.abs(left), f32x4.abs(right)));
    }
  }
  return largestLane(largest);
}
