/** Memory on a backend. */
export interface Buffer {
  readonly bytes: number;
}

/** What a runtime's tensors and kernels take of memory. */
export interface MemoryReport {
  /** Bytes that tensors hold now. */
  readonly live: number;
  /**
   * The most bytes held at once since the start or `resetPeak()`, kernels' working memory included and what is kept from
   * call to call, such as the tables of scores.
   */
  readonly peak: number;
  /** Bytes taken from the system. */
  readonly reserved: number;
}
