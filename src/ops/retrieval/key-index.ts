/** Indexes of the keys of past tokens, by which those with the largest products with a query are found without a look at all. */
import { checkWhole } from '../../check';
import { DisposedError, ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { bytesPerElement } from '../../tensor/dtype';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { describesItself } from '../../text/inspect';
import { concat } from '../copy';
import { buildingOf, extendingBy, type KeySource } from './call';
import { ENTRIES } from './params.generated';
import type { IndexExtent } from './reference';

export interface IndexSettings extends IndexExtent {
  /** Edges of a key, at most; of a graph. */
  readonly degree: number;
  /** Keys of a query's list, of a graph. */
  readonly neighbors: number;
  readonly cells: number;
  /** [b, p, h, d], those of the prompt. */
  readonly queries?: Tensor | undefined;
}

/** Queries of a head that a graph is made from: of more, every so-many-th one. */
const MOST_QUERIES = 2 ** 17;
/** Room for keys that come, as a share of those that there are, and at least. */
const ROOM = { share: 1 / 8, least: 256 };

/** An index of the keys from one to another, for each key head one; made by `keyIndex`. */
export class KeyIndex implements IndexExtent {
  #tensors: { readonly edges: Tensor; readonly entries: Tensor; readonly centers?: Tensor };
  #past: number;
  #disposed = false;

  /** Made by `keyIndex`. */
  constructor(
    readonly runtime: Runtime,
    readonly kind: IndexExtent['kind'],
    readonly first: number,
    past: number,
    tensors: { readonly edges: Tensor; readonly entries: Tensor; readonly centers?: Tensor },
  ) {
    this.#past = past;
    this.#tensors = tensors;
    for (const tensor of Object.values(tensors)) runtime.keepBeyondScopes(tensor);
  }

  toString(): string {
    return `KeyIndex(${this.kind} of keys ${this.first} to ${this.#past - 1} on ${this.runtime.backend.name})`;
  }

  /** The first key that is not in it. */
  get past(): number {
    return this.#past;
  }

  /** Bytes of memory. */
  get bytes(): number {
    return Object.values(this.tensors).reduce((sum, { size, dtype }) => sum + size * bytesPerElement(dtype), 0);
  }

  /** @internal */
  get tensors(): { readonly edges: Tensor; readonly entries: Tensor; readonly centers?: Tensor } {
    if (this.#disposed) throw new DisposedError('the index of keys was disposed');
    return this.#tensors;
  }

  /** @internal Adds the keys of a source up to before `to`. */
  extend(source: KeySource, to: number, control: Control = {}): void {
    if (to <= this.#past) return;
    this.#makeRoom(to - this.first);
    const { kind, first } = this;
    extendingBy(source, { kind, first, past: this.#past, ...this.tensors, to }, control);
    this.#past = to;
  }

  /** Takes keys from `past` on back: they are found no more, and others may come in their place. */
  truncate(past: number): void {
    checkWhole('past', past, 0);
    this.#past = Math.max(this.first, Math.min(this.#past, past));
  }

  /** @internal The same keys in memory of its own. */
  copy(): KeyIndex {
    const { runtime, kind, first } = this;
    const tensors = runtime.scope(() => {
      const copied = Object.entries(this.tensors).map(([name, tensor]) => [
        name,
        concat([tensor] as Tensor<'f32'>[], 0),
      ]);
      return Object.fromEntries(copied);
    });
    return new KeyIndex(runtime, kind, first, this.#past, tensors);
  }

  /** Frees its memory. Disposing twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    for (const tensor of Object.values(this.#tensors)) tensor.dispose();
    this.#disposed = true;
  }

  [disposeKey](): void {
    this.dispose();
  }

  #makeRoom(keys: number): void {
    const { edges } = this.tensors;
    const [b, g, capacity, degree] = edges.shape as [number, number, number, number];
    if (keys <= capacity) return;
    const { runtime } = this;
    const grown = runtime.scope(() =>
      concat([edges, runtime.empty([b, g, withRoom(keys) - capacity, degree], 'i32')] as Tensor<'f32'>[], 2),
    );
    runtime.keepBeyondScopes(grown);
    edges.dispose();
    this.#tensors = { ...this.#tensors, edges: grown };
  }
}

describesItself(KeyIndex, 'KeyIndex');

const withRoom = (keys: number) => keys + Math.max(ROOM.least, Math.ceil(keys * ROOM.share));

/** The index of the keys of a source. What befalls it later is a fault of what is retrieved by it. */
export function buildIndex(source: KeySource, settings: IndexSettings, control: Control = {}): KeyIndex {
  const { kind, first, past, degree, neighbors, cells, queries } = settings;
  if (past < first) throw new ParameterError(`an index of keys ends at ${past}, before it begins at ${first}`);
  const { runtime, b, g, d } = source;
  const isGraph = kind === 'graph';
  const starts = isGraph ? ENTRIES : cells;
  const shared = queries ? (queries.shape[2] as number) / g : 1;
  const count = queries ? (queries.shape[1] as number) * shared : past - first;
  const tensors = buildingOf(
    source,
    {
      edges: [b, g, withRoom(past - first), isGraph ? degree : 1],
      entries: [b, g, starts],
      ...(!isGraph && { centers: [b, g, starts, d] }),
    },
    { kind, first, past, neighbors, queries, stride: queries ? Math.max(1, Math.ceil(count / MOST_QUERIES)) : 1 },
    control,
  );
  return new KeyIndex(runtime, kind, first, past, tensors);
}
