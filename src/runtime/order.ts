/** Calls take effect in the order in which they are made: at once where nothing is ahead of them, else in their turn. */
import { BackendError } from '../errors';
import { nextTurn } from '../next-turn';

/** What a turn waits for. */
export interface Pause {
  /** The turn goes on when it resolves, or throws what it rejects with. */
  readonly promise: Promise<unknown>;
  /** Where the calling thread can wait for it: returns whether it is over, false if news of its end is yet to come. */
  block?(): boolean;
}

/** What a call does when its turn comes, up to each of its pauses. It does not throw. */
export type Turn = Generator<Pause, void, void>;

/** Turns that may wait; beyond it the calling thread makes room, so that calls without an end stay in bounded memory. */
const MOST_WAITING = 4096;
/** And bytes that their results take, since what a chain of calls frees is held until its turn. */
const MOST_BYTES_WAITING = 2 ** 26;
/** And where it cannot wait for what is under way. */
const MOST_WAITING_BLOCKED = 100_000;
/** How long work goes on before others of this thread have a turn: half of what a page has for a frame. */
export const TURN_MILLISECONDS = 8;

/** A pause in which others of this thread have a turn. */
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
  /** Of each that waits, and of all. */
  #bytesOf: number[] = [];
  #bytes = 0;
  /** The next in `#waiting`, whose front is cut off now and then. */
  #next = 0;

  /** `bytes` are those of its results. */
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

  /** Does what takes no time, in its turn. */
  do(work: () => void): void {
    if (this.#current) this.take(briefly(work));
    else work();
  }

  /** Before a turn is taken: waits where too many are ahead, if the calling thread can. */
  makeRoom(): void {
    if (!this.#isAbove(1)) return;
    while (this.#isAbove(1 / 2) && this.#pause?.block?.()) this.#end(this.#pause, (turn) => turn.next());
  }

  /**
   * The same before the turn of a call, of which there may be no end; what waits for calls is always let in.
   * @throws {BackendError} far too many, for something that the calling thread cannot wait for
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

  /** Goes on from a step of the current turn until one pauses or none is left. */
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
    // Else the calling thread has waited for it meanwhile.
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
