/**
 * Gradients of Parallax, whose weights are w = p (1 + level - r . key), with level the mean of r . key under p: the values'
 * gradient is from w; with a = gradOut . value and b its mean under p, the scores' is p (b - gradOut . out) + w (a - b), and
 * that of the products with r is p (b - a). Eight products a pair.
 */
import { addToKeys, addToQueries, multiplyBlock } from '../attention/backward/block.as';
import { storeSums } from '../attention/backward/backward.as';
import {
  BACKWARD_BYTES as END, BLOCK_PANELS, GRADIENT_ROWS, GRADIENTS, LSES, PAIR, PANEL_ROWS, Part, QUERIES, QUERY_ROWS,
  ROW, slicesOf, SUMS, WEIGHTS,
} from '../attention/backward/memory.as';
import { layOutPair, timesGradient } from '../attention/backward/pair.as';
import { BackwardParams } from '../attention/params.generated.as';
import { Backward } from './params.generated.as';
import { STORE_EXP_LESS, STORE_TILTED, TILT_GRADIENTS } from '../../runtime/wasm/assembly/product.as';
import { LARGEST_HEAD, SLICE } from '../../runtime/cpu/params.generated.as';

// Behind attention's memory: r twice as the queries, its gradient's sums, and the tilted weights.
const COLUMNS_BYTES: usize = <usize>(PAIR * LARGEST_HEAD * 4);
const PROBES: usize = END; // [6 slices][d][8]
const PROBE_ROWS: usize = PROBES + COLUMNS_BYTES; // [slices of d][48][8]
const PROBE_SUMS: usize = PROBE_ROWS + COLUMNS_BYTES; // [slices of d][48][8]
const TILTED: usize = PROBE_SUMS + COLUMNS_BYTES; // [168 keys][48], then the gradients of r's products
const LEVELS: usize = TILTED + <usize>BLOCK_PANELS * PANEL_ROWS; // [48]: 1 + level
const MEANS: usize = LEVELS + ROW; // [48]: b, then what TILT_GRADIENTS takes: scale (b - gradOut . out), and scale
export const BACKWARD_BYTES: usize = MEANS + 3 * ROW;

@inline
export function own(f: BackwardParams): Backward {
  return changetype<Backward>(changetype<usize>(f) + BackwardParams.BYTES);
}

/** attention/backward/hook.as.ts says what its methods are for. */
@unmanaged
export class BackwardTilt {
  @inline get hasScores(): bool { return false; }
  @inline together(f: BackwardParams): i32 { return 1; }
  @inline factor(f: BackwardParams): f32 { return 1; }

  startPair(d: i32): void {
    memory.fill(changetype<usize>(this) + PROBE_SUMS - END, 0, <usize>(slicesOf(d) * SLICE) * ROW);
  }

  openPair(f: BackwardParams, t: Part, tiles: i32, scratch: usize): void {
    layOutPair(f.problem, t, tiles, own(f).r, f.problem.d, 1, scratch + PROBES, scratch + PROBE_ROWS, scratch);
  }

  openRow(f: BackwardParams, t: Part, row: usize, query: i32, at: usize, delta: f32, scratch: usize): void {
    const scale = <f32>f.problem.scale;
    const level: f32 = query < 0 ? 0 : f32.load(own(f).level + (at << 2));
    const mean: f32 = query < 0 ? 0 : timesGradient(f, own(f).mean, t, query, scratch);
    f32.store(scratch + row, 1 + level, LEVELS);
    f32.store(scratch + row, mean, MEANS);
    f32.store(scratch + row, scale * (mean - delta), MEANS + ROW);
    f32.store(scratch + row, scale, MEANS + 2 * ROW);
  }

  addBlock(f: BackwardParams, t: Part, segments: i32, scratch: usize): void {
    const p = f.problem;
    const d = p.d;
    const e = p.e;
    multiplyBlock(p, t.keyPanels, d, segments, QUERIES, WEIGHTS, STORE_EXP_LESS, LSES, WEIGHTS, scratch);
    multiplyBlock(p, t.keyPanels, d, segments, PROBES, TILTED, STORE_TILTED, LEVELS, WEIGHTS, scratch);
    addToKeys(t, t.sumsV, e, segments, TILTED, GRADIENT_ROWS, scratch);
    multiplyBlock(p, t.valuePanels, e, segments, GRADIENTS, WEIGHTS, TILT_GRADIENTS, MEANS, TILTED, scratch);
    addToKeys(t, t.sumsK, d, segments, WEIGHTS, QUERY_ROWS, scratch);
    addToKeys(t, t.sumsK, d, segments, TILTED, PROBE_ROWS, scratch);
    addToQueries(p, t, segments, WEIGHTS, SUMS, scratch);
    addToQueries(p, t, segments, TILTED, PROBE_SUMS, scratch);
  }

  storePair(f: BackwardParams, place: usize, rows: i32, scratch: usize): void {
    storeSums(f.problem.d, rows, scratch + PROBE_SUMS, own(f).sumsR + place, scratch);
  }
}
