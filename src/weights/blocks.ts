/** Quantised types of GGUF: blocks of integers with a scale, and of some a minimum, decoded exactly to f32. */
import { ParameterError, ParseError } from '../errors';
import { fromFloat16 } from '../tensor/float16';
import type { BlockType } from './stored';

interface Block {
  /** Numbers in a block. */
  readonly numbers: number;
  readonly bytes: number;
  /** Where its scales in f16 are, in bytes. */
  readonly scales: readonly number[];
  /** Writes the numbers of the block at `at` from `to` on. Products are exact in float64, so storing rounds once. */
  decode(bytes: Uint8Array, at: number, out: Float32Array, to: number): void;
}

const MOST_NIBBLES = 16;

/** 32 numbers of 4 bits, or of 5 with the fifths together: nibbles of byte j are numbers j and j + 16. */
function nibbles(hasFifth: boolean, hasMinimum: boolean): Block {
  const [scales, offset] = hasMinimum ? [[0, 2], 0] : [[0], hasFifth ? 16 : 8];
  const head = 2 * scales.length + (hasFifth ? 4 : 0);
  return {
    numbers: 32,
    bytes: head + MOST_NIBBLES,
    scales,
    decode(bytes, at, out, to) {
      const scale = half(bytes, at);
      const minimum = hasMinimum ? half(bytes, at + 2) : -offset * scale;
      const fifths = hasFifth ? word(bytes, at + head - 4) | (word(bytes, at + head - 2) << 16) : 0;
      for (let j = 0; j < MOST_NIBBLES; j++) {
        const pair = bytes[at + head + j] as number;
        const low = (pair & 15) | (((fifths >>> j) & 1) << 4);
        const high = (pair >>> 4) | (((fifths >>> (j + 16)) & 1) << 4);
        out[to + j] = scale * low + minimum;
        out[to + j + 16] = scale * high + minimum;
      }
    },
  };
}

/** 256 numbers in groups of 32, each with a scale and a minimum of 6 bits, which those of the block multiply. */
function groups(hasFifth: boolean): Block {
  const head = hasFifth ? 48 : 16;
  return {
    numbers: 256,
    bytes: head + 128,
    scales: [0, 2],
    decode(bytes, at, out, to) {
      const [scale, minimum] = [half(bytes, at), half(bytes, at + 2)];
      for (let group = 0; group < 8; group++) {
        const d = scale * sixBits(bytes, at + 4, group);
        const m = minimum * sixBits(bytes, at + 4, group + 8);
        const shift = (group & 1) * 4;
        const codes = at + head + (group >> 1) * 32;
        for (let j = 0; j < 32; j++) {
          const fifth = hasFifth ? ((bytes[at + 16 + j] as number) >>> group) & 1 : 0;
          out[to + 32 * group + j] = d * ((((bytes[codes + j] as number) >>> shift) & 15) | (fifth << 4)) - m;
        }
      }
    },
  };
}

/** One of 8 scales and 8 minima in 12 bytes: the first four of each are the low 6 bits of a byte, the others are in what is left. */
export function sixBits(bytes: Uint8Array, at: number, index: number): number {
  const isMinimum = index >= 8;
  const group = index & 7;
  const byte = (offset: number) => bytes[at + offset] as number;
  if (group < 4) return byte(isMinimum ? group + 4 : group) & 63;
  const low = byte(group + 4);
  const high = byte(isMinimum ? group : group - 4) >>> 6;
  return (isMinimum ? low >>> 4 : low & 15) | (high << 4);
}

const q8: Block = {
  numbers: 32,
  bytes: 34,
  scales: [0],
  decode(bytes, at, out, to) {
    const scale = half(bytes, at);
    for (let j = 0; j < 32; j++) out[to + j] = scale * signed(bytes[at + 2 + j] as number);
  },
};

/** 256 numbers of 6 bits in groups of 16 with a scale of 8 bits; 4 low bits come first, then 2 high ones. */
const q6: Block = {
  numbers: 256,
  bytes: 210,
  scales: [208],
  decode(bytes, at, out, to) {
    const scale = half(bytes, at + 208);
    for (let i = 0; i < 256; i++) {
      const [part, quarter, j] = [i >> 7, (i >> 5) & 3, i & 31];
      const low = ((bytes[at + 64 * part + 32 * (quarter & 1) + j] as number) >>> (4 * (quarter >> 1))) & 15;
      const high = ((bytes[at + 128 + 32 * part + j] as number) >>> (2 * quarter)) & 3;
      out[to + i] = scale * signed(bytes[at + 192 + (i >> 4)] as number) * ((low | (high << 4)) - 32);
    }
  },
};

export const BLOCKS: Readonly<Record<BlockType, Block>> = {
  q8_0: q8,
  q4_0: nibbles(false, false),
  q4_1: nibbles(false, true),
  q5_0: nibbles(true, false),
  q5_1: nibbles(true, true),
  q4_k: groups(false),
  q5_k: groups(true),
  q6_k: q6,
};

/**
 * The numbers of blocks, one after the other.
 *
 * @throws {ParseError} a scale that is infinite or not a number
 */
export function decodeBlocks(type: BlockType, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const { numbers, bytes: size, scales, decode } = BLOCKS[type];
  const count = bytes.length / size;
  if (!Number.isInteger(count))
    throw new ParameterError(`${type} has blocks of ${size} bytes, got ${bytes.length} bytes`);
  const out = new Float32Array(count * numbers);
  for (let block = 0; block < count; block++) {
    for (const scale of scales) checkScale(half(bytes, block * size + scale), block, type);
    decode(bytes, block * size, out, block * numbers);
  }
  return out;
}

function checkScale(value: number, block: number, type: BlockType): void {
  if (!Number.isFinite(value)) throw new ParseError(`block ${block} of ${type} has a scale that is ${value}`);
}

const word = (bytes: Uint8Array, at: number) => (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
const half = (bytes: Uint8Array, at: number) => fromFloat16(word(bytes, at));
const signed = (byte: number) => (byte << 24) >> 24;
