/** Int32 numbers one after the other, as many as come. */
export class IntegerList {
  length = 0;
  #numbers = new Int32Array(256);

  /** The numbers so far, and room for `more`: to be asked for again after these are taken. */
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
