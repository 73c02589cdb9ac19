/** Whether query i sees key j: within `left` keys before it and `right` after it, -1 for unbounded. */
export function sees(i, j, { left, right }) {
  return (left === -1 || j >= i - left) && (right === -1 || j <= i + right);
}

export function isFull({ left, right }) {
  return left === -1 && right === -1;
}

export function isCausal({ left, right }) {
  return left === -1 && right === 0;
}

/**
 * How many heads have masks of their own. `offsets` [heads * n + 1], if there are any, say which of the runs of keys
 * `runs` [...][first, past] each query of each head sees; without them the mask is a band.
 */
export function headsOfMask({ offsets, n }) {
  return offsets ? (offsets.length - 1) / n : 1;
}

/** [heads, n, n], a typed array: `seen` where the query sees the key, else `hidden`. */
export function denseMask(problem, Numbers, seen, hidden) {
  const { n, offsets, runs } = problem;
  const heads = headsOfMask(problem);
  const mask = new Numbers(heads * n * n).fill(hidden);
  if (!offsets) {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) if (sees(i, j, problem)) mask[i * n + j] = seen;
    }
    return mask;
  }
  for (let row = 0; row < heads * n; row++) {
    for (let at = offsets[row]; at < offsets[row + 1]; at++)
      mask.fill(seen, row * n + runs[2 * at], row * n + runs[2 * at + 1]);
  }
  return mask;
}

/** float32 to be added to the scores: 0 where the key is seen, else -Infinity. */
export const additiveMask = (problem) => denseMask(problem, Float32Array, 0, -Infinity);
