/** Ranks of one machine: a ring of bytes in shared memory for each pair of them, and a bell for each, rung when there is news. */
import { BackendError } from '../errors';
import {
  type Expected,
  type Message,
  MOST_WORDS,
  missingOf,
  type Posted,
  type Transport,
  wordsIn,
  writeWords,
} from './transport';

/** Places in the table of a rank, which is int32 in front of the text of a reason. */
const BELL = 0;
const STATE = 1;
const REASON_LENGTH = 2;
const TABLE = 16;
const RANK_BYTES = TABLE * 4 + MOST_WORDS;

const ENDED = 1;
const FAILED = 2;

/** Places in the table of a ring: bytes written and read so far, modulo 2^32, each in a cache line of its own. */
const WRITTEN = 0;
const READ = 16;
const RING_TABLE = 32;

/** In front of each message: its context, the lengths of its words and of its payload, and its words. */
const WORDS_AT = 16;
const FRAME_BYTES = WORDS_AT + MOST_WORDS;
const MOST_BYTES = 2 ** 25;
/** Loads of the bell before a thread sleeps. */
const SPINS = 2000;

const ringBytes = (size: number): number => {
  const share = MOST_BYTES / Math.max(1, size * size);
  return 2 ** Math.min(19, Math.max(14, Math.floor(Math.log2(share))));
};

/** The memory of `size` ranks. */
export function boardOf(size: number): SharedArrayBuffer {
  const rings = size * size * (RING_TABLE * 4 + ringBytes(size));
  return new SharedArrayBuffer(size * RANK_BYTES + rings);
}

interface Outgoing {
  readonly posted: Pending;
  readonly parts: readonly Uint8Array[];
  part: number;
  at: number;
}

interface Incoming {
  readonly context: number;
  readonly length: number;
  readonly words: string;
  readonly payload: Uint8Array;
  /** Whom it is for; undefined for one that came before it was expected. */
  place: Place | undefined;
  at: number;
}

/** Where a message is expected: one of those that a call awaits. */
interface Place {
  readonly context: number;
  readonly payload: Uint8Array;
  readonly posted: Pending;
  readonly at: number;
}

/** The messages of a call that are not through. */
class Pending implements Posted {
  open = 0;
  readonly #words: string[] = [];

  constructor(
    private readonly transport: ThreadTransport,
    readonly awaited: readonly Expected[],
  ) {}

  advance(milliseconds: number): boolean {
    return this.transport.advance(this, milliseconds);
  }

  words(at: number): string | undefined {
    return this.#words[at];
  }

  /** The message that is expected at this place has come. */
  arrive(at: number, words: string): void {
    this.#words[at] = words;
    this.open--;
  }
}

/** What one rank exchanges with another. */
interface Peer {
  readonly rank: number;
  readonly toIt: Ring;
  readonly fromIt: Ring;
  readonly outgoing: Outgoing[];
  readonly expected: Place[];
  /** Whole messages that came before they were expected. */
  readonly early: Incoming[];
  readonly frame: Uint8Array;
  frameAt: number;
  incoming: Incoming | undefined;
}

/** Bytes from one rank to one other. */
class Ring {
  readonly #table: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(board: SharedArrayBuffer, offset: number, bytes: number) {
    this.#table = new Int32Array(board, offset, RING_TABLE);
    this.#bytes = new Uint8Array(board, offset + RING_TABLE * 4, bytes);
  }

  /** Writes as much of it as there is room for; returns how much. */
  write(source: Uint8Array): number {
    const written = Atomics.load(this.#table, WRITTEN) >>> 0;
    const used = (written - Atomics.load(this.#table, READ)) >>> 0;
    const count = Math.min(source.length, this.#bytes.length - used);
    const at = written % this.#bytes.length;
    const first = Math.min(count, this.#bytes.length - at);
    if (count === 0) return 0;
    this.#bytes.set(source.subarray(0, first), at);
    if (first < count) this.#bytes.set(source.subarray(first, count));
    Atomics.store(this.#table, WRITTEN, written + count);
    return count;
  }

  /** How many bytes are there. */
  get available(): number {
    return (Atomics.load(this.#table, WRITTEN) - Atomics.load(this.#table, READ)) >>> 0;
  }

  /** Takes at most `most` bytes, from `at` on to where there is room for them in the target; returns how many. */
  read(target: Uint8Array, at: number, most: number): number {
    const read = Atomics.load(this.#table, READ) >>> 0;
    const count = Math.min(most, this.available);
    if (count === 0) return 0;
    const kept = Math.max(0, Math.min(count, target.length - at));
    const from = read % this.#bytes.length;
    const first = Math.min(kept, this.#bytes.length - from);
    target.set(this.#bytes.subarray(from, from + first), at);
    if (first < kept) target.set(this.#bytes.subarray(0, kept - first), at + first);
    Atomics.store(this.#table, READ, read + count);
    return count;
  }
}

export class ThreadTransport implements Transport {
  readonly name = 'threads';
  readonly #peers: Peer[];
  /** Those of all ranks. */
  readonly #tables: readonly Int32Array[];
  readonly #bell: Int32Array;

  constructor(
    private readonly board: SharedArrayBuffer,
    readonly rank: number,
    readonly size: number,
  ) {
    const bytes = ringBytes(size);
    const ring = (from: number, to: number) =>
      new Ring(board, size * RANK_BYTES + (from * size + to) * (RING_TABLE * 4 + bytes), bytes);
    this.#peers = Array.from({ length: size }, (_, peer) => ({
      rank: peer,
      toIt: ring(rank, peer),
      fromIt: ring(peer, rank),
      outgoing: [],
      expected: [],
      early: [],
      frame: new Uint8Array(FRAME_BYTES),
      frameAt: 0,
      incoming: undefined,
    }));
    this.#tables = Array.from({ length: size }, (_, each) => tableOf(board, each));
    this.#bell = this.#tables[rank] as Int32Array;
  }

  post(context: number, sends: readonly Message[], receives: readonly Expected[]): Posted {
    const posted = new Pending(this, receives);
    posted.open = sends.length + receives.length;
    for (const { peer, words, payload } of sends) {
      const parts = [frameOf(context, words, payload.length), payload];
      this.#peer(peer).outgoing.push({ posted, parts, part: 0, at: 0 });
    }
    for (const [at, { peer, payload }] of receives.entries())
      this.#expect(this.#peer(peer), { context, payload, posted, at });
    this.#move();
    return posted;
  }

  advance(posted: Pending, milliseconds: number): boolean {
    const ends = performance.now() + milliseconds;
    for (;;) {
      const heard = Atomics.load(this.#bell, BELL);
      // Looked at first, since a rank may send its last message and end meanwhile.
      const gone = this.#goneRank(posted);
      const moved = this.#move();
      if (posted.open === 0) return true;
      if (moved) continue;
      if (gone) throw gone;
      const left = ends - performance.now();
      if (left <= 0) return false;
      listen(this.#bell, heard, left);
    }
  }

  fail(reason: string): void {
    endRank(this.board, this.rank, this.size, reason);
  }

  close(): void {
    endRank(this.board, this.rank, this.size);
  }

  #peer(rank: number): Peer {
    return this.#peers[rank] as Peer;
  }

  /** Whether anything went on. */
  #move(): boolean {
    let moved = false;
    for (const peer of this.#peers) {
      const news = this.#send(peer) || this.#receive(peer);
      if (news) ring(this.board, peer.rank);
      moved ||= news;
    }
    return moved;
  }

  #send({ toIt, outgoing }: Peer): boolean {
    let moved = false;
    for (let first = outgoing[0]; first; first = outgoing[0]) {
      const part = first.parts[first.part];
      if (!part) {
        first.posted.open--;
        outgoing.shift();
        continue;
      }
      const count = toIt.write(part.subarray(first.at));
      moved ||= count > 0;
      first.at += count;
      if (first.at < part.length) break;
      first.part++;
      first.at = 0;
    }
    return moved;
  }

  #receive(peer: Peer): boolean {
    let moved = false;
    for (;;) {
      if (!peer.incoming) {
        peer.frameAt += peer.fromIt.read(peer.frame, peer.frameAt, peer.frame.length - peer.frameAt);
        if (peer.frameAt < peer.frame.length) return moved;
        peer.frameAt = 0;
        peer.incoming = incomingOf(peer);
      }
      const { incoming } = peer;
      const count = peer.fromIt.read(incoming.payload, incoming.at, incoming.length - incoming.at);
      incoming.at += count;
      if (incoming.at < incoming.length) return moved || count > 0;
      moved = true;
      peer.incoming = undefined;
      const { place, words } = incoming;
      if (place) place.posted.arrive(place.at, words);
      else this.#keepOrDeliver(peer, incoming);
    }
  }

  #expect(peer: Peer, place: Place): void {
    const early = taken(peer.early, place.context);
    if (early) deliver(early, place);
    else peer.expected.push(place);
  }

  /** For a message that nobody expected when it began to come; it may be expected by now. */
  #keepOrDeliver(peer: Peer, incoming: Incoming): void {
    const place = taken(peer.expected, incoming.context);
    if (place) deliver(incoming, place);
    else peer.early.push(incoming);
  }

  /** The error of a rank that has failed, or that has ended and was to send something. */
  #goneRank(posted: Pending): BackendError | undefined {
    for (const { rank } of this.#peers) {
      const state = Atomics.load(this.#tables[rank] as Int32Array, STATE);
      if (state === FAILED) return new BackendError(`rank ${rank} failed: ${reasonOfRank(this.board, rank)}`);
      if (state === ENDED && missingOf(posted, posted.awaited).includes(rank))
        return new BackendError(`rank ${rank} has ended without a part in this call`);
    }
    return undefined;
  }
}

function frameOf(context: number, words: string, length: number): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES);
  const view = new DataView(frame.buffer);
  view.setInt32(0, context, true);
  view.setInt32(4, writeWords(words, frame.subarray(WORDS_AT)), true);
  view.setFloat64(8, length, true);
  return frame;
}

/** The message whose frame has come; its payload goes where it is expected, or is kept. */
function incomingOf({ frame, expected }: Peer): Incoming {
  const view = new DataView(frame.buffer);
  const context = view.getInt32(0, true);
  const words = wordsIn(frame.subarray(WORDS_AT, WORDS_AT + view.getInt32(4, true)));
  const length = view.getFloat64(8, true);
  const place = taken(expected, context);
  const payload = place ? place.payload : new Uint8Array(length);
  return { context, length, words, payload, place, at: 0 };
}

/** Takes the first of a context out of a list. */
function taken<T extends { readonly context: number }>(list: T[], context: number): T | undefined {
  const at = list.findIndex((each) => each.context === context);
  return at === -1 ? undefined : list.splice(at, 1)[0];
}

function deliver({ words, payload }: Incoming, place: Place): void {
  place.payload.set(payload.subarray(0, place.payload.length));
  place.posted.arrive(place.at, words);
}

const tableOf = (board: SharedArrayBuffer, rank: number) => new Int32Array(board, rank * RANK_BYTES, TABLE);
const reasonAt = (board: SharedArrayBuffer, rank: number) =>
  new Uint8Array(board, rank * RANK_BYTES + TABLE * 4, MOST_WORDS);
const reasonOfRank = (board: SharedArrayBuffer, rank: number) =>
  wordsIn(reasonAt(board, rank).subarray(0, tableOf(board, rank)[REASON_LENGTH]));

function ring(board: SharedArrayBuffer, rank: number): void {
  const table = tableOf(board, rank);
  Atomics.add(table, BELL, 1);
  Atomics.notify(table, BELL);
}

/** Notes that a rank has ended, or failed for a reason, unless it has already, and rings for all. */
export function endRank(board: SharedArrayBuffer, rank: number, size: number, reason?: string): void {
  const table = tableOf(board, rank);
  if (Atomics.load(table, STATE) !== 0) return;
  if (reason !== undefined) {
    const bytes = new Uint8Array(MOST_WORDS);
    table[REASON_LENGTH] = writeWords(reason, bytes);
    reasonAt(board, rank).set(bytes);
  }
  Atomics.store(table, STATE, reason === undefined ? ENDED : FAILED);
  for (let each = 0; each < size; each++) ring(board, each);
}

/** Waits for the bell, awake for a moment, then asleep where the thread may. */
function listen(bell: Int32Array, heard: number, milliseconds: number): void {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(bell, BELL) !== heard) return;
  Atomics.wait(bell, BELL, heard, milliseconds);
}
