export interface PeakCall {
  readonly rounds: number;
  /** Is told how many operations that is on the device at hand. */
  count(operations: number): void;
}
