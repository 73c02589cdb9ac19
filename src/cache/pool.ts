/** Pages of caches, in slabs that are added and released as needed. */
import type { Page, Slab } from '../ops/cache/layout';
import type { Runtime } from '../runtime/runtime';
import { Written } from '../tensor/outcome';

/** Bytes of a slab where the backend sets no limit on a binding. */
const MOST_SLAB_BYTES = 2 ** 27;
/** The size of a new slab as a share of the pages held. Bound slabs cost a dispatch each, so they grow faster. */
const GROWTH = { bound: 1, addressed: 1 / 8 };

interface PooledSlab extends Slab {
  readonly free: number[];
  readonly pages: number;
}

/** A page and how many rows of caches hold it. */
export interface SharedPage extends Page {
  readonly slab: PooledSlab;
  owners: number;
}

export class PagePool {
  readonly #slabs = new Set<PooledSlab>();
  #held = 0;

  constructor(
    readonly runtime: Runtime,
    readonly pageBytes: number,
  ) {}

  /** Bytes of the slabs. */
  get bytes(): number {
    return [...this.#slabs].reduce((sum, { pages }) => sum + pages * this.pageBytes, 0);
  }

  /** This many pages, each with one owner; all or none. */
  take(count: number): SharedPage[] {
    const taken: SharedPage[] = [];
    try {
      for (const slab of this.#slabs) while (taken.length < count && slab.free.length > 0) taken.push(this.#from(slab));
      while (taken.length < count) {
        const slab = this.#grow(count - taken.length);
        while (taken.length < count && slab.free.length > 0) taken.push(this.#from(slab));
      }
      return taken;
    } catch (error) {
      for (const page of taken) this.release(page);
      throw error;
    }
  }

  share(page: SharedPage): SharedPage {
    page.owners++;
    return page;
  }

  /** Gives up one owner's hold: a page without owners is free, a slab without pages is released. Calls that read it were made before. */
  release(page: SharedPage): void {
    if (--page.owners > 0) return;
    const { slab } = page;
    slab.free.push(page.at);
    this.#held--;
    if (slab.free.length < slab.pages) return;
    this.#slabs.delete(slab);
    slab.memory.dispose();
  }

  #from(slab: PooledSlab): SharedPage {
    this.#held++;
    return { slab, at: slab.free.pop() as number, written: new Written(), owners: 1 };
  }

  #grow(needed: number): PooledSlab {
    const { runtime, pageBytes } = this;
    const { mostBound } = runtime.backend;
    const most = Math.max(1, Math.floor((mostBound ?? MOST_SLAB_BYTES) / pageBytes));
    const growth = mostBound === undefined ? GROWTH.addressed : GROWTH.bound;
    const pages = Math.min(most, Math.max(needed, Math.ceil(this.#held * growth)));
    const memory = runtime.empty([(pages * pageBytes) / 4], 'i32');
    // A cache outlives the scope in which tokens happen to be appended.
    runtime.keepBeyondScopes(memory);
    const slab = { memory, pages, free: Array.from({ length: pages }, (_, at) => (pages - 1 - at) * pageBytes) };
    this.#slabs.add(slab);
    return slab;
  }
}
