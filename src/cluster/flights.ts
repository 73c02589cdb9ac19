/** Looks after the exchanges of a rank that are under way, while kernels run or nothing else is to be done. */
import { nextTurn } from '../next-turn';
import { type Pause, TURN_MILLISECONDS } from '../runtime/order';
import type { Transport } from './transport';

/** An exchange under way. */
interface Flight {
  /** Goes on, waiting at most so many milliseconds for others: true once it is over, for good or ill. */
  advance(milliseconds: number): boolean;
  /** Whether kernels run now. */
  isComputing(): boolean;
}

/** For how long the thread waits for others before its other tasks get a turn. */
const AT_ONCE_MILLISECONDS = 2;
/** For how long it waits before it lets them have one: longer for other processes, since ranks of tests share a thread. */
const MOMENT_MILLISECONDS = { threads: 0.2, mpi: TURN_MILLISECONDS, alone: 0 };
/** How often exchanges are looked after while kernels run. */
const BETWEEN_MILLISECONDS = 1;

/** What those wait for who need the end of an exchange. */
class Landing implements Pause {
  #isOver = false;
  #promise: Promise<void> | undefined;
  #resolve = () => {};

  constructor(
    readonly flight: Flight,
    private readonly flying: Set<Landing>,
    private readonly moment: number,
  ) {}

  get promise(): Promise<void> {
    this.#promise ??= this.#isOver
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.#resolve = resolve;
        });
    return this.#promise;
  }

  /** Goes on with the exchange: true once it is over. */
  advance(milliseconds: number): boolean {
    if (this.#isOver) return true;
    this.#isOver = this.flight.advance(milliseconds);
    if (!this.#isOver) return false;
    this.flying.delete(this);
    this.#resolve();
    return true;
  }

  comesSoon(): boolean {
    return this.advance(this.moment);
  }

  block(): boolean {
    while (!this.advance(AT_ONCE_MILLISECONDS));
    return true;
  }
}

export class Flights {
  readonly #flying = new Set<Landing>();
  readonly #moment: number;
  #isLooking = false;

  constructor(transport: Transport['name']) {
    this.#moment = MOMENT_MILLISECONDS[transport];
  }

  /** Looks after it until it is over; what it returns is for those who wait for that. */
  add(flight: Flight): Pause {
    const landing = new Landing(flight, this.#flying, this.#moment);
    if (landing.advance(0)) return landing;
    this.#flying.add(landing);
    if (!this.#isLooking) this.#lookLater();
    return landing;
  }

  #lookLater(): void {
    this.#isLooking = true;
    if (this.#isComputing()) setTimeout(() => this.#look(), BETWEEN_MILLISECONDS);
    else void nextTurn().then(() => this.#look());
  }

  #look(): void {
    let milliseconds = this.#isComputing() ? 0 : AT_ONCE_MILLISECONDS;
    for (const landing of this.#flying) {
      landing.advance(milliseconds);
      milliseconds = 0;
    }
    this.#isLooking = false;
    if (this.#flying.size > 0) this.#lookLater();
  }

  #isComputing(): boolean {
    for (const { flight } of this.#flying) if (flight.isComputing()) return true;
    return false;
  }
}
