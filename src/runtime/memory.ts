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

/** Memory that is handed out and counted: as live, or as kept, which outlasts calls, belongs to no tensor and counts in the peak. */
export abstract class Allocator<B extends Buffer> {
  #live = 0;
  #kept = 0;
  #peak = 0;

  /** Memory that is not counted. */
  abstract take(bytes: number): B;
  /** Ends a `take`. */
  abstract giveBack(buffer: B): void;
  /** Bytes taken from the system. */
  protected abstract readonly reserved: number;

  get live(): number {
    return this.#live;
  }

  /** Live bytes and kept ones. */
  get used(): number {
    return this.#live + this.#kept;
  }

  /** Counted as live until `release`. */
  allocate(bytes: number): B {
    const buffer = this.take(bytes);
    this.#live += bytes;
    this.#peak = Math.max(this.#peak, this.used);
    return buffer;
  }

  release(buffer: B): void {
    this.#live -= buffer.bytes;
    this.giveBack(buffer);
  }

  /** Counted as kept until `drop`. */
  keep(bytes: number): B {
    const buffer = this.take(bytes);
    this.#kept += bytes;
    this.#peak = Math.max(this.#peak, this.used);
    return buffer;
  }

  drop(buffer: B): void {
    this.#kept -= buffer.bytes;
    this.giveBack(buffer);
  }

  report(): MemoryReport {
    return { live: this.#live, peak: this.#peak, reserved: this.reserved };
  }

  resetPeak(): void {
    this.#peak = this.used;
  }
}
