/** Writes GGUF files for tests, from what the format says: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */

/** A value with its type: `[4, 7]` is 7 as u32, `[9, [8, ['a', 'b']]]` a list of texts. */
export type GgufValue = readonly [type: number, value: unknown];

export interface GgufTensor {
  readonly name: string;
  /** Outermost first. */
  readonly shape: readonly number[];
  /** The code of its type: 0 f32, 1 f16, 2 Q4_0, ... */
  readonly type: number;
  readonly bytes: Uint8Array;
}

export interface GgufFile {
  readonly version?: number;
  readonly alignment?: number;
  readonly metadata?: Readonly<Record<string, GgufValue>>;
  readonly tensors?: readonly GgufTensor[];
}

const WRITERS: Readonly<Record<number, (view: DataView, value: never) => void>> = {
  0: (view, value) => view.setUint8(0, value),
  1: (view, value) => view.setInt8(0, value),
  2: (view, value) => view.setUint16(0, value, true),
  3: (view, value) => view.setInt16(0, value, true),
  4: (view, value) => view.setUint32(0, value, true),
  5: (view, value) => view.setInt32(0, value, true),
  6: (view, value) => view.setFloat32(0, value, true),
  7: (view, value) => view.setUint8(0, Number(value)),
  10: (view, value) => view.setBigUint64(0, BigInt(value), true),
  11: (view, value) => view.setBigInt64(0, BigInt(value), true),
  12: (view, value) => view.setFloat64(0, value, true),
};
const SIZES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

export function writeGguf({ version = 3, alignment = 32, metadata = {}, tensors = [] }: GgufFile): Uint8Array {
  const parts: Uint8Array[] = [new TextEncoder().encode('GGUF')];
  const number = (type: number, value: unknown) => {
    const bytes = new Uint8Array(SIZES[type] as number);
    WRITERS[type]?.(new DataView(bytes.buffer), value as never);
    parts.push(bytes);
  };
  const text = (value: string) => {
    const bytes = new TextEncoder().encode(value);
    number(10, bytes.length);
    parts.push(bytes);
  };
  const write = ([type, value]: GgufValue) => {
    if (type === 8) return text(value as string);
    if (type !== 9) return number(type, value);
    const [element, list] = value as readonly [number, readonly unknown[]];
    number(4, element);
    number(10, list.length);
    for (const each of list) write([element, each]);
  };
  const pairs: Readonly<Record<string, GgufValue>> =
    alignment === 32 ? metadata : { ...metadata, 'general.alignment': [4, alignment] };
  number(4, version);
  number(10, tensors.length);
  number(10, Object.keys(pairs).length);
  for (const [key, value] of Object.entries(pairs)) {
    text(key);
    number(4, value[0]);
    write(value);
  }
  let offset = 0;
  for (const { name, shape, type, bytes } of tensors) {
    text(name);
    number(4, shape.length);
    for (const extent of [...shape].reverse()) number(10, extent);
    number(4, type);
    number(10, offset);
    offset += Math.ceil(bytes.length / alignment) * alignment;
  }
  const padded = (length: number) => new Uint8Array((alignment - (length % alignment)) % alignment);
  parts.push(padded(parts.reduce((sum, part) => sum + part.length, 0)));
  for (const { bytes } of tensors) parts.push(bytes, padded(bytes.length));
  return new Uint8Array(Buffer.concat(parts));
}
