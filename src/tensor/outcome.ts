/** Outcomes of calls, and which calls wrote where: a fault covers what its call wrote, and nothing else, until it is overwritten. */

import type { Pause } from '../runtime/order';

/** Why results are wrong: all results of a call share it, and so does what is computed from them. */
export interface Fault {
  readonly error: unknown;
  /** Whether a read or `finish()` has rejected with it. */
  reported: boolean;
}

/** Whether a call is over, and its fault if it has one. */
export class Outcome {
  #fault: Fault | undefined;
  #isSettled = false;
  #settled: Promise<void> | undefined;
  #resolve: (() => void) | undefined;
  /** While its call goes on beside the order: what is to be waited for until its results are there. */
  landing: Pause | undefined;

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
    this.landing = undefined;
    this.#resolve?.();
  }
}

export const faultIn = (outcomes: readonly Outcome[]): Fault | undefined => outcomes.find(({ fault }) => fault)?.fault;

/** A range of memory that a call reads or writes besides its tensors. */
export interface Part {
  readonly written: Written;
  readonly from: number;
  readonly to: number;
}

/** A call that wrote to a range. */
interface Write {
  readonly from: number;
  readonly to: number;
  readonly outcome: Outcome;
}

const NONE: readonly Write[] = [];

/** The calls that wrote to some memory, while they are pending or have a fault. */
export class Written {
  /** The last one, in fields of its own: nearly always there is no other. */
  #outcome: Outcome | undefined;
  #from = 0;
  #to = 0;
  #earlier = NONE;

  /** Whether there are such calls. */
  get isOpen(): boolean {
    if (this.#outcome === undefined) return false;
    if (isOpen(this.#outcome) || this.#earlier.some(({ outcome }) => isOpen(outcome))) return true;
    this.#outcome = undefined;
    this.#earlier = NONE;
    return false;
  }

  get isPending(): boolean {
    return this.#writes().some(({ outcome }) => !outcome.isSettled);
  }

  /** A call writes to a range: all of it or, `hasGaps`, parts of it. */
  add(from: number, to: number, outcome: Outcome, hasGaps = false): void {
    if (this.isOpen)
      this.#earlier = hasGaps ? this.#writes() : this.#writes().flatMap((write) => outside(write, from, to));
    this.#outcome = outcome;
    this.#from = from;
    this.#to = to;
  }

  /** Those whose ranges `touches` accepts. */
  by(touches: (from: number, to: number) => boolean): readonly Outcome[] {
    return this.#writes().flatMap(({ from, to, outcome }) => (isOpen(outcome) && touches(from, to) ? outcome : []));
  }

  #writes(): readonly Write[] {
    return this.#outcome ? [...this.#earlier, { outcome: this.#outcome, from: this.#from, to: this.#to }] : NONE;
  }
}

export const writersOf = ({ written, from, to }: Part): readonly Outcome[] =>
  written.by((first, end) => first < to && end > from);

const isOpen = ({ isSettled, fault }: Outcome): boolean => !isSettled || fault !== undefined;

/** What is left of a write once a range is overwritten. */
function outside(write: Write, from: number, to: number): Write[] {
  if (!isOpen(write.outcome)) return [];
  const rest = [
    { ...write, to: Math.min(write.to, from) },
    { ...write, from: Math.max(write.from, to) },
  ];
  return rest.filter((part) => part.from < part.to);
}
