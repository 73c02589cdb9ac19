/** What carries bytes between ranks. */

/** To one rank: words that say what it is, and bytes. */
export interface Message {
  /** The rank in the whole program. */
  readonly peer: number;
  /** What does not fit `MOST_WORDS` bytes is cut off. */
  readonly words: string;
  /** Left alone, by those who wrote it, until the message has been sent. */
  readonly payload: Uint8Array;
}

/** A message from one rank. */
export interface Expected {
  readonly peer: number;
  /** Where its bytes go. */
  readonly payload: Uint8Array;
}

/** Messages under way. */
export interface Posted {
  /**
   * Moves what can be moved, waiting at most so many milliseconds for more: true once all has been sent and received.
   * @throws {BackendError} a rank that has ended or failed
   */
  advance(milliseconds: number): boolean;
  /** The words of the message that was expected at this place of the list; undefined before it has come. */
  words(at: number): string | undefined;
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
  post(context: number, sends: readonly Message[], receives: readonly Expected[]): Posted;
  /** Tells all ranks that this one goes on no more, and why. */
  fail(reason: string): void;
  close(): void;
}

export const MOST_WORDS = 512;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Writes words into memory; returns how many bytes they have. */
export const writeWords = (words: string, bytes: Uint8Array): number =>
  encoder.encodeInto(words, bytes.subarray(0, MOST_WORDS)).written;

// A copy, as decoders take no shared memory.
export const wordsIn = (bytes: Uint8Array): string => decoder.decode(bytes.slice());

/** The ranks whose message has not come. */
export const missingOf = (posted: Posted, expected: readonly Expected[]): number[] =>
  expected.filter((_, at) => posted.words(at) === undefined).map(({ peer }) => peer);

/** The transport of a program with one rank, which sends nothing. */
export const alone: Transport = {
  name: 'alone',
  rank: 0,
  size: 1,
  post: () => ({ advance: () => true, words: () => undefined }),
  fail: () => {},
  close: () => {},
};

/** The first failure that is not about another rank, if there is one; each begins with the rank that it is of. */
export const causeOf = (failures: readonly string[]): string | undefined =>
  failures.find((failure) => !/^rank \d+: (?:rank \d+|.*did not come)/.test(failure)) ?? failures[0];
