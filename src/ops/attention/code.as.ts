/** Calls of machine code from within a kernel. */

@external("env", "native")
declare function native(code: f64, params: usize, scratch: usize): void;

/** Machine code on a block, whose params (BlockParams) are written at `at`. */
export function callCode(
  code: f64,
  at: usize,
  count: i32,
  d: i32,
  slices: i32,
  groups: i32,
  rows: usize,
  panelBytes: usize,
  sliceBytes: usize,
  queries: usize,
  scores: usize,
  block: usize,
  stretches: usize,
  result: usize,
  scratch: usize,
): void {
  f64.store(at, count, 0);
  f64.store(at, d, 8);
  f64.store(at, slices, 16);
  f64.store(at, groups, 24);
  f64.store(at, <f64>rows, 32);
  f64.store(at, <f64>panelBytes, 40);
  f64.store(at, <f64>sliceBytes, 48);
  f64.store(at, <f64>queries, 56);
  f64.store(at, <f64>scores, 64);
  f64.store(at, <f64>block, 72);
  f64.store(at, <f64>stretches, 80);
  f64.store(at, <f64>result, 88);
  native(code, at, scratch);
}
