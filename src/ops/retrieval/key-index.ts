/** Indexes of the keys of past tokens, by which those with the largest products with a query are found without a look at all. */
import { checkWhole } from '../../check';
import { DisposedError, ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { bytesPerElement } from '../../tensor/dtype';
import { faultIn } from '../../tensor/outcome';
import type { Shape } from '../../tensor/shape';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { describesItself } from '../../text/inspect';
import { concat } from '../copy';
import { buildingOf, extendingBy, type KeySource, type TensorsOfIndex } from './call';
import { CODE_BYTES, ENTRIES, MOST_DEGREE } from './params.generated';
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
  #tensors: TensorsOfIndex;
  #past: number;
  #disposed = false;

  /** Made by `keyIndex`. */
  constructor(
    readonly runtime: Runtime,
    readonly kind: IndexExtent['kind'],
    readonly first: number,
    past: number,
    tensors: TensorsOfIndex,
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

  /** @internal Whether what made it, or added to it, ended before its end. */
  get isAtFault(): boolean {
    return Object.values(this.tensors).some(({ writers }) => faultIn(writers) !== undefined);
  }

  /** @internal */
  get tensors(): TensorsOfIndex {
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
    const { edges, codes } = this.tensors;
    if (keys <= (edges.shape[2] as number)) return;
    const { runtime } = this;
    const room = withRoom(keys);
    const grown = runtime.scope(() => ({
      edges: enlarged(edges, room),
      ...(codes && { codes: enlarged(codes, room) }),
    }));
    for (const tensor of Object.values(grown)) runtime.keepBeyondScopes(tensor);
    edges.dispose();
    codes?.dispose();
    this.#tensors = { ...this.#tensors, ...grown };
  }
}

describesItself(KeyIndex, 'KeyIndex');

/** The same words, with room for more keys: i32 [b, g, capacity, words]. */
function enlarged(x: Tensor, keys: number): Tensor {
  const [b, g, capacity, words] = x.shape as [number, number, number, number];
  return concat([x, x.runtime.empty([b, g, keys - capacity, words], 'i32')] as Tensor<'f32'>[], 2);
}

const withRoom = (keys: number) => keys + Math.max(ROOM.least, Math.ceil(keys * ROOM.share));

/** Shapes of the tensors of an index (params.ts). */
export function shapesOfIndex(
  kind: IndexExtent['kind'],
  { b, g, d, capacity, degree, starts }: Readonly<Record<'b' | 'g' | 'd' | 'capacity' | 'degree' | 'starts', number>>,
): { readonly [name in keyof TensorsOfIndex]: Shape } {
  if (kind === 'ivf') return { edges: [b, g, capacity, 1], entries: [b, g, starts], centers: [b, g, starts, d] };
  const words = (CODE_BYTES / 4) * Math.ceil(d / CODE_BYTES);
  return {
    edges: [b, g, capacity, Math.min(degree, MOST_DEGREE)],
    entries: [b, g, ENTRIES],
    codes: [b, g, capacity, words],
    columns: [b, g, 2, d],
  };
}

/** The index of the keys of a source. What befalls it later is a fault of what is retrieved by it. */
export function buildIndex(source: KeySource, settings: IndexSettings, control: Control = {}): KeyIndex {
  const { kind, first, past, degree, neighbors, cells, queries } = settings;
  if (past < first) throw new ParameterError(`an index of keys ends at ${past}, before it begins at ${first}`);
  const { runtime, b, g, d } = source;
  const shared = queries ? (queries.shape[2] as number) / g : 1;
  const count = queries ? (queries.shape[1] as number) * shared : past - first;
  const tensors = buildingOf(
    source,
    shapesOfIndex(kind, { b, g, d, capacity: withRoom(past - first), degree, starts: cells }),
    { kind, first, past, neighbors, queries, stride: queries ? Math.max(1, Math.ceil(count / MOST_QUERIES)) : 1 },
    control,
  );
  return new KeyIndex(runtime, kind, first, past, tensors);
}
