/** What the peers' training steps share: the decoder's tokens, angles and sums of rows. */

/** Of tokens [steps, b, n + 1]: the inputs [b n] of a step and, one further, its targets. */
export function batchOf(tokens, [steps, b, along], step) {
  const [inputs, targets] = [0, 1].map((from) => {
    const numbers = new Int32Array(b * (along - 1));
    for (let row = 0; row < b; row++) {
      const start = ((step % steps) * b + row) * along + from;
      numbers.set(tokens.subarray(start, start + along - 1), row * (along - 1));
    }
    return numbers;
  });
  return { inputs, targets };
}

/** Cosines and sines [n, d] of rotary positions, in which feature j turns with j + d / 2. */
export function rotation(n, d, theta) {
  const angle = (at) => Math.floor(at / d) * theta ** ((-2 * (at % (d / 2))) / d);
  return [Math.cos, Math.sin].map((of) => Float32Array.from({ length: n * d }, (_, at) => of(angle(at))));
}

/** Adds row i of `rows`, `width` wide, to row `indices[i]` of `sums`. */
export function addRows(sums, rows, indices, width) {
  for (let i = 0; i < indices.length; i++) {
    const [from, to] = [i * width, indices[i] * width];
    for (let c = 0; c < width; c++) sums[to + c] += rows[from + c];
  }
}

/** Answers of a peer whose `step(batch)` resolves to the loss before its update. */
export function answersOf(step, tokens, shape) {
  const losses = [];
  const run = async () => {
    losses.push(await step(batchOf(tokens, shape, losses.length)));
  };
  return {
    run,
    async result() {
      while (losses.length < shape[0]) await run();
      return Float32Array.from(losses.slice(0, shape[0]));
    },
  };
}
