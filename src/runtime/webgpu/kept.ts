/** Copies on the device of data that many calls read, kept as long as what it follows from. */
import type { GpuBuffer } from './buffer';
import type { Region } from './kernel';
import type { Memory } from './memory';

/** Most copies of one owner; the least recently used is dropped. A call must not need more. */
const KEPT = 16;

export class Kept {
  readonly #memory: Memory;
  readonly #regions = new WeakMap<object, Map<string, Region>>();
  readonly #ended: FinalizationRegistry<Map<string, Region>>;

  constructor(memory: Memory) {
    this.#memory = memory;
    this.#ended = new FinalizationRegistry((regions) => {
      for (const region of regions.values()) this.#giveBack(region);
    });
  }

  /** The copy under `key`, made with `fill` if there is none; not counted as live. */
  get(owner: object, key: string, make: () => Int32Array | Float32Array, fill: Fill): Region {
    let regions = this.#regions.get(owner);
    if (!regions) {
      regions = new Map();
      this.#regions.set(owner, regions);
      this.#ended.register(owner, regions);
    }
    let region = regions.get(key);
    regions.delete(key);
    // Memory that was refused may be available now.
    if (!region || bufferOf(region).isRefused) {
      if (region) this.#giveBack(region);
      const data = make();
      const buffer = this.#memory.keep(Math.max(4, data.byteLength));
      const dtype = data instanceof Int32Array ? 'i32' : 'f32';
      region = { storage: { buffer }, dtype, shape: [data.length], strides: [1], offset: 0 };
      if (data.length > 0) fill(buffer, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 0);
    }
    regions.set(key, region);
    if (regions.size > KEPT) {
      const [oldest, ended] = regions.entries().next().value as [string, Region];
      regions.delete(oldest);
      this.#giveBack(ended);
    }
    return region;
  }

  #giveBack(region: Region): void {
    this.#memory.drop(bufferOf(region));
  }
}

const bufferOf = ({ storage }: Region) => storage.buffer as GpuBuffer;

type Fill = (buffer: GpuBuffer, bytes: Uint8Array, byteOffset: number) => void;
