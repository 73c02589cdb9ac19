/** Copies in the heap of the tables that programs read, made once and kept as long as the tables. */
import type { Heap, HeapBuffer } from './heap';

type Table = Float32Array | Int32Array;

/** The garbage collector may take its time. */
const KEPT_BYTES = 2 ** 28;

export class KeptTables {
  readonly #heap: Heap;
  readonly #most: number;
  /** In the order of their last use. */
  readonly #copies = new Map<WeakRef<Table>, HeapBuffer>();
  readonly #references = new WeakMap<Table, WeakRef<Table>>();
  readonly #ended = new FinalizationRegistry<WeakRef<Table>>((reference) => this.#drop(reference));
  /** How many current calls use a table; also keeps it from the garbage collector. */
  readonly #uses = new Map<Table, number>();
  #bytes = 0;

  /** Above `most` bytes, copies that no call uses are dropped. */
  constructor(heap: Heap, most = KEPT_BYTES) {
    this.#heap = heap;
    this.#most = most;
  }

  /** A call begins that reads these tables: their copies stay until its end. */
  begin(tables: readonly Table[]): void {
    for (const table of tables) this.#uses.set(table, (this.#uses.get(table) ?? 0) + 1);
  }

  end(tables: readonly Table[]): void {
    for (const table of tables) {
      const uses = (this.#uses.get(table) as number) - 1;
      if (uses > 0) this.#uses.set(table, uses);
      else this.#uses.delete(table);
    }
    if (tables.length > 0) this.#makeRoom(this.#most);
  }

  /** The address of a table's copy, valid until the end of the call. */
  addressOf(table: Table): number {
    return this.#copyOf(table).address;
  }

  #copyOf(table: Table): HeapBuffer {
    let reference = this.#references.get(table);
    if (!reference) {
      reference = new WeakRef(table);
      this.#references.set(table, reference);
      this.#ended.register(table, reference);
    }
    let copy = this.#copies.get(reference);
    if (!copy) {
      this.#makeRoom(this.#most - table.byteLength);
      copy = this.#heap.keep(table.byteLength);
      this.#bytes += copy.bytes;
      const bytes = new Uint8Array(table.buffer, table.byteOffset, table.byteLength);
      new Uint8Array(this.#heap.memory.buffer, copy.address, copy.bytes).set(bytes);
    }
    this.#copies.delete(reference);
    this.#copies.set(reference, copy);
    return copy;
  }

  /** Drops copies that no call uses until at most `most` bytes are left. */
  #makeRoom(most: number): void {
    for (const reference of this.#copies.keys()) {
      if (this.#bytes <= most) return;
      const table = reference.deref();
      if (!table || !this.#uses.has(table)) this.#drop(reference);
    }
  }

  #drop(reference: WeakRef<Table>): void {
    const copy = this.#copies.get(reference);
    if (!copy) return;
    this.#copies.delete(reference);
    this.#bytes -= copy.bytes;
    this.#heap.drop(copy);
  }
}
