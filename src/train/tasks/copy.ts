import { checkOptions, checkWhole } from '../../check';
import { below, type Task, taskOf } from './task';

export interface CopyOptions {
  /** Tokens of a sequence, an even number, of which the first half is copied; default 128. */
  readonly length?: number | undefined;
  /** Different tokens that are copied; default 32. */
  readonly symbols?: number | undefined;
}

const MARKER = 0;

/** Random tokens, a marker, and the same tokens again; from the marker on, the answer is the next token. */
export function copy(options: CopyOptions = {}): Task {
  checkOptions('copy', options, ['length', 'symbols']);
  const { length = 128, symbols = 32 } = options;
  checkWhole('length', length, 2);
  checkWhole('symbols', symbols, 2, 2 ** 20);
  const half = Math.floor(length / 2);
  return taskOf(
    'copy',
    { vocabulary: 1 + symbols, length: 2 * half, chance: 1 / symbols },
    (tokens, targets, random) => {
      tokens[half] = MARKER;
      for (let at = 0; at < half; at++) {
        const symbol = 1 + below(symbols, random);
        tokens[at] = symbol;
        targets[half + at] = symbol;
        if (at + 1 < half) tokens[half + 1 + at] = symbol;
      }
    },
  );
}
