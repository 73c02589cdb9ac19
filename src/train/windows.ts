/** Batches of tokens for models that predict each token from those before it. */
import { checkOptions, checkWhole, int32Of } from '../check';
import { ParameterError } from '../errors';
import { randomPermutation } from '../masks';
import type { HostTensor } from '../tensor/host';
import { uniformGenerator } from '../tensor/random';
import { checkNumber } from './optimizer';

export interface WindowsOptions {
  /** Tokens that a model sees at once, n. */
  readonly length: number;
  /** Windows of a batch, b. */
  readonly batch: number;
  /** The seed of the order; default 0. */
  readonly seed?: number | undefined;
  /** The validation share at the end, from 0 to below 1; default 0.1. */
  readonly validation?: number | undefined;
}

/** Batches for training and for validation. */
export interface Windows {
  /**
   * The batch of a number, from 0, [b, n + 1] i32: inputs are the first n of each row, targets the last n. Each pass over the
   * tokens has its own order and its own first token, which follow from the seed.
   */
  batches(index: number): HostTensor<'i32'>;
  /** The number of batches in the validation share, which is the end of the text in its order. */
  readonly validation: { readonly count: number; batches(index: number): HostTensor<'i32'> };
}

/**
 * Windows of n + 1 tokens that follow one another, shuffled.
 *
 * @throws {ParameterError} fewer tokens than a batch, or a share for validation of less than one window
 */
export function windows(tokens: ArrayLike<number>, options: WindowsOptions): Windows {
  checkOptions('windows', options, ['length', 'batch', 'seed', 'validation']);
  const { length, batch, seed = 0, validation = 0.1 } = options;
  const all = int32Of('tokens', tokens);
  checkWhole('length', length, 1);
  checkWhole('batch', batch, 1);
  checkWhole('seed', seed, 0, 2 ** 31);
  checkNumber('validation', validation, 0, 1);
  const learned = all.subarray(0, all.length - Math.floor(validation * all.length));
  const rest = all.subarray(learned.length);
  // Those of any pass, wherever it begins.
  const count = Math.floor((learned.length - length) / length);
  if (count < batch)
    throw new ParameterError(
      `tokens must be at least ${Math.ceil(((batch + 1) * length) / (1 - validation))} for a batch of ${batch} windows of ${length}, got ${all.length}`,
    );
  const kept = Math.floor((rest.length - 1) / length);
  if (validation > 0 && kept < 1)
    throw new ParameterError(
      `the share for validation must be of at least ${length + 1} tokens, got ${rest.length}: take a larger share or shorter windows`,
    );
  let pass: ReturnType<typeof passOf> | undefined;
  const passOf = (number: number) => {
    const order = randomPermutation(count, seed + 2 ** 32 * (number + 1));
    // Tokens left over at the end are used in other passes.
    const first = Math.floor(uniformGenerator(seed + 2 ** 32 * (number + 1))() * length);
    return { number, order, first };
  };
  return {
    batches(index) {
      checkWhole('index', index, 0);
      return rowsOf(batch, length, (row) => {
        const at = index * batch + row;
        const number = Math.floor(at / count);
        if (number !== pass?.number) pass = passOf(number);
        const start = pass.first + (pass.order[at % count] as number) * length;
        return learned.subarray(start, start + length + 1);
      });
    },
    validation: {
      count: Math.ceil(kept / batch),
      batches(index) {
        checkWhole('index', index, 0, Math.ceil(kept / batch) - 1);
        const rows = Math.min(batch, kept - index * batch);
        return rowsOf(rows, length, (row) => {
          const start = (index * batch + row) * length;
          return rest.subarray(start, start + length + 1);
        });
      },
    },
  };
}

function rowsOf(rows: number, length: number, row: (at: number) => Int32Array): HostTensor<'i32'> {
  const data = new Int32Array(rows * (length + 1));
  for (let at = 0; at < rows; at++) data.set(row(at), at * (length + 1));
  return { dtype: 'i32', shape: [rows, length + 1], data };
}
