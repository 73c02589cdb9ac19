/** Params that are found for a model, on a text of its kind: thresholds by layer and head. */
import { checkChoice, checkNumbers, checkRecord } from '../check';

export interface Calibration {
  /** The param: a list of one number for each query head (`q`) or key head (`k`). */
  readonly param: string;
  readonly heads: 'q' | 'k';
  /** What a head begins with; it is halved until the result is near enough, and 0 where it is no larger than `least`. */
  readonly start: number;
  readonly least: number;
  /** How far the result of a head may be from exact attention's: the sum of absolute differences for each token. */
  readonly error: number;
}

/** @throws {ParameterError} one that is not complete */
export function checkCalibration(name: string, given: Calibration): void {
  const what = `calibration of ${name}`;
  checkRecord(what, given);
  checkChoice(`heads of ${what}`, given.heads, ['q', 'k']);
  checkNumbers(what, [given.start, given.least, given.error], 'positive numbers', (value) => value > 0);
}
