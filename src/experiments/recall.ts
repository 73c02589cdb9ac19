/** Pairs of random keys and values of length 1 that are written to a memory, and how many of them come back. */
import { nearestRow, rowOf } from './vectors';

/** The dimension of keys and values. */
export const DIMENSION = 32;
/** Log decay of every token, and factor on the scores of attention. */
export const LOG_DECAY = -0.002;
export const SHARPNESS = 20;
export const PAIRS = [32, 64, 128, 256, 512];
/** The share of these pairs that the gated delta rule recalls, as another program counted it. */
export const COUNTED = [0.78, 0.44, 0.13, 0.1, 0.05];

/**
 * The share of the questions whose answer is, of all values of its sequence, nearest to that of the pair asked for. Sequence
 * by sequence, `values` has those of the pairs, `asked` the pairs, and `out` ends with the answers.
 */
export function shareRecalled(out: Float32Array, values: Float32Array, asked: readonly (readonly number[])[]): number {
  let [right, total] = [0, 0];
  asked.forEach((pairs, sequence) => {
    const own = rowOf(values, sequence, values.length / asked.length);
    const tokens = rowOf(out, sequence, out.length / asked.length);
    const answers = tokens.subarray(tokens.length - pairs.length * DIMENSION);
    pairs.forEach((pair, question) => {
      if (nearestRow(rowOf(answers, question, DIMENSION), own) === pair) right++;
      total++;
    });
  });
  return right / total;
}
