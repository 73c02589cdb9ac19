/**
 * Ranks by Open MPI, called through koffi: messages without blocking, whose bytes go straight from the runtime's memory. All
 * calls are made on the thread of the runtime, which looks after messages between kernels: a thread of MPI's own would wait
 * awake and take the kernels' core.
 */
import { BackendError, UnsupportedError } from '../errors';
import { checkInstalled } from '../packages';
import { reasonOf } from '../text/reason';
import { HEADER_BYTES, headerOf, type Message, type Posted, type Transport, wordsOf } from './transport';

/** Addresses and handles. */
type Pointer = bigint;
type Pass = Pointer | null | number;
type Native = (...given: Pass[]) => number;

/** What koffi does for us; its own types are of what it can do for others. */
interface Koffi {
  load(path: string): { func(prototype: string): Native };
  address(value: unknown): Pointer;
}

const LIBRARIES: Readonly<Record<string, string>> = { darwin: 'libmpi.40.dylib' };
const DEFAULT_LIBRARY = 'libmpi.so.40';

/** Numbers of handles in Fortran, which Open MPI keeps. */
const WORLD = 0;
const BYTE = 1;
const ERRORS_RETURN = 2;

const THREAD_FUNNELED = 1;
const ANY_SOURCE = -1;
const TAG_OF_FAREWELLS = 1;
/** MPI counts in 32 bits with a sign. */
const MOST_BYTES = 2 ** 30;

/** Loads of the state of messages before others get the core. */
const TESTS = 16;
/** How often it is looked whether other ranks are well. */
const ROUNDS = 64;
/** Waiting awake, then half asleep, then mostly asleep: milliseconds since the wait began, and of one sleep. */
const NAPS = [
  { after: 0.2, sleep: 0.05 },
  { after: 50, sleep: 1 },
];
/** How long a rank that fails leaves the others to say so before its launcher ends them all. */
const GRACE_MILLISECONDS = 500;

const PROTOTYPES = {
  initialized: 'int MPI_Initialized(void *flag)',
  init: 'int MPI_Init_thread(void *argc, void *argv, int required, void *provided)',
  communicator: 'void *MPI_Comm_f2c(int number)',
  type: 'void *MPI_Type_f2c(int number)',
  handler: 'void *MPI_Errhandler_f2c(int number)',
  setHandler: 'int MPI_Comm_set_errhandler(void *comm, void *handler)',
  rank: 'int MPI_Comm_rank(void *comm, void *rank)',
  size: 'int MPI_Comm_size(void *comm, void *size)',
  send: 'int MPI_Isend(void *bytes, int count, void *type, int peer, int tag, void *comm, void *request)',
  receive: 'int MPI_Irecv(void *bytes, int count, void *type, int peer, int tag, void *comm, void *request)',
  testAll: 'int MPI_Testall(int count, void *requests, void *flag, void *statuses)',
  status: 'int MPI_Request_get_status(void *request, void *flag, void *status)',
  cancel: 'int MPI_Cancel(void *request)',
  free: 'int MPI_Request_free(void *request)',
  text: 'int MPI_Error_string(int code, void *text, void *length)',
  finalize: 'int MPI_Finalize()',
  yield: 'int sched_yield()',
} as const;

type Library = Readonly<Record<keyof typeof PROTOTYPES, Native>>;

/** Numbers that MPI writes, in memory that stays where it is. */
const memory = (bytes: number) => new ArrayBuffer(bytes);

/** Opens the library, which must be Open MPI. @throws {UnsupportedError} one thing that is missing, or another MPI */
export async function openLibrary(path = process.env.SACCADE_MPI_LIBRARY): Promise<{ koffi: Koffi; library: Library }> {
  checkInstalled({ koffi: 'MPI' });
  const name = path ?? LIBRARIES[process.platform] ?? DEFAULT_LIBRARY;
  // Bundlers of pages should not look for it.
  const companion: string = 'koffi';
  const { default: koffi }: { default: Koffi } = await import(/* webpackIgnore: true */ /* @vite-ignore */ companion);
  let opened: ReturnType<Koffi['load']>;
  try {
    opened = koffi.load(name);
  } catch (error) {
    throw new UnsupportedError(
      `Open MPI's library ${name} cannot be opened: install Open MPI (Debian: apt install openmpi-bin libopenmpi-dev), or name the library in SACCADE_MPI_LIBRARY (${reasonOf(error)})`,
    );
  }
  checkIsOpenMpi(koffi, opened, name);
  const functions = Object.entries(PROTOTYPES).map(([key, prototype]) => [key, opened.func(prototype)]);
  return { koffi, library: Object.fromEntries(functions) };
}

function checkIsOpenMpi(koffi: Koffi, opened: ReturnType<Koffi['load']>, name: string): void {
  const [text, length] = [new Uint8Array(memory(8192)), new Int32Array(memory(8))];
  try {
    opened.func('int MPI_Get_library_version(void *text, void *length)')(koffi.address(text), koffi.address(length));
  } catch {
    throw new UnsupportedError(`${name} is no MPI library: it has no MPI_Get_library_version`);
  }
  const [version] = new TextDecoder().decode(text.subarray(0, length[0])).split('\0')[0]?.split('\n') ?? [];
  if (!version?.startsWith('Open MPI'))
    throw new UnsupportedError(
      `${name} is '${version}', whose handles are numbers where Open MPI's are addresses: use Open MPI, and its mpirun`,
    );
}

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
  readonly #farewell = headerOf('');
  readonly #farewellRequest = new BigUint64Array(memory(8));
  readonly #farewells: Requests[] = [];
  /** Ranks that have ended well. */
  readonly #ended = new Set<number>();
  #hasSaidFarewell = false;

  private constructor(
    private readonly koffi: Koffi,
    private readonly library: Library,
  ) {
    this.#numberAt = koffi.address(this.#number);
    this.#world = koffi.address(library.communicator(WORLD));
    this.#byte = koffi.address(library.type(BYTE));
    const handler = koffi.address(library.handler(ERRORS_RETURN));
    this.call('MPI_Comm_set_errhandler', library.setHandler(this.#world, handler));
    this.rank = this.#numberOf('MPI_Comm_rank', library.rank);
    this.size = this.#numberOf('MPI_Comm_size', library.size);
    this.#expectFarewell();
  }

  /** Starts MPI, and ends it with the process. */
  static async open(path?: string): Promise<MpiTransport> {
    const { koffi, library } = await openLibrary(path);
    const flag = new Int32Array(memory(8));
    library.initialized(koffi.address(flag));
    if (flag[0] !== 0) throw new BackendError('MPI has been started in this process already: open one communicator');
    const code = library.init(null, null, THREAD_FUNNELED, koffi.address(flag));
    if (code !== 0) throw new BackendError(`MPI_Init_thread failed with the code ${code}`);
    const transport = new MpiTransport(koffi, library);
    transport.#endWithProcess();
    return transport;
  }

  post(context: number, sends: readonly Message[], receives: readonly Message[]): Posted {
    const requests = new Requests(this, this.koffi, sends, receives);
    const tag = 2 * context + 2;
    // Room first, so that messages find it.
    for (const { peer, header, payload } of receives) {
      this.#start(requests, 'receive', header, peer, tag);
      this.#startInParts(requests, 'receive', payload, peer, tag + 1);
    }
    for (const { peer, header, payload } of sends) {
      this.#start(requests, 'send', header, peer, tag);
      this.#startInParts(requests, 'send', payload, peer, tag + 1);
    }
    return requests;
  }

  fail(reason: string): void {
    this.#sayFarewell(`!${reason}`);
  }

  close(): void {
    this.#sayFarewell('ended');
  }

  /** Whether all requests are through. */
  testAll(requests: Requests): boolean {
    const { count, address } = requests;
    this.call('MPI_Testall', this.library.testAll(count, address, this.#numberAt, null));
    return this.#number[0] !== 0;
  }

  isThrough(request: Pointer): boolean {
    // A status may be left out as null, whose address is 0 with Open MPI.
    this.call('MPI_Request_get_status', this.library.status(request, this.#numberAt, null));
    return this.#number[0] !== 0;
  }

  yield(): void {
    this.library.yield();
  }

  /** Throws if a rank has failed, or has ended that was to send something. */
  checkOthers(missing: () => readonly number[]): void {
    while (this.#testFarewell()) {
      const [from, ...words] = wordsOf(this.#farewell).split(' ');
      const said = words.join(' ');
      if (said.startsWith('!')) throw new BackendError(`rank ${from} failed: ${said.slice(1)}`);
      this.#ended.add(Number(from));
      this.#expectFarewell();
    }
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

  addressOf(bytes: Uint8Array): Pointer {
    const { buffer, byteOffset } = bytes;
    let base = this.#bases.get(buffer);
    if (base === undefined) {
      base = this.koffi.address(new Uint8Array(buffer));
      this.#bases.set(buffer, base);
    }
    return base + BigInt(byteOffset);
  }

  #numberOf(name: string, native: Native): number {
    this.call(name, native(this.#world, this.#numberAt));
    return this.#number[0] as number;
  }

  #startInParts(requests: Requests, way: 'send' | 'receive', bytes: Uint8Array, peer: number, tag: number): void {
    for (let at = 0; at === 0 || at < bytes.length; at += MOST_BYTES)
      this.#start(requests, way, bytes.subarray(at, at + MOST_BYTES), peer, tag);
  }

  #start(requests: Requests, way: 'send' | 'receive', bytes: Uint8Array, peer: number, tag: number): void {
    const address = bytes.length > 0 ? this.addressOf(bytes) : null;
    const native = this.library[way];
    const code = native(address, bytes.length, this.#byte, peer, tag, this.#world, requests.next(way, peer, bytes));
    this.call(way === 'send' ? 'MPI_Isend' : 'MPI_Irecv', code);
  }

  #expectFarewell(): void {
    if (this.size === 1) return;
    const { receive } = this.library;
    const [at, request] = [this.addressOf(this.#farewell), this.koffi.address(this.#farewellRequest)];
    const code = receive(at, HEADER_BYTES, this.#byte, ANY_SOURCE, TAG_OF_FAREWELLS, this.#world, request);
    this.call('MPI_Irecv', code);
  }

  #testFarewell(): boolean {
    // A request that is through becomes MPI_REQUEST_NULL, which is always through: none is waited for then.
    if (this.size === 1) return false;
    const request = this.koffi.address(this.#farewellRequest);
    this.call('MPI_Testall', this.library.testAll(1, request, this.#numberAt, null));
    return this.#number[0] !== 0;
  }

  #sayFarewell(words: string): void {
    if (this.#hasSaidFarewell) return;
    this.#hasSaidFarewell = true;
    const message = headerOf(`${this.rank} ${words}`);
    const others = Array.from({ length: this.size }, (_, peer) => peer).filter((peer) => peer !== this.rank);
    const sends = others.map((peer) => ({ peer, header: message, payload: message }));
    const requests = new Requests(this, this.koffi, sends, []);
    for (const { peer } of sends) this.#start(requests, 'send', message, peer, TAG_OF_FAREWELLS);
    this.#farewells.push(requests);
    this.testAll(requests);
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
        const request = this.koffi.address(this.#farewellRequest);
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
        for (const requests of this.#farewells) this.testAll(requests);
        sleep(5);
      }
    });
  }
}

/** The requests of posted messages, in memory where MPI keeps them. */
class Requests implements Posted {
  readonly #requests: BigUint64Array;
  readonly address: Pointer;
  /** Who is to send, and which request its header has. */
  readonly #awaited: { readonly peer: number; readonly at: number }[] = [];
  /** Memory that MPI reads and writes meanwhile. */
  readonly #kept: Uint8Array[] = [];
  #tests = 0;
  #began = performance.now();
  count = 0;

  constructor(
    private readonly transport: MpiTransport,
    koffi: Koffi,
    sends: readonly Message[],
    receives: readonly Message[],
  ) {
    const parts = [...sends, ...receives].reduce(
      (n, { payload }) => n + 2 + Math.floor(payload.length / MOST_BYTES),
      0,
    );
    this.#requests = new BigUint64Array(memory(8 * Math.max(1, parts)));
    this.address = koffi.address(this.#requests);
  }

  /** Where the next request is written. */
  next(way: 'send' | 'receive', peer: number, bytes: Uint8Array): Pointer {
    const at = this.count++;
    this.#kept.push(bytes);
    if (way === 'receive' && !this.#awaited.some((each) => each.peer === peer)) this.#awaited.push({ peer, at });
    return this.address + BigInt(8 * at);
  }

  advance(milliseconds: number): boolean {
    const ends = performance.now() + milliseconds;
    for (;;) {
      if (this.transport.testAll(this)) return true;
      this.#tests++;
      if (this.#tests % ROUNDS === 1) this.transport.checkOthers(() => this.missing());
      const now = performance.now();
      if (now > ends) return false;
      if (this.#tests % TESTS === 0) this.#rest(now - this.#began);
    }
  }

  missing(): number[] {
    const open = this.#awaited.filter(({ at }) => !this.transport.isThrough(this.#requests[at] as bigint));
    return open.map(({ peer }) => peer);
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
