/** The calls of a runtime: each has its turn, and what goes wrong in it becomes a fault of what it writes. */
import { DisposedError } from '../errors';
import { bytesPerElement } from '../tensor/dtype';
import type { Elements } from '../tensor/elements';
import type { HostTensor } from '../tensor/host';
import { type Fault, faultIn, Outcome, type Part, writersOf } from '../tensor/outcome';
import type { CallTensor, Storage } from '../tensor/storage';
import type { Backend, Control } from './backend';
import type { Beside } from './beside';
import { guard } from './guard';
import type { Op } from './op';
import { Order, type Pause, type Turn, until } from './order';

type OnCall<T> = (op: string, outputs: readonly T[]) => void;

export class Calls<T extends CallTensor> {
  readonly #order = new Order();
  /** Faults that nobody has been told of, the oldest first. */
  #unreported: Fault[] = [];
  /** Errors that somebody has been told of: other calls may fail with the same one, such as an abort. */
  readonly #reported = new WeakSet<object>();
  /** Calls whose turn is over and whose outcome is not known yet. */
  readonly #unsettled = new Set<Outcome>();
  /** What turns wait for that need results of calls which go on beside the order. */
  readonly #landings = new WeakSet<Pause>();
  #onCall: OnCall<T> | undefined;
  #disposed = false;

  constructor(private readonly backend: Backend) {}

  /**
   * Calls an op whose arguments have been checked, at once if nothing is ahead of it. What goes wrong is a fault of its
   * outputs and of all that is computed from them.
   */
  run<Call>(
    op: Op<Call> | Beside<Call>,
    call: CallOf<Call>,
    inputs: readonly T[],
    outputs: readonly T[],
    control: Control,
  ): void {
    this.#order.makeRoomForCall();
    const outcome = new Outcome();
    const held: Storage[] = [];
    const isBeside = 'begin' in op;
    let sources = NONE;
    let before = NONE;
    let bytes = 0;
    for (const input of inputs) {
      held.push(input.storage.hold());
      if (isBeside) input.storage.isReadBeside(outcome);
      const { writers } = input;
      if (writers.length > 0) sources = [...sources, ...writers];
    }
    for (const part of call.reads ?? NO_PARTS) sources = [...sources, ...writersOf(part)];
    for (const output of outputs) {
      held.push(output.storage.hold());
      bytes += output.size * bytesPerElement(output.dtype);
      const { writers, storage } = output;
      if (writers.length > 0 || storage.readers.length > 0) before = [...before, ...writers, ...storage.readers];
      output.isWrittenBy(outcome);
    }
    for (const { written, from, to } of call.writes ?? NO_PARTS) written.add(from, to, outcome);
    const inTurn = { outcome, sources, before, held };
    this.#order.take(
      isBeside ? this.#goBeside(op, call, inTurn, control) : this.#turn(op, call, inTurn, control),
      bytes,
    );
    this.#onCall?.(op.name, outputs);
  }

  /** Runs `work` and reports each call of an op in it with its outputs, which may be computed later. */
  watch<Result>(onCall: OnCall<T>, work: () => Result): Result {
    const before = this.#onCall;
    this.#onCall = onCall;
    try {
      return work();
    } finally {
      this.#onCall = before;
    }
  }

  /** Runs `work`, each of whose calls is computed before the next where the calling thread can wait, so that no results of later ones are held. */
  oneByOne<Result>(work: () => Result): Result {
    return this.watch(() => this.#order.settle(), work);
  }

  *#turn<Call>(op: Op<Call>, call: CallOf<Call>, inTurn: CallInTurn, control: Control): Turn {
    const { outcome, sources, held } = inTurn;
    let answer: Promise<void> | undefined;
    let fault: Fault | undefined;
    try {
      yield* landed(inTurn);
      // A call must not be made from elements that turn out to be wrong.
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
        const told = guarded.told();
        if (told) answer = Promise.all([answer, told]).then(() => {});
      }
    } catch (error) {
      fault = this.#faultOf(error);
    } finally {
      for (const storage of held) storage.letGo();
    }
    // Its sources may have failed while it paused.
    if (answer || sources.some(isPending)) void this.#settleLater({ outcome, sources }, fault, answer);
    else outcome.settle(fault ?? faultIn(sources));
  }

  /** The turn of a call that goes on beside the order, and takes part even if what it reads has a fault. */
  *#goBeside<Call>(op: Beside<Call>, call: CallOf<Call>, inTurn: CallInTurn, control: Control): Turn {
    const { outcome, sources, held } = inTurn;
    const end = (thrown?: { readonly error: unknown }) => {
      for (const storage of held) storage.letGo();
      this.#unsettled.delete(outcome);
      outcome.settle(faultIn(sources) ?? (thrown && this.#faultOf(thrown.error)));
    };
    try {
      yield* landed(inTurn);
      for (const source of sources) if (!source.isSettled) yield* until(source.settled);
      if (this.#disposed) throw disposedWhilePending();
      const { backend } = this;
      const isComputing = () => this.#order.pause !== undefined && !this.#landings.has(this.#order.pause);
      this.#unsettled.add(outcome);
      const landing = yield* op.begin(call.make({}), { backend, fault: faultIn(sources), control, isComputing, end });
      if (outcome.isSettled) return;
      outcome.landing = landing;
      this.#landings.add(landing);
    } catch (error) {
      end({ error });
    }
  }

  async #settleLater(
    { outcome, sources }: Pick<CallInTurn, 'outcome' | 'sources'>,
    fault: Fault | undefined,
    answer: Promise<void> | undefined,
  ) {
    this.#unsettled.add(outcome);
    let own: { readonly error: unknown } | undefined;
    await answer?.catch((error) => {
      own = { error };
    });
    for (const { settled } of sources) await settled;
    this.#unsettled.delete(outcome);
    outcome.settle(fault ?? faultIn(sources) ?? (own && this.#faultOf(own.error)));
  }

  /** Marks an error as reported, so that `finish()` does not report it again, and returns it to be thrown. */
  report(error: unknown): unknown {
    for (const fault of this.#unreported) if (Object.is(fault.error, error)) fault.reported = true;
    if (typeof error === 'object' && error !== null) this.#reported.add(error);
    return error;
  }

  #faultOf(error: unknown): Fault {
    const fault = { error, reported: this.#reported.has(error as object) };
    this.#unreported = this.#unreported.filter(({ reported }) => !reported).slice(0, MOST_UNREPORTED - 1);
    this.#unreported.push(fault);
    return fault;
  }

  /** A copy of bytes of a tensor's memory, once all that was called before has been computed. */
  async read({ storage, writers }: CallTensor, byteOffset: number, length: number): Promise<Uint8Array> {
    this.#order.makeRoom();
    storage.hold();
    const bytes = await new Promise<Uint8Array>((resolve, reject) => {
      const copy = () => {
        if (this.#disposed) reject(disposedWhilePending());
        else if (faultIn(writers)) resolve(NO_BYTES);
        // A device copies in this turn, whenever the copy arrives.
        else this.backend.read(storage.buffer, byteOffset, length).then(resolve, reject);
        storage.letGo();
      };
      this.#order.take(copyOnce(writers, copy));
    });
    for (const { settled } of writers) await settled;
    const fault = faultIn(writers);
    if (fault) throw this.report(fault.error);
    return bytes;
  }

  /** What `Runtime.finish()` does. */
  async finish(): Promise<void> {
    this.assertUsable('finish()');
    this.#order.makeRoom();
    await new Promise<void>((resolve) => this.#order.do(resolve));
    await this.backend.finish?.();
    await Promise.all([...this.#unsettled].map(({ settled }) => settled));
    const first = this.#unreported.splice(0).find(({ reported }) => !reported);
    if (first) throw this.report(first.error);
  }

  assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the runtime was disposed`);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Disposes the backend; pending calls reject. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.backend.dispose();
  }
}

/** Makes a call in its turn, once the elements of small tensors are known that it depends on. */
interface CallOf<Call> {
  make(values: Readonly<Record<string, HostTensor>>): Call;
  readonly known?: Readonly<Record<string, Elements>>;
  /** Memory besides that of its inputs and outputs. */
  readonly reads?: readonly Part[] | undefined;
  readonly writes?: readonly Part[] | undefined;
}

/** Waits for what calls beside the order write and is read here, and for those that read what is written here. */
function* landed({ sources, before }: Pick<CallInTurn, 'sources' | 'before'>): Turn {
  for (const { landing } of sources) if (landing && !landing.comesSoon?.()) yield landing;
  for (const { landing } of before) if (landing && !landing.comesSoon?.()) yield landing;
}

function* copyOnce(sources: readonly Outcome[], copy: () => void): Turn {
  yield* landed({ sources, before: NONE });
  copy();
}

interface CallInTurn {
  readonly outcome: Outcome;
  /** The outcomes of the calls that wrote its inputs. */
  readonly sources: readonly Outcome[];
  /** Those of the calls that read or wrote before it what it writes. */
  readonly before: readonly Outcome[];
  /** Kept until it has been computed. */
  readonly held: readonly Storage[];
}

const disposedWhilePending = () => new DisposedError('the runtime was disposed while a call was pending');
const NONE: readonly Outcome[] = [];
const NO_PARTS: readonly Part[] = [];
const NO_BYTES = new Uint8Array(0);
const isPending = ({ isSettled }: Outcome) => !isSettled;

/** If nobody asks for faults, the first ones are kept. */
const MOST_UNREPORTED = 1000;
