/** The order of calls: each is computed at once if nothing is ahead of it, else in its turn. */
import { BackendError } from '../errors';
import { nextTurn } from '../next-turn';

/** What a turn waits for. */
export interface Pause {
  /** The turn goes on when it resolves, or throws what it rejects with. */
  readonly promise: Promise<unknown>;
  /** Blocks the calling thread, where it can; returns false if the end is not known yet. */
  block?(): boolean;
  /** Whether the end comes within a moment, for which the calling thread waits awake. */
  comesSoon?(): boolean;
}

/** What a call does in its turn, up to each of its pauses. It does not throw. */
export type Turn = Generator<Pause, void, void>;

/** Turns that may wait, and bytes of their results; above this the calling thread waits, which bounds the memory in use. */
const MOST_WAITING = 4096;
const MOST_BYTES_WAITING = 2 ** 26;
/** Turns that may wait for something that the calling thread cannot wait for. */
const MOST_WAITING_BLOCKED = 100_000;
/** How long work runs before other tasks of this thread get a turn: half a frame of a page. */
export const TURN_MILLISECONDS = 8;

/** A pause for other tasks of this thread. */
export const othersTurn = (): Pause => ({ promise: nextTurn(), block: () => true });

/** What `promise` resolves to. */
export function* until<T>(promise: Promise<T>): Generator<Pause, T, void> {
  let found: T | undefined;
  yield {
    promise: promise.then((value) => {
      found = value;
    }),
  };
  return found as T;
}

/** What `load` resolves to: after a pause the first time, then at once. */
export function* loaded<T>(load: () => Promise<T>): Generator<Pause, T, void> {
  if (!known.has(load)) known.set(load, yield* until(load()));
  return known.get(load) as T;
}

const known = new WeakMap<() => Promise<unknown>, unknown>();

function* briefly(work: () => void): Turn {
  work();
  yield* [];
}

export class Order {
  #current: Turn | undefined;
  #pause: Pause | undefined;
  #waiting: Turn[] = [];
  /** Bytes of the results of each waiting turn, and of all. */
  #bytesOf: number[] = [];
  #bytes = 0;
  /** The next of `#waiting`; those before it are cut off now and then. */
  #next = 0;

  /** What the current turn waits for. */
  get pause(): Pause | undefined {
    return this.#pause;
  }

  /** `bytes` is the size of its results. */
  take(turn: Turn, bytes = 0): void {
    if (this.#current) {
      this.#waiting.push(turn);
      this.#bytesOf.push(bytes);
      this.#bytes += bytes;
    } else {
      this.#current = turn;
      this.#go(turn.next());
    }
  }

  /** Does work that takes no time in its turn. */
  do(work: () => void): void {
    if (this.#current) this.take(briefly(work));
    else work();
  }

  /** Waits while too many turns are ahead, if the calling thread can. */
  makeRoom(): void {
    if (!this.#isAbove(1)) return;
    while (this.#isAbove(1 / 2) && this.#pause?.block?.()) this.#end(this.#pause, (turn) => turn.next());
  }

  /** Waits for all turns, as long as the calling thread can. */
  settle(): void {
    while (this.#pause?.block?.()) this.#end(this.#pause, (turn) => turn.next());
  }

  /**
   * `makeRoom` for a call: there may be no end of calls, while reads and `finish()` are always let in.
   * @throws {BackendError} too many turns wait for something that the calling thread cannot wait for
   */
  makeRoomForCall(): void {
    if (!this.#isAbove(1)) return;
    this.makeRoom();
    if (this.#length >= MOST_WAITING_BLOCKED)
      throw new BackendError(
        `${this.#length} calls are waiting, more than a runtime keeps: await finish() or a read() now and then`,
      );
  }

  /** Whether more than this share of what may wait does. */
  #isAbove(share: number): boolean {
    return this.#length >= share * MOST_WAITING || this.#bytes > share * MOST_BYTES_WAITING;
  }

  get #length(): number {
    return this.#waiting.length - this.#next;
  }

  /** Goes on from a step of the current turn until a turn pauses or none is left. */
  #go(step: IteratorResult<Pause, void>): void {
    let ends = 0;
    for (;;) {
      if (!step.done) {
        this.#wait(step.value);
        return;
      }
      this.#current = this.#shift();
      if (!this.#current) return;
      ends ||= performance.now() + TURN_MILLISECONDS;
      if (performance.now() > ends) {
        this.#wait(othersTurn());
        return;
      }
      step = this.#current.next();
    }
  }

  #wait(pause: Pause): void {
    this.#pause = pause;
    pause.promise.then(
      () => this.#end(pause, (turn) => turn.next()),
      (error) => this.#end(pause, (turn) => turn.throw(error)),
    );
  }

  #end(pause: Pause, resume: (turn: Turn) => IteratorResult<Pause, void>): void {
    // Otherwise the calling thread has waited for it already.
    if (this.#pause !== pause) return;
    this.#pause = undefined;
    this.#go(resume(this.#current as Turn));
  }

  #shift(): Turn | undefined {
    this.#bytes -= this.#bytesOf[this.#next] ?? 0;
    const turn = this.#waiting[this.#next++];
    if (!turn || this.#next === MOST_WAITING) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#bytesOf = this.#bytesOf.slice(this.#next);
      this.#next = 0;
    }
    return turn;
  }
}
