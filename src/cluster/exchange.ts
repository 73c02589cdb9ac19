/** What all calls of a communicator are made of: a piece to each rank, and one from each, all at once. */
import { BackendError, ShapeError } from '../errors';
import type { Backend, Control } from '../runtime/backend';
import type { Beside, BesideCall } from '../runtime/beside';
import { type Pause, until } from '../runtime/order';
import { bytesPerElement, type DType } from '../tensor/dtype';
import { formatShape, type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { reasonOf } from '../text/reason';
import type { Flights } from './flights';
import { type Expected, type Message, missingOf, type Posted, type Transport } from './transport';

/** The ranks of a communicator and how they reach each other. */
export interface Group {
  readonly transport: Transport;
  /** For messages of this communicator alone. */
  readonly context: number;
  /** The rank in the whole program of each of the communicator's, which messages to users name. */
  readonly members: readonly number[];
  readonly rank: number;
  readonly flights: Flights;
  /** How long a call waits for other ranks. */
  readonly seconds: number;
}

/** Indexed by rank; undefined where nothing is sent or received. */
export interface ExchangeCall {
  readonly group: Group;
  /** The name of the call and its number, which are the same on all ranks. */
  readonly what: string;
  /** Contiguous. */
  readonly sends: readonly (Tensor | undefined)[];
  readonly receives: readonly (Shape | undefined)[];
  /** A tensor of its own: the pieces one after the other. */
  readonly out: Tensor;
}

/** What another rank sends, which should have these words. */
interface Awaited extends Expected {
  readonly words: string;
}

const NO_BYTES = new Uint8Array(0);
/** Where the words are those of a fault. */
const FAULT = '!';

export const exchanging: Beside<ExchangeCall> = {
  name: 'exchange',

  *begin(call: ExchangeCall, { backend, fault, control, isComputing, end }: BesideCall): Generator<Pause, Pause, void> {
    const { group, what, sends, out } = call;
    const pieces: Uint8Array[] = [];
    for (const piece of sends) pieces.push(piece && !fault ? yield* bytesOf(backend, piece) : NO_BYTES);
    const target = roomFor(backend, out);
    const { messages, expected } = messagesOf(call, pieces, target, fault && FAULT + reasonOf(fault.error));
    const posted = group.transport.post(group.context, messages, expected);
    const transfer = new Transfer(group, what, posted, { messages, expected }, control, (thrown) => {
      if (!thrown && !backend.view) backend.write(out.storage.buffer, target);
      // What has been given up may still be read and written.
      if (transfer.isAbandoned) for (const tensor of [out, ...sends]) tensor?.storage.retain();
      end(thrown);
    });
    return group.flights.add({ isComputing, advance: (milliseconds) => transfer.advance(milliseconds) });
  },
};

/** The pieces for other ranks and from them; the own one is copied. */
function messagesOf(
  { group, what, sends, receives, out }: ExchangeCall,
  pieces: readonly Uint8Array[],
  target: Uint8Array,
  fault: string | undefined,
) {
  const messages: Message[] = [];
  const expected: Awaited[] = [];
  let at = 0;
  for (const [rank, peer] of group.members.entries()) {
    const [piece, shape] = [sends[rank], receives[rank]];
    const [bytes, length] = [pieces[rank] ?? NO_BYTES, shape ? sizeOf(shape) * bytesPerElement(out.dtype) : 0];
    const payload = target.subarray(at, at + length);
    at += length;
    if (rank === group.rank) {
      payload.set(bytes.subarray(0, length));
      continue;
    }
    if (piece) messages.push({ peer, words: fault ?? describe(what, piece.dtype, piece.shape), payload: bytes });
    if (shape) expected.push({ peer, words: describe(what, out.dtype, shape), payload });
  }
  return { messages, expected };
}

const describe = (what: string, dtype: DType, shape: Shape) => `${what}: ${dtype} ${formatShape(shape)}`;

/** Messages under way. */
class Transfer {
  /** Whether it has ended before all messages were through. */
  isAbandoned = false;
  readonly #ends: number;

  /** `end` is called once: when all is there, or with what went wrong. */
  constructor(
    private readonly group: Group,
    private readonly what: string,
    private readonly posted: Posted,
    private readonly way: { readonly messages: readonly Message[]; readonly expected: readonly Awaited[] },
    private readonly control: Control,
    private readonly end: BesideCall['end'],
  ) {
    this.#ends = performance.now() + group.seconds * 1000;
  }

  /** True once it has ended. */
  advance(milliseconds: number): boolean {
    try {
      this.control.signal?.throwIfAborted();
      if (!this.posted.advance(milliseconds)) {
        if (performance.now() > this.#ends) throw this.#lateError();
        return false;
      }
    } catch (error) {
      this.isAbandoned = true;
      // What has come may say why.
      this.end({ error: this.#firstFailure() ?? error });
      return true;
    }
    const error = this.#firstFailure();
    this.end(error && { error });
    return true;
  }

  /** That of a rank which sent something else than was expected, or the fault of what it was to send. */
  #firstFailure(): Error | undefined {
    for (const [at, { peer, words }] of this.way.expected.entries()) {
      const came = this.posted.words(at);
      if (came === words || came === undefined) continue;
      if (came.startsWith(FAULT)) return new BackendError(sourceOf(came.slice(FAULT.length), peer));
      const own = this.group.transport.rank;
      return new ShapeError(
        `rank ${peer} came with '${came}', rank ${own} expected '${words}': ranks must make the same calls in the same order, with tensors that fit together`,
      );
    }
    return undefined;
  }

  #lateError(): BackendError {
    const missing = missingOf(this.posted, this.way.expected);
    const takers = this.way.messages.map(({ peer }) => peer);
    const who =
      missing.length > 0
        ? `rank ${missing.join(', ')} did not come`
        : `rank ${takers.join(' or ')} did not take what was sent`;
    return new BackendError(`${this.what}: ${who} within ${this.group.seconds} s`);
  }
}

/** A fault goes through many ranks; the first is named. */
const sourceOf = (reason: string, peer: number) => (/^rank \d+/.test(reason) ? reason : `rank ${peer}: ${reason}`);

/** Resolves once all ranks have said the same words, such as the version that they run. */
export async function meet(group: Group, words: string): Promise<void> {
  const { transport, context, members, rank } = group;
  const others = members.filter((_, each) => each !== rank);
  const messages = others.map((peer) => ({ peer, words, payload: NO_BYTES }));
  const posted = transport.post(context, messages, messages);
  let failed: { readonly error: unknown } | undefined;
  const transfer = new Transfer(group, 'the start', posted, { messages, expected: messages }, {}, (thrown) => {
    failed = thrown;
  });
  const { flights } = group;
  const advance = (milliseconds: number) => transfer.advance(milliseconds);
  await flights.add({ isComputing: () => false, advance }).promise;
  if (failed) throw failed.error;
}

/** The elements of a contiguous tensor in host memory, in place if they are there. */
function* bytesOf(backend: Backend, { storage, offset, size, dtype }: Tensor): Generator<Pause, Uint8Array, void> {
  const bytes = bytesPerElement(dtype);
  const view = backend.view?.(storage.buffer);
  if (view) return new Uint8Array(view.buffer, view.byteOffset + offset * bytes, size * bytes);
  return yield* until(backend.read(storage.buffer, offset * bytes, size * bytes));
}

function roomFor(backend: Backend, { storage, size, dtype }: Tensor): Uint8Array {
  const bytes = size * bytesPerElement(dtype);
  const view = backend.view?.(storage.buffer);
  return view ? new Uint8Array(view.buffer, view.byteOffset, bytes) : new Uint8Array(new ArrayBuffer(bytes));
}
