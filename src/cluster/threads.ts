/** Ranks of one machine: a ring of bytes in shared memory for each pair of them, and a bell for each, rung when there is news. */
import { BackendError } from '../errors';
import { HEADER_BYTES, headerOf, type Message, type Posted, type Transport, wordsOf } from './transport';

/** Places in the table of a rank, which is int32 in front of `REASON_BYTES` of text. */
const BELL = 0;
const STATE = 1;
const TABLE = 16;
const REASON_BYTES = HEADER_BYTES;
const RANK_BYTES = TABLE * 4 + REASON_BYTES;

const ENDED = 1;
const FAILED = 2;

/** Places in the table of a ring: bytes written and read so far, modulo 2^32, each in a cache line of its own. */
const WRITTEN = 0;
const READ = 16;
const RING_TABLE = 32;

/** In front of each message: its context, and the length of its payload. */
const FRAME_BYTES = 16;
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
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
  /** Whom it is for; undefined for one that came before it was expected. */
  posted: Pending | undefined;
  at: number;
}

interface Expected {
  readonly context: number;
  readonly message: Message;
  readonly posted: Pending;
}

/** The messages of a call that are not through. */
class Pending implements Posted {
  open = 0;
  readonly awaited: number[] = [];

  constructor(private readonly transport: ThreadTransport) {}

  advance(milliseconds: number): boolean {
    return this.transport.advance(this, milliseconds);
  }

  missing(): number[] {
    return [...this.awaited];
  }
}

/** What one rank exchanges with another. */
interface Peer {
  readonly rank: number;
  readonly toIt: Ring;
  readonly fromIt: Ring;
  readonly outgoing: Outgoing[];
  readonly expected: Expected[];
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
      frame: new Uint8Array(FRAME_BYTES + HEADER_BYTES),
      frameAt: 0,
      incoming: undefined,
    }));
    this.#tables = Array.from({ length: size }, (_, each) => tableOf(board, each));
    this.#bell = this.#tables[rank] as Int32Array;
  }

  post(context: number, sends: readonly Message[], receives: readonly Message[]): Posted {
    const posted = new Pending(this);
    for (const { peer, header, payload } of sends) {
      const frame = new Uint8Array(FRAME_BYTES);
      const view = new DataView(frame.buffer);
      view.setInt32(0, context, true);
      view.setFloat64(8, payload.length, true);
      this.#peer(peer).outgoing.push({ posted, parts: [frame, header, payload], part: 0, at: 0 });
      posted.open++;
    }
    for (const message of receives) {
      posted.open++;
      posted.awaited.push(message.peer);
      this.#expect(this.#peer(message.peer), { context, message, posted });
    }
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
      if (incoming.posted) arrive(peer, incoming.posted);
      else this.#keepOrDeliver(peer, incoming);
    }
  }

  #expect(peer: Peer, expected: Expected): void {
    const early = taken(peer.early, expected.context);
    if (early) deliver(peer, early, expected);
    else peer.expected.push(expected);
  }

  /** For a message that nobody expected when it began to come; it may be expected by now. */
  #keepOrDeliver(peer: Peer, incoming: Incoming): void {
    const expected = taken(peer.expected, incoming.context);
    if (expected) deliver(peer, incoming, expected);
    else peer.early.push(incoming);
  }

  /** The error of a rank that has failed, or that has ended and was to send something. */
  #goneRank(posted: Pending): BackendError | undefined {
    for (const { rank } of this.#peers) {
      const state = Atomics.load(this.#tables[rank] as Int32Array, STATE);
      if (state === FAILED) return new BackendError(`rank ${rank} failed: ${reasonOfRank(this.board, rank)}`);
      if (state === ENDED && posted.awaited.includes(rank))
        return new BackendError(`rank ${rank} has ended without a part in this call`);
    }
    return undefined;
  }
}

/** The message whose frame has come; its payload goes where it is expected, or is kept. */
function incomingOf({ frame, expected }: Peer): Incoming {
  const view = new DataView(frame.buffer);
  const context = view.getInt32(0, true);
  const length = view.getFloat64(8, true);
  const header = frame.slice(FRAME_BYTES);
  const found = taken(expected, context);
  found?.message.header.set(header);
  const payload = found ? found.message.payload : new Uint8Array(length);
  return { context, length, header, payload, posted: found?.posted, at: 0 };
}

/** Takes the first of a context out of a list. */
function taken<T extends { readonly context: number }>(list: T[], context: number): T | undefined {
  const at = list.findIndex((each) => each.context === context);
  return at === -1 ? undefined : list.splice(at, 1)[0];
}

function deliver(peer: Peer, { header, payload }: Incoming, { message, posted }: Expected): void {
  message.header.set(header);
  message.payload.set(payload.subarray(0, message.payload.length));
  arrive(peer, posted);
}

function arrive(peer: Peer, posted: Pending): void {
  posted.open--;
  posted.awaited.splice(posted.awaited.indexOf(peer.rank), 1);
}

const tableOf = (board: SharedArrayBuffer, rank: number) => new Int32Array(board, rank * RANK_BYTES, TABLE);
const reasonAt = (board: SharedArrayBuffer, rank: number) =>
  new Uint8Array(board, rank * RANK_BYTES + TABLE * 4, REASON_BYTES);
const reasonOfRank = (board: SharedArrayBuffer, rank: number) => wordsOf(reasonAt(board, rank));

function ring(board: SharedArrayBuffer, rank: number): void {
  const table = tableOf(board, rank);
  Atomics.add(table, BELL, 1);
  Atomics.notify(table, BELL);
}

/** Notes that a rank has ended, or failed for a reason, unless it has already, and rings for all. */
export function endRank(board: SharedArrayBuffer, rank: number, size: number, reason?: string): void {
  const table = tableOf(board, rank);
  if (Atomics.load(table, STATE) !== 0) return;
  if (reason !== undefined) reasonAt(board, rank).set(headerOf(reason));
  Atomics.store(table, STATE, reason === undefined ? ENDED : FAILED);
  for (let each = 0; each < size; each++) ring(board, each);
}

/** Waits for the bell, awake for a moment, then asleep where the thread may. */
function listen(bell: Int32Array, heard: number, milliseconds: number): void {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(bell, BELL) !== heard) return;
  Atomics.wait(bell, BELL, heard, milliseconds);
}
