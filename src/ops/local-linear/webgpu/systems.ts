/** The systems of rows on a GPU: solved by conjugate gradients, a lane a row, or by Cholesky factors, a workgroup a row. */
import { LARGEST_HEAD } from '../../../runtime/cpu/params';
import { type Kernel, variants } from '../../../runtime/webgpu/kernel';
import { LANES } from '../../../runtime/webgpu/kernels/product';
import { NEXT, READ, tileKernel, UPDATE, WRITE } from './tile';

const VECTORS = { means: READ, right: UPDATE, solution: UPDATE, direction: UPDATE } as const;

/**
 * Systems begin: forward from the mean of the keys less the query, backward from sums with keys from their mean. Right-hand sides
 * are divided by their largest number, since squares of small ones would be lost, and for conjugate gradients systems by
 * ridges above 1, so that nothing overflows.
 */
export const startKernel = variants(
  (isForward: boolean): Kernel =>
    tileKernel({
      name: `systems ${isForward ? 'forward' : 'backward'}`,
      of: 'tile',
      parts: ['ridges'],
      rows: { ...(isForward && { q: 'elements' }) },
      operands: { ...VECTORS, state: UPDATE, live: WRITE, ...(isForward && { common: READ, lse: WRITE }) },
      numbers: { direct: 'u32', ...(isForward && { scale: 'f32' }) },
      needs: ['not_a_number'],
      declares: 'var<workgroup> left: atomic<u32>;',
      run: `
  var largest = 0.0;
  ${isForward ? 'var score = 0.0;' : ''}
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    ${
      isForward
        ? `let part = load_common(tile.group * numbers.d + c);
    let query = element_q(tile.batch, i, i < numbers.n, tile.head, c);
    let right = load_means(at) - (query - part);
    score = fma(query, part, score);`
        : 'let right = fma(-load_state(total_at(row)), load_means(at), load_right(at));'
    }
    store_right(at, right);
    largest = max(largest, abs(right));
  }
  if (largest == 0.0) { largest = 1.0; }
  var norm = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let right = load_right(at) / largest;
    store_right(at, right);
    store_solution(at, 0.0);
    store_direction(at, right);
    norm = fma(right, right, norm);
  }
  // Some GPUs take inverses of larger numbers, which are not normal, for 0.
  let shrink = select(1.0 / clamp(ridge_of(tile, i), 1.0, 8.5e37), 1.0, numbers.direct != 0);
  let goes_on = seen_by(i) > 0 && norm > 0.0;
  store_state(norm_at(row), norm);
  store_state(first_norm_at(row), norm);
  store_state(active_at(row), f32(goes_on));
  store_state(iterations_at(row), 0.0);
  store_state(shrink_at(row), shrink);
  store_state(scale_at(row), largest * shrink);
  ${
    isForward
      ? `if (i < numbers.n) {
    let lse = load_state(lse_at(row));
    let of_sums = select(not_a_number(), fma(numbers.scale, score, lse), is_number(lse));
    store_lse((tile.batch * numbers.n + i) * numbers.h + tile.head, select(of_sums, -numbers.infinity, seen_by(i) == 0));
  }`
      : ''
  }
  ${NEXT}`,
    }),
);

/** One step of conjugate gradients, from the weighted sums of the keys' products with the direction and what these add up to. */
export const stepKernel = tileKernel({
  name: 'conjugate gradients',
  of: 'tile',
  skips: true,
  parts: ['ridges'],
  operands: { ...VECTORS, image: UPDATE, state: UPDATE, live: UPDATE },
  numbers: { tolerance: 'f32' },
  declares: 'var<workgroup> left: atomic<u32>;',
  run: `
  let shrink = load_state(shrink_at(row));
  let ridge = shrink * ridge_of(tile, i);
  let total = load_state(total_at(row));
  var curvature = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let direction = load_direction(at);
    let image = fma(ridge, direction, shrink * fma(-total, load_means(at), load_image(at)));
    store_image(at, image);
    curvature = fma(direction, image, curvature);
  }
  let before = load_state(norm_at(row));
  // Where rounding leaves no curvature there is no way on.
  let is_active = load_state(active_at(row)) > 0.0 && curvature > 0.0;
  let alpha = before / curvature;
  var norm = before;
  if (is_active) {
    norm = 0.0;
    for (var c = 0u; c < numbers.d; c++) {
      let at = vector_of(tile, numbers.d, c) + lane;
      let direction = load_direction(at);
      store_solution(at, fma(alpha, direction, load_solution(at)));
      let rest = load_right(at) - alpha * load_image(at);
      store_right(at, rest);
      norm = fma(rest, rest, norm);
    }
    store_state(norm_at(row), norm);
    store_state(iterations_at(row), load_state(iterations_at(row)) + 1.0);
  }
  let goes_on = is_active && norm > numbers.tolerance * numbers.tolerance * load_state(first_norm_at(row));
  store_state(active_at(row), f32(goes_on));
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    store_direction(at, select(0.0, fma(norm / before, load_direction(at), load_right(at)), goes_on));
  }
  ${NEXT}`,
});

/** The lower half of the keys' covariance and the ridge, its Cholesky factor in its place, and the solution. */
export const directKernel = tileKernel({
  name: 'Cholesky factors',
  of: 'row',
  parts: ['ridges'],
  rows: { k: 'elements' },
  operands: { weights: READ, means: READ, right: READ, matrix: UPDATE, solution: UPDATE, state: UPDATE },
  declares: `
var<workgroup> x: array<f32, ${LARGEST_HEAD}>;
var<workgroup> diagonal: array<f32, ${LARGEST_HEAD}>;
var<workgroup> is_active: f32;
var<workgroup> pivot: f32;
fn barrier() { storageBarrier(); workgroupBarrier(); }`,
  run: `
  if (lane == 0) { is_active = load_state(active_at(task)); }
  if (workgroupUniformLoad(&is_active) == 0.0) { return; }
  let d = numbers.d;
  let entry = task * (d * (d + 1) / 2);
  let ridge = ridge_of(tile, i);
  let seen = seen_by(i);
  for (var a = lane / 16; a < d; a += ${LANES / 16}) {
    let mean = load_means(vector_of(tile, d, a) + own);
    for (var c = lane % 16; c <= a; c += 16) {
      let other = load_means(vector_of(tile, d, c) + own);
      var sum = 0.0;
      for (var key = 0u; key < seen; key++) {
        let w = load_weights(pair_of(tile, own, key));
        // A weight of 0 takes nothing, not even what is no number.
        if (w == 0.0) { continue; }
        let left = element_k(tile.batch, key, true, tile.head, a) - mean;
        sum = fma(w * left, element_k(tile.batch, key, true, tile.head, c) - other, sum);
      }
      if (a == c) {
        sum += ridge;
        diagonal[a] = sum;
      }
      store_matrix(entry + a * (a + 1) / 2 + c, sum);
    }
  }
  for (var c = lane; c < d; c += ${LANES}) { x[c] = load_right(vector_of(tile, d, c) + own); }
  barrier();
  for (var c = 0u; c < d; c++) {
    if (lane == 0) {
      let found = load_matrix(entry + c * (c + 1) / 2 + c);
      pivot = select(0.0, sqrt(found), found > f32(d) * 1.1920929e-7 * diagonal[c]);
    }
    let root = workgroupUniformLoad(&pivot);
    // A pivot that rounding may have made.
    if (root == 0.0) {
      if (lane == 0) { store_state(norm_at(task), numbers.infinity); }
      return;
    }
    for (var a = c + lane; a < d; a += ${LANES}) {
      let at = entry + a * (a + 1) / 2 + c;
      store_matrix(at, select(load_matrix(at) / root, root, a == c));
    }
    barrier();
    for (var a = c + 1 + lane / 16; a < d; a += ${LANES / 16}) {
      let row = entry + a * (a + 1) / 2;
      let factor = load_matrix(row + c);
      for (var b = c + 1 + lane % 16; b <= a; b += 16) {
        store_matrix(row + b, fma(-factor, load_matrix(entry + b * (b + 1) / 2 + c), load_matrix(row + b)));
      }
    }
    if (lane == 0) { x[c] /= root; }
    barrier();
    let value = x[c];
    for (var a = c + 1 + lane; a < d; a += ${LANES}) { x[a] = fma(-value, load_matrix(entry + a * (a + 1) / 2 + c), x[a]); }
  }
  for (var past = d; past > 0; past--) {
    let c = past - 1;
    let row = entry + c * (c + 1) / 2;
    workgroupBarrier();
    if (lane == 0) { x[c] /= load_matrix(row + c); }
    workgroupBarrier();
    let value = x[c];
    for (var b = lane; b < c; b += ${LANES}) { x[b] = fma(-value, load_matrix(row + b), x[b]); }
  }
  workgroupBarrier();
  for (var c = lane; c < d; c += ${LANES}) { store_solution(vector_of(tile, d, c) + own, x[c]); }
  if (lane == 0) { store_state(norm_at(task), 0.0); }`,
});

/** What a row's system came to. */
export const solutionKernel = tileKernel({
  name: 'solutions',
  of: 'tile',
  parts: ['residual'],
  operands: { vector: UPDATE, state: READ, live: WRITE, solution: WRITE, residual: WRITE, iterations: WRITE },
  needs: ['not_a_number'],
  run: `
  let to = (tile.batch * numbers.n + i) * numbers.h + tile.head;
  let is_solvable = is_number(load_state(first_norm_at(row)));
  let scale = load_state(scale_at(row));
  var size = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let x = scale * load_vector(at);
    store_vector(at, x);
    size = fma(x, x, size);
    if (i < numbers.n) { store_solution(to * numbers.d + c, select(not_a_number(), x, is_solvable)); }
  }
  if (lane == 0) { store_live(tile.at, 1.0); }
  if (i < numbers.n) {
    store_residual(to, residual_of(tile, row, size));
    store_iterations(to, load_state(iterations_at(row)));
  }`,
});

/** After the second system: what the gradients need of each row, and the gradient with respect to its ridge. */
export const secondKernel = tileKernel({
  name: 'second solutions',
  of: 'tile',
  parts: ['ridges', 'residual'],
  operands: { vector: UPDATE, first: READ, state: UPDATE, by_ridge: WRITE, residual: WRITE },
  numbers: { counts: 'f32' },
  run: `
  let to = (tile.batch * numbers.n + i) * numbers.h + tile.head;
  let scale = load_state(scale_at(row));
  var by_ridge = 0.0;
  var size = 0.0;
  for (var c = 0u; c < numbers.d; c++) {
    let at = vector_of(tile, numbers.d, c) + lane;
    let u = scale * load_vector(at);
    store_vector(at, u);
    by_ridge = fma(u, load_first(at), by_ridge);
    size = fma(u, u, size);
  }
  let of_ridge = ridge_of(tile, i) * by_ridge;
  store_state(constant_at(row), numbers.counts * of_ridge);
  // Without what the ridge takes, the scores' gradients add up to this, with it to 0.
  store_state(sum_at(row), (numbers.counts - 1.0) * of_ridge);
  if (i < numbers.n) {
    store_by_ridge(to, by_ridge);
    store_residual(to, residual_of(tile, row, size));
  }`,
});
