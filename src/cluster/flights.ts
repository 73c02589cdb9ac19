/** Looks after the exchanges of a rank that are under way, while kernels run or nothing else is to be done. */
import { nextTurn } from '../next-turn';
import type { Pause } from '../runtime/order';

/** An exchange under way. */
interface Flight {
  /** Goes on, waiting at most so many milliseconds for others: true once it is over, for good or ill. */
  advance(milliseconds: number): boolean;
  /** Whether kernels run now. */
  isComputing(): boolean;
}

/** For how long the thread waits for others before its other tasks get a turn. */
const AT_ONCE_MILLISECONDS = 2;
/** For how long it waits before it lets them have one. */
const MOMENT_MILLISECONDS = 0.2;
/** How often exchanges are looked after while kernels run. */
const BETWEEN_MILLISECONDS = 1;

export class Flights {
  readonly #flying = new Set<Flight>();
  #isLooking = false;

  /** Looks after it until it is over; what it returns is for those who wait for that. */
  add(flight: Flight): Pause {
    let resolve = () => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    const watched: Flight = {
      isComputing: () => flight.isComputing(),
      advance: (milliseconds) => {
        if (!this.#flying.has(watched)) return true;
        const isOver = flight.advance(milliseconds);
        if (isOver) this.#flying.delete(watched);
        if (isOver) resolve();
        return isOver;
      },
    };
    this.#flying.add(watched);
    if (!watched.advance(0) && !this.#isLooking) this.#lookLater();
    return {
      promise,
      comesSoon: () => watched.advance(MOMENT_MILLISECONDS),
      block: () => {
        while (this.#flying.has(watched)) watched.advance(AT_ONCE_MILLISECONDS);
        return true;
      },
    };
  }

  #lookLater(): void {
    this.#isLooking = true;
    if (this.#isComputing()) setTimeout(() => this.#look(), BETWEEN_MILLISECONDS);
    else void nextTurn().then(() => this.#look());
  }

  #look(): void {
    let milliseconds = this.#isComputing() ? 0 : AT_ONCE_MILLISECONDS;
    for (const flight of this.#flying) {
      flight.advance(milliseconds);
      milliseconds = 0;
    }
    this.#isLooking = false;
    if (this.#flying.size > 0) this.#lookLater();
  }

  #isComputing(): boolean {
    for (const flight of this.#flying) if (flight.isComputing()) return true;
    return false;
  }
}
