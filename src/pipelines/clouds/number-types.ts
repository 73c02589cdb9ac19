/** Types of numbers in binary files, by all the names that formats have for them. */

const SIZES = { int8: 1, uint8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4, float32: 4, float64: 8 } as const;
type Plain = keyof typeof SIZES;
const ALIASES: Readonly<Record<string, Plain>> = {
  ...{ char: 'int8', uchar: 'uint8', short: 'int16', ushort: 'uint16', int: 'int32', uint: 'uint32', float: 'float32' },
  double: 'float64',
};

/** One of the names. */
export type NumberType = Plain | keyof typeof ALIASES;

const plain = (type: NumberType): Plain => (Object.hasOwn(SIZES, type) ? (type as Plain) : (ALIASES[type] as Plain));

export const isType = (word: string | undefined): word is NumberType =>
  word !== undefined && (Object.hasOwn(SIZES, word) || Object.hasOwn(ALIASES, word));

export const sizeOfType = (type: NumberType): number => SIZES[plain(type)];

/** Reads a number at a place. */
export function readerOf(bytes: Uint8Array, isLittle: boolean): (type: NumberType, at: number) => number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const readers: Readonly<Record<Plain, (at: number) => number>> = {
    int8: (at) => view.getInt8(at),
    uint8: (at) => view.getUint8(at),
    int16: (at) => view.getInt16(at, isLittle),
    uint16: (at) => view.getUint16(at, isLittle),
    int32: (at) => view.getInt32(at, isLittle),
    uint32: (at) => view.getUint32(at, isLittle),
    float32: (at) => view.getFloat32(at, isLittle),
    float64: (at) => view.getFloat64(at, isLittle),
  };
  return (type, at) => readers[plain(type)](at);
}
