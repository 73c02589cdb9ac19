/** Whether what a call writes is there, and what is wrong with it. */

/** Why a result is not what it should be; of one call all results have it, and what is computed from them. */
export interface Fault {
  readonly error: unknown;
  /** Whether a read or `finish()` has rejected with it. */
  told: boolean;
}

export class Work {
  #fault: Fault | undefined;
  #isSettled = false;
  #settled: Promise<void> | undefined;
  #resolve: (() => void) | undefined;

  get isSettled(): boolean {
    return this.#isSettled;
  }

  get fault(): Fault | undefined {
    return this.#fault;
  }

  /** Resolves once it is known whether there is a fault. */
  get settled(): Promise<void> {
    this.#settled ??= this.#isSettled
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.#resolve = resolve;
        });
    return this.#settled;
  }

  settle(fault?: Fault): void {
    this.#fault = fault;
    this.#isSettled = true;
    this.#resolve?.();
  }
}
