/** Tensors as files have them, whose elements are read when they are asked for. */
import type { HostDType } from '../tensor/dtype';
import type { Shape } from '../tensor/shape';
import type { ByteSource, ReadOptions } from './source';

/** Quantised types, in blocks along the last axis: of 32 numbers, and of 256 those that end in `_k`. */
export type BlockType = 'q8_0' | 'q4_0' | 'q4_1' | 'q5_0' | 'q5_1' | 'q4_k' | 'q5_k' | 'q6_k';
export type StoredType = HostDType | BlockType;
/** Types that are told, but not read, as their formats name them: I16, Q2_K, F8_E4M3, ... */
export type UnreadType = Uppercase<string>;

/** A tensor in a file. */
export interface StoredTensor<T extends StoredType | UnreadType = StoredType | UnreadType> {
  readonly name: string;
  readonly type: T;
  /** Row-major extents, the outermost first. */
  readonly shape: Shape;
  readonly source: ByteSource;
  /** Where its elements begin in the source, in bytes. */
  readonly start: number;
  readonly byteLength: number;
  /** In elements, where they are not contiguous; `start` and `byteLength` then span all that they touch, with blocks decoded first. */
  readonly strides?: readonly number[] | undefined;
  /** Where the file has its rows in another order: row i of the tensor is row `rows[i]` of the file. */
  readonly rows?: Int32Array | undefined;
}

/** One whose elements can be read. */
export type ReadableTensor = StoredTensor<StoredType>;

/** What a file says of itself, before any element has been read. */
export interface WeightFile {
  readonly format: 'safetensors' | 'gguf' | 'pytorch';
  /** By name, in the file's order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Metadata by name, typed as the format has it: texts, numbers, lists. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The network, as Hugging Face's `config.json` would describe it, where the file does. */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
}

/** What readers of formats take. */
export interface ReaderOptions extends ReadOptions {
  /** Opens a file beside the one that is read, or gives undefined where there is none; undefined where nothing is beside it. */
  readonly beside?: ((file: string) => Promise<ByteSource | undefined>) | undefined;
}
