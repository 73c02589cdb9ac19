/** What carries bytes between ranks. */

/** For one rank or from it: a header of `HEADER_BYTES`, and bytes. */
export interface Message {
  /** The rank in the whole program. */
  readonly peer: number;
  readonly header: Uint8Array;
  /** Left alone, by those who wrote it, until the message has been sent. */
  readonly payload: Uint8Array;
}

/** Messages under way. */
export interface Posted {
  /**
   * Moves what can be moved, waiting at most so many milliseconds for more: true once all has been sent and received.
   * @throws {BackendError} a rank that has ended or failed
   */
  advance(milliseconds: number): boolean;
  /** The ranks whose message has not come. */
  missing(): number[];
}

export interface Transport {
  /** For messages to users. */
  readonly name: 'threads' | 'mpi' | 'alone';
  /** This rank of the whole program, and how many there are. */
  readonly rank: number;
  readonly size: number;
  /**
   * Messages of one context arrive in the order in which they were posted. One that is shorter than the room for it leaves
   * the rest as it was; the rest of a longer one is dropped.
   */
  post(context: number, sends: readonly Message[], receives: readonly Message[]): Posted;
  /** Tells all ranks that this one goes on no more, and why. */
  fail(reason: string): void;
  close(): void;
}

/** The header that each message begins with: words that say what it is, then zeros. */
export const HEADER_BYTES = 512;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function headerOf(words: string): Uint8Array {
  // A buffer of its own, as the garbage collector may move small arrays without one.
  const header = new Uint8Array(new ArrayBuffer(HEADER_BYTES));
  encoder.encodeInto(words, header.subarray(0, HEADER_BYTES - 1));
  return header;
}

export const wordsOf = (header: Uint8Array): string => decoder.decode(header.slice(0, header.indexOf(0)));

/** The transport of a program with one rank, which sends nothing. */
export const alone: Transport = {
  name: 'alone',
  rank: 0,
  size: 1,
  post: () => ({ advance: () => true, missing: () => [] }),
  fail: () => {},
  close: () => {},
};
