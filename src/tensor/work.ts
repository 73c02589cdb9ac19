/**
 * Whether what a call writes is there, and what is wrong with it. A fault covers what its call writes, all of that and nothing
 * else, until it is written again: not other parts of the same memory, nor other tokens of a cache.
 */

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

export const faultIn = (works: readonly Work[]): Fault | undefined => works.find(({ fault }) => fault)?.fault;

/** What a call reads or writes of memory, beside tensors: from one place up to another. */
export interface Part {
  readonly written: Written;
  readonly from: number;
  readonly to: number;
}

interface Mark {
  readonly from: number;
  readonly to: number;
  readonly work: Work;
}

const NO_MARKS: readonly Mark[] = [];

/** Some memory, and which calls wrote where in it, as long as it is not known that what they wrote is right. */
export class Written {
  /** The last call and its place. */
  #work: Work | undefined;
  #from = 0;
  #to = 0;
  /** What it leaves of those before. */
  #before = NO_MARKS;

  /** Whether there are such calls. */
  get isOpen(): boolean {
    if (this.#work === undefined) return false;
    if (isOpen(this.#work) || this.#before.some(({ work }) => isOpen(work))) return true;
    this.#work = undefined;
    this.#before = NO_MARKS;
    return false;
  }

  /** Whether there are some of which nothing is known yet. */
  get isPending(): boolean {
    return this.#marks().some(({ work }) => !work.isSettled);
  }

  /** A call writes from one place up to another: all of that, or, with gaps, some. */
  add(from: number, to: number, work: Work, hasGaps = false): void {
    if (this.isOpen) this.#before = hasGaps ? this.#marks() : this.#marks().flatMap((mark) => outside(mark, from, to));
    this.#work = work;
    this.#from = from;
    this.#to = to;
  }

  /** Those that wrote where `touches` finds something, from one place up to another. */
  by(touches: (from: number, to: number) => boolean): readonly Work[] {
    return this.#marks().flatMap(({ from, to, work }) => (isOpen(work) && touches(from, to) ? work : []));
  }

  #marks(): readonly Mark[] {
    return this.#work ? [...this.#before, { work: this.#work, from: this.#from, to: this.#to }] : NO_MARKS;
  }
}

/** Those that wrote some of a part. */
export const writersOf = ({ written, from, to }: Part): readonly Work[] =>
  written.by((first, past) => first < to && past > from);

const isOpen = ({ isSettled, fault }: Work): boolean => !isSettled || fault !== undefined;

/** What is left of a mark where something else is written. */
function outside(mark: Mark, from: number, to: number): Mark[] {
  if (!isOpen(mark.work)) return [];
  const sides = [
    { ...mark, to: Math.min(mark.to, from) },
    { ...mark, from: Math.max(mark.from, to) },
  ];
  return sides.filter((side) => side.from < side.to);
}
