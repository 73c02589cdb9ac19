/** A growing list of int32 numbers. */
export class IntegerList {
  length = 0;
  #numbers = new Int32Array(256);

  /** The numbers so far, with room for `more`; valid until the next call. */
  reserve(more: number): Int32Array {
    const needed = this.length + more;
    if (needed > this.#numbers.length) {
      const numbers = new Int32Array(2 * needed);
      numbers.set(this.#numbers);
      this.#numbers = numbers;
    }
    return this.#numbers;
  }

  /** A copy. */
  all(): Int32Array {
    return this.#numbers.slice(0, this.length);
  }
}
