/**
 * Ranks by Open MPI, called through koffi: messages without blocking, whose bytes go straight from the runtime's memory. All
 * calls are made on the thread of the runtime, which looks after messages between kernels: a thread of MPI's own would wait
 * awake and take the kernels' core.
 */
import { BackendError } from '../errors';
import { reasonOf } from '../text/reason';
import { type Koffi, type Library, memory, type Native, openLibrary, type Pointer } from './open-mpi';
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

/** Numbers of handles in Fortran, which Open MPI keeps. */
const WORLD = 0;
const BYTE = 1;
const ERRORS_RETURN = 2;

const THREAD_FUNNELED = 1;
const ANY_SOURCE = -1;
/** MPI counts in 32 bits with a sign. */
const MOST_BYTES = 2 ** 30;

/**
 * The frame of a message: the length of its words, the tag of its payload or 0 if that is in the frame, its length, words, payload.
 * Open MPI sends so much on one machine without asking whether there is room for it.
 */
const FRAME_BYTES = 4000;
const FRAME_HEAD = 16;
/** Bytes of a payload that is sent in its frame. */
const SMALL = FRAME_BYTES - FRAME_HEAD - MOST_WORDS;

const TAG_OF_FAREWELLS = 1;
/** Frames have the even tags from here on, one for each context; payloads the odd ones. */
const FIRST_TAG = 2;
/** Payloads of so many messages to a rank may be under way, which their tags tell apart. */
const PAYLOAD_TAGS = 4096;

/** Tests of messages before others get the core. */
const TESTS = 64;
/** Waiting awake, then half asleep, then mostly asleep: milliseconds since the wait began, and of one sleep. */
const NAPS = [
  { after: 0.5, sleep: 0.05 },
  { after: 50, sleep: 1 },
];
/** How long a rank that fails leaves the others to say so before its launcher ends them all. */
const GRACE_MILLISECONDS = 500;

export class MpiTransport implements Transport {
  readonly name = 'mpi';
  readonly rank: number;
  readonly size: number;
  readonly #world: Pointer;
  readonly #byte: Pointer;
  /** Numbers that calls return by address. */
  readonly #number = new Int32Array(memory(8));
  readonly #numberAt: Pointer;
  /** First addresses of buffers. */
  readonly #bases = new WeakMap<ArrayBufferLike, Pointer>();
  readonly #frames: Frame[] = [];
  readonly #tables: RequestTable[] = [];
  /** Calls whose messages are under way. */
  readonly #underWay = new Set<Requests>();
  /** How many payloads each rank has been sent on their own. */
  readonly #payloads: number[];
  readonly #farewell: Frame;
  readonly #farewellRequest = new BigUint64Array(memory(8));
  readonly #farewells: Requests[] = [];
  /** Ranks that have ended well. */
  readonly #ended = new Set<number>();
  #hasSaidFarewell = false;

  private constructor(
    private readonly koffi: Koffi,
    private readonly library: Library,
  ) {
    this.#numberAt = this.#addressOfValue(this.#number);
    this.#world = this.#addressOfValue(library.communicator(WORLD));
    this.#byte = this.#addressOfValue(library.type(BYTE));
    const handler = this.#addressOfValue(library.handler(ERRORS_RETURN));
    this.call('MPI_Comm_set_errhandler', library.setHandler(this.#world, handler));
    this.rank = this.#numberOf('MPI_Comm_rank', library.rank);
    this.size = this.#numberOf('MPI_Comm_size', library.size);
    this.#payloads = Array.from({ length: this.size }, () => 0);
    this.#farewell = this.takeFrame();
    this.#expectFarewell();
  }

  /** Starts MPI, and ends it with the process. */
  static async open(path?: string): Promise<MpiTransport> {
    const { koffi, library } = await openLibrary(path);
    const flag = new Int32Array(memory(8));
    const flagAt = Number(koffi.address(flag));
    library.initialized(flagAt);
    if (flag[0] !== 0) throw new BackendError('MPI has been started in this process already: open one communicator');
    const code = library.init(null, null, THREAD_FUNNELED, flagAt);
    if (code !== 0) throw new BackendError(`MPI_Init_thread failed with the code ${code}`);
    const transport = new MpiTransport(koffi, library);
    transport.#endWithProcess();
    if (process.env.SACCADE_CLUSTER_SAYS) console.error(`saccade: rank ${transport.rank} has joined`);
    return transport;
  }

  post(context: number, sends: readonly Message[], receives: readonly Expected[]): Posted {
    const requests = new Requests(this, receives, sends);
    const tag = 2 * context + FIRST_TAG;
    // Room first, so that messages find it.
    for (const [at, { peer }] of receives.entries()) requests.expect(at, peer, tag);
    for (const message of sends) requests.send(message, tag);
    this.#underWay.add(requests);
    return requests;
  }

  fail(reason: string): void {
    this.#sayFarewell(`!${reason}`);
  }

  close(): void {
    this.#sayFarewell('ended');
  }

  /** How many of these requests have come through by now, whose places are then in their table; below 0 if none is left. */
  testSome({ count, address, placesAddress }: RequestTable): number {
    this.call('MPI_Testsome', this.library.testSome(count, address, this.#numberAt, placesAddress, null));
    return this.#number[0] as number;
  }

  yield(): void {
    this.library.yield();
  }

  /**
   * Throws if a rank has failed, or has ended that was to send something. Takes what has come for other calls too: who sends it
   * may have to be rid of it before it goes on to what this call waits for.
   */
  lookAround(missing: () => readonly number[]): void {
    while (this.#testFarewell()) {
      const [from, ...words] = this.#farewell.words.split(' ');
      const said = words.join(' ');
      if (said.startsWith('!')) throw new BackendError(`rank ${from} failed: ${said.slice(1)}`);
      this.#ended.add(Number(from));
      this.#expectFarewell();
    }
    // What a rank has sent before it ended is there with its farewell.
    for (const requests of this.#underWay) requests.test();
    if (this.#ended.size === 0) return;
    const gone = missing().find((rank) => this.#ended.has(rank));
    if (gone !== undefined) throw new BackendError(`rank ${gone} has ended without a part in this call`);
  }

  /** Throws unless the code is that of success. */
  call(name: string, code: number): void {
    if (code === 0) return;
    const text = new Uint8Array(memory(1024));
    this.library.text(code, this.addressOf(text), this.#numberAt);
    const words = new TextDecoder().decode(text.subarray(0, this.#number[0]));
    throw new BackendError(`${name}: ${words || `code ${code}`}`);
  }

  addressOf({ buffer, byteOffset }: Uint8Array): Pointer {
    let base = this.#bases.get(buffer);
    if (base === undefined) {
      base = this.#addressOfValue(new Uint8Array(buffer));
      this.#bases.set(buffer, base);
    }
    return base + byteOffset;
  }

  /** Starts to send so many bytes, or to receive at most so many. */
  start(
    way: 'send' | 'receive',
    address: Pointer | null,
    bytes: number,
    peer: number,
    tag: number,
    request: Pointer,
  ): void {
    const code = this.library[way](address, bytes, this.#byte, peer, tag, this.#world, request);
    this.call(way === 'send' ? 'MPI_Isend' : 'MPI_Irecv', code);
  }

  takeFrame(): Frame {
    return this.#frames.pop() ?? new Frame(this);
  }

  takeTable(): RequestTable {
    return this.#tables.pop() ?? new RequestTable(this);
  }

  /** Takes back what nothing reads or writes any more. */
  putBack(requests: Requests, table: RequestTable, frames: readonly Frame[]): void {
    this.#underWay.delete(requests);
    table.count = 0;
    this.#tables.push(table);
    for (const frame of frames) this.#frames.push(frame);
  }

  /** The tag of the next payload for a rank. */
  payloadTag(peer: number): number {
    const sent = this.#payloads[peer] as number;
    this.#payloads[peer] = sent + 1;
    return FIRST_TAG + 1 + 2 * (sent % PAYLOAD_TAGS);
  }

  #addressOfValue(value: unknown): Pointer {
    return Number(this.koffi.address(value));
  }

  #numberOf(name: string, native: Native): number {
    this.call(name, native(this.#world, this.#numberAt));
    return this.#number[0] as number;
  }

  #expectFarewell(): void {
    if (this.size === 1) return;
    const request = this.#addressOfValue(this.#farewellRequest);
    this.start('receive', this.#farewell.address, FRAME_BYTES, ANY_SOURCE, TAG_OF_FAREWELLS, request);
  }

  #testFarewell(): boolean {
    // A request that is through becomes MPI_REQUEST_NULL, which is always through: none is waited for then.
    if (this.size === 1) return false;
    const request = this.#addressOfValue(this.#farewellRequest);
    this.call('MPI_Test', this.library.test(request, this.#numberAt, null));
    return this.#number[0] !== 0;
  }

  #sayFarewell(words: string): void {
    if (this.#hasSaidFarewell) return;
    this.#hasSaidFarewell = true;
    const requests = new Requests(this, [], []);
    for (let peer = 0; peer < this.size; peer++)
      if (peer !== this.rank)
        requests.send({ peer, words: `${this.rank} ${words}`, payload: new Uint8Array(0) }, TAG_OF_FAREWELLS);
    this.#farewells.push(requests);
    requests.test();
  }

  /** A process that ends well waits for the others to; one that fails tells them, and its launcher ends them all. */
  #endWithProcess(): void {
    let uncaught: Error | undefined;
    process.on('uncaughtExceptionMonitor', (error) => {
      uncaught = error;
      this.fail(reasonOf(error));
    });
    process.on('exit', (code) => {
      if (code === 0) {
        this.close();
        const request = this.#addressOfValue(this.#farewellRequest);
        this.library.cancel(request);
        this.library.free(request);
        this.library.finalize();
        return;
      }
      const reason = uncaught ? reasonOf(uncaught) : `it ended with exit code ${code}`;
      this.fail(reason);
      console.error(`saccade: rank ${this.rank} failed: ${reason}`);
      const ends = performance.now() + GRACE_MILLISECONDS;
      while (performance.now() < ends) {
        for (const requests of this.#farewells) requests.test();
        sleep(5);
      }
    });
  }
}

/** Memory for the frame of a message, which stays where it is. */
class Frame {
  readonly #bytes = new Uint8Array(memory(FRAME_BYTES));
  readonly #head = new DataView(this.#bytes.buffer, 0, FRAME_HEAD);
  readonly address: Pointer;

  constructor(transport: MpiTransport) {
    this.address = transport.addressOf(this.#bytes);
  }

  /** Writes a message without its payload, or with it if `payloadTag` is 0; returns how many bytes that is. */
  write({ words, payload }: Message, payloadTag: number): number {
    const length = writeWords(words, this.#bytes.subarray(FRAME_HEAD));
    this.#head.setInt32(0, length, true);
    this.#head.setInt32(4, payloadTag, true);
    this.#head.setFloat64(8, payload.length, true);
    const past = FRAME_HEAD + length;
    if (payloadTag !== 0) return past;
    this.#bytes.set(payload, past);
    return past + payload.length;
  }

  get words(): string {
    return wordsIn(this.#bytes.subarray(FRAME_HEAD, this.#past));
  }

  get payloadTag(): number {
    return this.#head.getInt32(4, true);
  }

  get payloadLength(): number {
    return this.#head.getFloat64(8, true);
  }

  get payload(): Uint8Array {
    return this.#bytes.subarray(this.#past, this.#past + this.payloadLength);
  }

  get #past(): number {
    return FRAME_HEAD + this.#head.getInt32(0, true);
  }
}

/** Requests in memory where MPI finds them, one after the other. */
class RequestTable {
  #capacity = 8;
  #requests = new BigUint64Array(memory(8 * this.#capacity));
  places = new Int32Array(memory(4 * this.#capacity));
  address: Pointer;
  placesAddress: Pointer;
  count = 0;

  constructor(private readonly transport: MpiTransport) {
    [this.address, this.placesAddress] = this.#addresses();
  }

  /** Where the next request is written. */
  next(): Pointer {
    if (this.count === this.#capacity) this.#grow();
    return this.address + 8 * this.count++;
  }

  /** Requests are handles, which may be moved. */
  #grow(): void {
    const before = this.#requests;
    this.#capacity *= 2;
    this.#requests = new BigUint64Array(memory(8 * this.#capacity));
    this.#requests.set(before);
    this.places = new Int32Array(memory(4 * this.#capacity));
    [this.address, this.placesAddress] = this.#addresses();
  }

  #addresses(): [Pointer, Pointer] {
    const at = ({ buffer }: BigUint64Array | Int32Array) => this.transport.addressOf(new Uint8Array(buffer));
    return [at(this.#requests), at(this.places)];
  }
}

/** The messages of a call. */
class Requests implements Posted {
  readonly #table: RequestTable;
  /** In the order of `expected`, and then those that are sent. */
  readonly #frames: Frame[] = [];
  readonly #words: string[] = [];
  /** Memory that MPI writes meanwhile besides that of `expected`, where more comes than that has room for. */
  readonly #dropped: Uint8Array[] = [];
  /** Requests that are not through. */
  #open = 0;
  #tests = 0;
  #began = 0;

  constructor(
    private readonly transport: MpiTransport,
    private readonly expected: readonly Expected[],
    /** Kept, as MPI reads them. */
    readonly sent: readonly Message[],
  ) {
    this.#table = transport.takeTable();
  }

  /** Expects the frame of the message at this place. Those of all come first. */
  expect(at: number, peer: number, tag: number): void {
    const frame = this.transport.takeFrame();
    this.#frames[at] = frame;
    this.#start('receive', frame.address, FRAME_BYTES, peer, tag);
  }

  send(message: Message, tag: number): void {
    const { peer, payload } = message;
    const payloadTag = payload.length > SMALL ? this.transport.payloadTag(peer) : 0;
    const frame = this.transport.takeFrame();
    this.#frames.push(frame);
    this.#start('send', frame.address, frame.write(message, payloadTag), peer, tag);
    if (payloadTag !== 0) this.#startInParts('send', payload, peer, payloadTag);
  }

  words(at: number): string | undefined {
    return this.#words[at];
  }

  advance(milliseconds: number): boolean {
    if (this.test()) return true;
    if (milliseconds === 0) {
      if (this.#tests++ % TESTS === 0) this.#lookAround();
      return false;
    }
    const ends = performance.now() + milliseconds;
    for (;;) {
      for (let at = 0; at < TESTS; at++) if (this.test()) return true;
      this.#lookAround();
      const now = performance.now();
      if (now > ends) return false;
      this.#began ||= now;
      this.#rest(now - this.#began);
    }
  }

  /** Whether all is through; what has come goes where it belongs. */
  test(): boolean {
    const table = this.#table;
    while (this.#open > 0) {
      const through = this.transport.testSome(table);
      if (through === 0) return false;
      this.#open -= through;
      for (let each = 0; each < through; each++) {
        const at = table.places[each] as number;
        if (at < this.expected.length) this.#hear(at);
      }
      if (this.#open === 0) this.transport.putBack(this, table, this.#frames.splice(0));
    }
    return true;
  }

  /** The frame of the message at this place has come. */
  #hear(at: number): void {
    const { peer, payload: room } = this.expected[at] as Expected;
    const frame = this.#frames[at] as Frame;
    this.#words[at] = frame.words;
    const { payloadTag, payloadLength } = frame;
    if (payloadTag === 0) room.set(frame.payload.subarray(0, room.length));
    else if (payloadLength <= room.length)
      this.#startInParts('receive', room.subarray(0, payloadLength), peer, payloadTag);
    else {
      const dropped = new Uint8Array(memory(payloadLength));
      this.#dropped.push(dropped);
      this.#startInParts('receive', dropped, peer, payloadTag);
    }
  }

  #startInParts(way: 'send' | 'receive', bytes: Uint8Array, peer: number, tag: number): void {
    const address = this.transport.addressOf(bytes);
    for (let at = 0; at < bytes.length; at += MOST_BYTES)
      this.#start(way, address + at, Math.min(MOST_BYTES, bytes.length - at), peer, tag);
  }

  #start(way: 'send' | 'receive', address: Pointer, bytes: number, peer: number, tag: number): void {
    this.transport.start(way, address, bytes, peer, tag, this.#table.next());
    this.#open++;
  }

  #lookAround(): void {
    this.transport.lookAround(() => missingOf(this, this.expected));
  }

  #rest(waited: number): void {
    this.transport.yield();
    const nap = NAPS.filter(({ after }) => waited > after).at(-1);
    if (nap) sleep(nap.sleep);
  }
}

const NOTHING = new Int32Array(new SharedArrayBuffer(4));

function sleep(milliseconds: number): void {
  Atomics.wait(NOTHING, 0, 0, milliseconds);
}
