/** The calls of a runtime: each takes effect in its turn, and what went wrong with it is a fault of what it wrote. */
import { DisposedError } from '../errors';
import { bytesPerElement } from '../tensor/dtype';
import type { Elements } from '../tensor/elements';
import type { HostTensor } from '../tensor/host';
import type { Operand, Storage } from '../tensor/storage';
import { type Fault, faultIn, type Part, Work, writersOf } from '../tensor/work';
import type { Backend, Control } from './backend';
import { guard } from './guard';
import type { Op } from './op';
import { Order, type Turn, until } from './order';

export class Calls<T extends Operand> {
  readonly #order = new Order();
  /** Faults in the order in which they came up, of which nobody has been told. */
  #untold: Fault[] = [];
  /** Errors that somebody has been told of, which other faults may have too: what ends several calls is one. */
  readonly #told = new WeakSet<object>();
  /** Calls of which it is not known yet whether they have a fault though their turn is over. */
  readonly #unsettled = new Set<Work>();
  /** Whom `watch` tells of calls. */
  #onCall: ((op: string, outputs: readonly T[]) => void) | undefined;
  #disposed = false;

  constructor(private readonly backend: Backend) {}

  /**
   * Calls an op whose arguments are checked, at once if nothing is ahead of it. What keeps it from its results, or
   * its device finds in them, is a fault of these and of all that is computed from them.
   */
  run<Call>(op: Op<Call>, call: CallOf<Call>, inputs: readonly T[], outputs: readonly T[], control: Control): void {
    this.#order.makeRoomForCall();
    const work = new Work();
    const held: Storage[] = [];
    let sources = NONE;
    let bytes = 0;
    for (const input of inputs) {
      held.push(input.storage.hold());
      const { writers } = input;
      if (writers.length > 0) sources = [...sources, ...writers];
    }
    for (const part of call.reads ?? NO_PARTS) sources = [...sources, ...writersOf(part)];
    for (const output of outputs) {
      held.push(output.storage.hold());
      bytes += output.size * bytesPerElement(output.dtype);
      output.isWrittenBy(work);
    }
    for (const { written, from, to } of call.writes ?? NO_PARTS) written.add(from, to, work);
    this.#order.take(this.#turn(op, call, { work, sources, held }, control), bytes);
    this.#onCall?.(op.name, outputs);
  }

  /** Runs `work` and tells of each call of an op that it makes: which, and what it writes, perhaps later. */
  watch<Result>(onCall: (op: string, outputs: readonly T[]) => void, work: () => Result): Result {
    const before = this.#onCall;
    this.#onCall = onCall;
    try {
      return work();
    } finally {
      this.#onCall = before;
    }
  }

  *#turn<Call>(op: Op<Call>, call: CallOf<Call>, { work, sources, held }: CallInTurn, control: Control): Turn {
    let answer: Promise<void> | undefined;
    let fault: Fault | undefined;
    try {
      // A call follows only from elements that are right.
      for (const _ in call.known) for (const source of sources) if (!source.isSettled) yield* until(source.settled);
      fault = faultIn(sources);
      if (!fault) {
        if (this.#disposed) throw disposedWhilePending();
        const guarded = guard(control);
        guarded.check();
        const values: Record<string, HostTensor> = {};
        for (const name in call.known) {
          const value = this.backend.known(call.known[name] as Elements);
          values[name] = value instanceof Promise ? yield* until(value) : value;
        }
        answer = yield* this.backend.run(op, call.make(values), guarded.control);
        guarded.check();
      }
    } catch (error) {
      fault = this.#faultOf(error);
    } finally {
      for (const storage of held) storage.letGo();
    }
    // What wrote its inputs may have turned out to be at fault while it paused.
    if (answer || sources.some(isPending)) void this.#settleLater({ work, sources }, fault, answer);
    else work.settle(fault ?? faultIn(sources));
  }

  async #settleLater(
    { work, sources }: Omit<CallInTurn, 'held'>,
    fault: Fault | undefined,
    answer: Promise<void> | undefined,
  ) {
    this.#unsettled.add(work);
    let own: { readonly error: unknown } | undefined;
    await answer?.catch((error) => {
      own = { error };
    });
    for (const { settled } of sources) await settled;
    this.#unsettled.delete(work);
    work.settle(fault ?? faultIn(sources) ?? (own && this.#faultOf(own.error)));
  }

  /** That somebody is being told of an error: `finish()` tells of no fault with it. Returns it, to be thrown. */
  tell(error: unknown): unknown {
    for (const fault of this.#untold) if (Object.is(fault.error, error)) fault.told = true;
    if (typeof error === 'object' && error !== null) this.#told.add(error);
    return error;
  }

  #faultOf(error: unknown): Fault {
    const fault = { error, told: this.#told.has(error as object) };
    this.#untold = this.#untold.filter(({ told }) => !told).slice(0, MOST_UNTOLD - 1);
    this.#untold.push(fault);
    return fault;
  }

  /** For tensors: a copy of bytes of memory once all that was called before is computed. */
  async read({ storage, writers }: Operand, byteOffset: number, length: number): Promise<Uint8Array> {
    this.#order.makeRoom();
    storage.hold();
    const bytes = await new Promise<Uint8Array>((resolve, reject) => {
      this.#order.do(() => {
        if (this.#disposed) reject(disposedWhilePending());
        else if (faultIn(writers)) resolve(NO_BYTES);
        // A device's copy takes effect in its turn, whenever it arrives.
        else this.backend.read(storage.buffer, byteOffset, length).then(resolve, reject);
        storage.letGo();
      });
    });
    for (const { settled } of writers) await settled;
    const fault = faultIn(writers);
    if (fault) throw this.tell(fault.error);
    return bytes;
  }

  /**
   * Resolves when everything called so far is computed; time calls up to here. Rejects with the first fault of which
   * neither a read nor this has told; later ones up to here, which often have the same cause, count as told.
   */
  async finish(): Promise<void> {
    this.assertUsable('finish()');
    this.#order.makeRoom();
    await new Promise<void>((resolve) => this.#order.do(resolve));
    await this.backend.finish?.();
    await Promise.all([...this.#unsettled].map(({ settled }) => settled));
    const [first] = this.#untold.splice(0).filter(({ told }) => !told);
    if (first) throw this.tell(first.error);
  }

  assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the runtime was disposed`);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Gives back the backend's memory and threads; pending calls reject. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.backend.dispose();
  }
}

/** Makes a call in its turn, when the elements of tensors are known that it follows from. */
interface CallOf<Call> {
  make(values: Readonly<Record<string, HostTensor>>): Call;
  readonly known?: Readonly<Record<string, Elements>>;
  /** Beside its inputs and outputs. */
  readonly reads?: readonly Part[] | undefined;
  readonly writes?: readonly Part[] | undefined;
}

/** A call whose turn is to come. */
interface CallInTurn {
  readonly work: Work;
  /** What wrote its inputs. */
  readonly sources: readonly Work[];
  /** Memory that is there until it has been computed. */
  readonly held: readonly Storage[];
}

const disposedWhilePending = () => new DisposedError('the runtime was disposed while a call was pending');
const NONE: readonly Work[] = [];
const NO_PARTS: readonly Part[] = [];
const isPending = ({ isSettled }: Work) => !isSettled;

const NO_BYTES = new Uint8Array(0);
/** Faults of which nobody asks are forgotten beyond it, the latest first. */
const MOST_UNTOLD = 1000;
