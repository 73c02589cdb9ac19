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

/** [n, n] float32 to be added to the scores: 0 where the key is seen, else -Infinity. */
export function additiveMask(problem) {
  const { n } = problem;
  const mask = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) if (!sees(i, j, problem)) mask[i * n + j] = -Infinity;
  }
  return mask;
}
