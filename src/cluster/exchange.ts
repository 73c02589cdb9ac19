/** What all calls of a communicator are made of: a piece to each rank, and one from each, all at once. */
import { BackendError, ShapeError } from '../errors';
import type { Backend, Control } from '../runtime/backend';
import type { Beside, BesideCall } from '../runtime/op';
import { type Pause, until } from '../runtime/order';
import { bytesPerElement, type DType } from '../tensor/dtype';
import { formatShape, type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { reasonOf } from '../text/reason';
import type { Flights } from './flights';
import { headerOf, type Message, type Posted, type Transport, wordsOf } from './transport';

/** The ranks of a communicator and how they reach each other. */
export interface Group {
  readonly transport: Transport;
  /** For messages of this communicator alone. */
  readonly context: number;
  /** The rank in the whole program of each of the communicator's. */
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
  /** Of one axis: the pieces one after the other. */
  readonly out: Tensor;
}

export const exchanging: Beside<ExchangeCall> = { name: 'exchange', begin };

/** A piece that another rank sends. */
interface Expected extends Message {
  readonly from: number;
  readonly words: string;
}

const NO_BYTES = new Uint8Array(0);

const describe = (what: string, dtype: DType, shape: Shape) => `${what}: ${dtype} ${formatShape(shape)}`;

function* begin(call: ExchangeCall, given: BesideCall): Generator<Pause, Pause, void> {
  const { group, what, sends, receives, out } = call;
  const { backend, fault, control, isComputing, end } = given;
  const { rank, members } = group;
  const words = fault ? `!${reasonOf(fault.error)}` : undefined;

  const pieces: Uint8Array[] = [];
  for (const piece of sends) pieces.push(piece && !fault ? yield* bytesToSend(backend, piece) : NO_BYTES);
  const target = roomFor(backend, out);
  const messages: Message[] = [];
  const expected: Expected[] = [];
  let at = 0;
  for (const [peer, member] of members.entries()) {
    const [piece, shape] = [sends[peer], receives[peer]];
    const length = shape ? sizeOf(shape) * bytesPerElement(out.dtype) : 0;
    const payload = target.subarray(at, at + length);
    at += length;
    if (peer === rank) payload.set(pieces[peer]?.subarray(0, length) ?? NO_BYTES);
    else {
      if (piece) {
        const header = headerOf(words ?? describe(what, piece.dtype, piece.shape));
        messages.push({ peer: member, header, payload: pieces[peer] as Uint8Array });
      }
      if (shape) {
        const header = headerOf('');
        expected.push({ peer: member, header, payload, from: peer, words: describe(what, out.dtype, shape) });
      }
    }
  }
  const posted = group.transport.post(group.context, messages, expected);
  const land = () => {
    checkAll(group, expected);
    if (!backend.view) backend.write(out.storage.buffer, target);
  };
  return group.flights.add({ isComputing, advance: advancing(group, what, posted, control, land, end) });
}

/** What goes on with posted messages until they are through, and then calls `land` and `end`; true once it has. */
function advancing(
  group: Group,
  what: string,
  posted: Posted,
  { signal }: Control,
  land: () => void,
  end: BesideCall['end'],
) {
  const ends = performance.now() + group.seconds * 1000;
  return (milliseconds: number): boolean => {
    try {
      signal?.throwIfAborted();
      if (!posted.advance(milliseconds)) {
        if (performance.now() > ends) throw lateError(group, what, posted.missing());
        return false;
      }
      land();
      end();
    } catch (error) {
      end({ error });
    }
    return true;
  };
}

/** The elements of a contiguous tensor in host memory, in place if they are there. */
function* bytesToSend(backend: Backend, { storage, offset, size, dtype }: Tensor): Generator<Pause, Uint8Array, void> {
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

/** Throws if a rank sent something else than was expected, or the fault of what it was to send. */
function checkAll({ rank }: Group, expected: readonly Expected[]): void {
  for (const { from, words, header } of expected) {
    const came = wordsOf(header);
    if (came === words) continue;
    if (came.startsWith('!')) throw new BackendError(`rank ${from}: ${came.slice(1)}`);
    throw new ShapeError(
      `rank ${from} came with '${came}', rank ${rank} expected '${words}': all ranks make the same calls in the same order, with tensors that fit together`,
    );
  }
}

function lateError({ members, seconds }: Group, what: string, missing: readonly number[]): BackendError {
  const ranks = missing.map((member) => members.indexOf(member));
  const who = ranks.length > 0 ? `rank ${ranks.join(', ')} did not come` : 'what was sent was not taken';
  return new BackendError(`${what}: ${who} within ${seconds} s`);
}

/** Resolves once all ranks have said the same words, such as the version that they run. */
export async function meet(group: Group, words: string): Promise<void> {
  const { transport, members, rank, flights, context } = group;
  const others = members.flatMap((peer, from) => (from === rank ? [] : { peer, from }));
  const sends = others.map(({ peer }) => ({ peer, header: headerOf(words), payload: NO_BYTES }));
  const receives = others.map((other) => ({ ...other, header: headerOf(''), payload: NO_BYTES, words }));
  const posted = transport.post(context, sends, receives);
  let failed: { readonly error: unknown } | undefined;
  const end = (thrown?: { readonly error: unknown }) => {
    failed = thrown;
  };
  const check = () => checkAll(group, receives);
  await flights.add({ isComputing: () => false, advance: advancing(group, 'the start', posted, {}, check, end) })
    .promise;
  if (failed) throw failed.error;
}
