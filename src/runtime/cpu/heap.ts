import { BackendError } from '../../errors';
import { Allocator, type Buffer } from '../memory';

const PAGE = 65536;
/** One cache line, so that threads writing to neighbouring buffers do not slow each other down. */
const ALIGNMENT = 64;

interface Stretch {
  start: number;
  end: number;
}

export class HeapBuffer implements Buffer {
  constructor(
    readonly address: number,
    readonly bytes: number,
  ) {}
}

/** The heap's memory; its buffer is replaced when it grows. */
export interface HeapMemory {
  readonly buffer: ArrayBufferLike;
}

interface GrowableMemory extends HeapMemory {
  /** By pages of 64 KiB; throws if there is no room. */
  grow(pages: number): unknown;
}

/** The part of a memory from address `base` upwards: best fit, neighbours merged on release. */
export class Heap<Memory extends GrowableMemory = GrowableMemory> extends Allocator<HeapBuffer> {
  /** Free stretches in the order of their addresses; no two touch. */
  readonly #free: Stretch[] = [];
  #end: number;

  constructor(
    readonly memory: Memory,
    readonly maximumBytes: number,
    base: number,
  ) {
    super();
    this.#end = memory.buffer.byteLength;
    this.#free.push({ start: base, end: this.#end });
  }

  take(bytes: number): HeapBuffer {
    const size = sizeInHeap(bytes);
    let stretch = this.#bestFit(size);
    if (!stretch) {
      this.#grow(size, bytes);
      stretch = this.#free.at(-1) as Stretch;
    }
    const address = stretch.start;
    stretch.start += size;
    if (stretch.start === stretch.end) this.#free.splice(this.#free.indexOf(stretch), 1);
    return new HeapBuffer(address, bytes);
  }

  giveBack({ address: start, bytes }: HeapBuffer): void {
    const end = start + sizeInHeap(bytes);
    let next = this.#free.findIndex((stretch) => stretch.start >= end);
    if (next === -1) next = this.#free.length;
    const before = this.#free[next - 1];
    const after = this.#free[next];
    const touchesBefore = before?.end === start;
    const touchesAfter = after?.start === end;
    if (touchesBefore && touchesAfter) {
      before.end = after.end;
      this.#free.splice(next, 1);
    } else if (touchesBefore) before.end = end;
    else if (touchesAfter) after.start = start;
    else this.#free.splice(next, 0, { start, end });
  }

  protected get reserved(): number {
    return this.memory.buffer.byteLength;
  }

  #bestFit(size: number): Stretch | undefined {
    let best: Stretch | undefined;
    for (const stretch of this.#free) {
      const room = stretch.end - stretch.start;
      if (room >= size && (!best || room < best.end - best.start)) best = stretch;
    }
    return best;
  }

  /** Makes the last free stretch at least `size` long; growing by doubling keeps growth rare. */
  #grow(size: number, asked: number): void {
    const last = this.#free.at(-1);
    const room = last?.end === this.#end ? last.end - last.start : 0;
    const needed = Math.ceil((size - room) / PAGE);
    const available = (this.maximumBytes - this.#end) / PAGE;
    const wanted = Math.min(available, Math.max(needed, Math.min(this.#end, 64 << 20) / PAGE));
    const grown = [wanted, needed].find((pages) => needed <= available && this.#tryGrow(pages));
    if (grown === undefined) {
      throw new BackendError(
        `cannot allocate ${asked} bytes: ${this.used} are in use and the heap can have ${this.maximumBytes}`,
      );
    }
    const end = this.#end + grown * PAGE;
    if (room > 0 && last) last.end = end;
    else this.#free.push({ start: this.#end, end });
    this.#end = end;
  }

  #tryGrow(pages: number): boolean {
    try {
      this.memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }
}

/** The bytes that an allocation takes: whole cache lines. */
export const sizeInHeap = (bytes: number): number => Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
