/** Memory of tensors: who keeps it, and the calls that write to it. */
import type { Buffer } from '../runtime/memory';
import type { Elements } from './elements';
import { type Outcome, Written } from './outcome';

/** Shared by a tape and the memory it tracks, which must not keep the tape alive. */
export interface Recording {
  isOver: boolean;
}

/** Memory shared by a tensor and its views, released with the last of them. Ranges count bytes. */
export class Storage extends Written {
  #references = 1;
  /** Calls and reads that are not over. */
  #uses = 0;
  /** Tapes that need it for a backward pass. */
  #tapes = 0;
  /** The outcomes of calls that read it beside the order of calls. */
  #readers: readonly Outcome[] = NO_READERS;
  /** The tape that tracks what was computed into it. */
  recording: Recording | undefined;

  constructor(
    private readonly owner: { release(buffer: Buffer): void },
    readonly buffer: Buffer,
  ) {
    super();
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references === 0) this.owner.release(this.buffer);
  }

  /** For a call or a read, until `letGo`. */
  hold(): this {
    this.#uses++;
    return this.retain();
  }

  letGo(): void {
    this.#uses--;
    this.release();
  }

  /** A call reads it that goes on beside the order: until its outcome is settled nothing may be written here. */
  isReadBeside(outcome: Outcome): void {
    this.#readers = [...this.readers, outcome];
  }

  get readers(): readonly Outcome[] {
    if (this.#readers.length > 0) this.#readers = this.#readers.filter(({ isSettled }) => !isSettled);
    return this.#readers;
  }

  /** For a tape, until `endKeeping`. */
  keep(): this {
    this.#tapes++;
    return this.retain();
  }

  endKeeping(): void {
    this.#tapes--;
    this.release();
  }

  /** Whether a tape needs it unchanged, to read it or because it tracks what is in it. */
  get isKept(): boolean {
    return this.#tapes > 0 || this.recording?.isOver === false;
  }

  /** Whether calls or reads are pending, or it is not known yet that what was written is right. */
  get isInUse(): boolean {
    return this.#uses > 0 || this.isPending;
  }
}

const NO_READERS: readonly Outcome[] = [];

/** Elements in such memory. */
export interface Stored extends Elements {
  readonly storage: Storage;
}

/** What calls need of a tensor. */
export interface CallTensor extends Stored {
  /** Number of elements. */
  readonly size: number;
  /** The calls that wrote some of its elements, while they are pending or have a fault. */
  readonly writers: readonly Outcome[];
  /** A call writes all of its elements. */
  isWrittenBy(outcome: Outcome): void;
}
