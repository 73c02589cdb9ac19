/** Memory that tensors share: how long it stays, and whether what was written to it is there. */
import type { Buffer } from '../runtime/memory';
import type { Elements } from './elements';
import { type Work, Written } from './work';

/** Whether a tape records no longer: what memory knows of it, which does not keep it alive. */
export interface Recording {
  isOver: boolean;
}

/** Memory shared by a tensor and its views; released with the last of them. Written to in places that count bytes. */
export class Storage extends Written {
  #references = 1;
  /** Calls and reads whose turn is not over. */
  #uses = 0;
  /** Tapes that keep it for a backward pass. */
  #tapes = 0;
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

  /** For a call or a read, until its turn is over. */
  hold(): this {
    this.#uses++;
    return this.retain();
  }

  letGo(): void {
    this.#uses--;
    this.release();
  }

  /** For a tape: until its backward pass has read it. */
  keep(): this {
    this.#tapes++;
    return this.retain();
  }

  endKeeping(): void {
    this.#tapes--;
    this.release();
  }

  /** Whether a tape needs it as it is, to read it or because it tracks what is in it: nobody may write to it. */
  get isKept(): boolean {
    return this.#tapes > 0 || this.recording?.isOver === false;
  }

  /** Whether calls or reads are to come, or what was written is not known to be right. */
  get isInUse(): boolean {
    return this.#uses > 0 || this.isPending;
  }
}

/** Elements in memory that is shared. */
export interface Stored extends Elements {
  readonly storage: Storage;
}

/** A tensor as calls need it. */
export interface Operand extends Stored {
  /** Number of elements. */
  readonly size: number;
  /** The calls that wrote some of its elements, where it is not known that these are right. */
  readonly writers: readonly Work[];
  /** For the call that writes all of its elements. */
  isWrittenBy(work: Work): void;
}
