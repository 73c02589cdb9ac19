/** An assembler of x86-64: the instructions that kernels need, those on vectors as VEX (256 bits) or EVEX (512 bits) encodes them. */

/** A place in memory: base + index * scale + offset, or, with `label`, a place in the code. */
export interface Memory {
  readonly base: number;
  readonly offset: number;
  readonly index?: number | undefined;
  readonly scale?: 1 | 2 | 4 | 8;
  readonly label?: number;
}
/** A register by its number, or memory. */
export type Operand = number | Memory;

export const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;

/** Second half of the opcode of a conditional jump. */
const CONDITIONS = { '<': 0xc, '>=': 0xd, '<=': 0xe, '>': 0xf, '==': 4, '!=': 5 } as const;
export type Condition = keyof typeof CONDITIONS;

/** Prefix (none, 66, F3, F2), opcode map (0F, 0F38, 0F3A), opcode; what EVEX says of W and of the bytes it reads from memory. */
type Encoding = readonly [prefix: 0 | 1 | 2 | 3, map: 1 | 2 | 3, opcode: number, wide?: 0 | 1, bytes?: number];

export const VECTOR = {
  load: [0, 1, 0x10],
  store: [0, 1, 0x11],
  move: [0, 1, 0x28],
  splat: [1, 2, 0x18, 0, 4],
  addProduct: [1, 2, 0xb8],
  multiply: [0, 1, 0x59],
  add: [0, 1, 0x58],
  subtract: [0, 1, 0x5c],
  larger: [0, 1, 0x5f],
  smaller: [0, 1, 0x5d],
  divide: [0, 1, 0x5e],
  xor: [1, 1, 0xef],
  low: [0, 1, 0x14],
  high: [0, 1, 0x15],
  lowPairs: [1, 1, 0x14, 1],
  highPairs: [1, 1, 0x15, 1],
  halves: [1, 3, 0x06],
  quarters: [1, 3, 0x23],
  round: [1, 3, 0x08],
  scalef: [1, 2, 0x2c],
  toInteger: [1, 1, 0x5b],
  /** Of integers, by the operand of `reg` 6 to the left. */
  shift: [1, 1, 0x72],
  addWords: [1, 1, 0xfe],
  subtractWords: [1, 1, 0xfa],
  multiplyWords: [1, 2, 0x40],
  smallerWords: [1, 2, 0x39],
  largerWords: [1, 2, 0x3d],
  shiftLeft: [1, 2, 0x47],
  shiftRight: [1, 2, 0x46],
  shiftRightUnsigned: [1, 2, 0x45],
  and: [1, 1, 0xdb],
  or: [1, 1, 0xeb],
  toFloat: [0, 1, 0x5b],
  toWord: [2, 1, 0x5b],
  root: [0, 1, 0x51],
  timesPlus: [1, 2, 0xa8],
  gather: [1, 2, 0x92, 0, 4],
  /** AVX2; with AVX-512 by a mask. */
  equalWords: [1, 1, 0x76],
  greaterWords: [1, 1, 0x66],
  compareWords: [1, 3, 0x1f],
  maskToVector: [2, 2, 0x38],
  vectorToMask: [2, 2, 0x39],
  compare: [0, 1, 0xc2],
  blendByVector: [1, 3, 0x4a],
  blendByMask: [1, 2, 0x65],
  maskedLoad: [1, 2, 0x2c],
  maskedStore: [1, 2, 0x2e],
  loadHalves: [1, 2, 0x33, 0, 32],
  loadFloat16: [1, 2, 0x13, 0, 32],
  storeHalves: [2, 2, 0x33, 0, 32],
  storeFloat16: [1, 3, 0x1d, 0, 32],
  /** AVX2: the lower halves of words, by 128 bits; and of these the even halves. */
  packHalves: [1, 2, 0x2b],
  evenHalves: [1, 3, 0x00, 1],
} as const satisfies Record<string, Encoding>;

export interface VectorOptions {
  readonly immediate?: number;
  /** EVEX: the register of the mask; lanes that it leaves out become 0 if `zeroing`. */
  readonly mask?: number;
  readonly zeroing?: boolean;
  /** EVEX: one number in memory for all lanes. */
  readonly splat?: boolean;
}

const isMemory = (operand: Operand): operand is Memory => typeof operand === 'object';

export class Assembler {
  readonly #code: number[] = [];
  /** Where labels are. */
  readonly #labels: number[] = [];
  readonly #fixups: { readonly at: number; readonly label: number; readonly end: number }[] = [];

  label(): number {
    return this.#labels.push(-1) - 1;
  }

  bind(label: number): void {
    this.#labels[label] = this.#code.length;
  }

  byte(...bytes: readonly number[]): void {
    for (const byte of bytes) this.#code.push(byte & 255);
  }

  align(bytes: number): void {
    while (this.#code.length % bytes) this.byte(0x90);
  }

  finish(): Uint8Array<ArrayBuffer> {
    const code = Uint8Array.from(this.#code);
    const view = new DataView(code.buffer);
    for (const { at, label, end } of this.#fixups) view.setInt32(at, (this.#labels[label] as number) - end, true);
    return code;
  }

  // Integers of 64 bits.
  move = (to: number, from: Operand): void => this.#general([0x8b], to, from);
  /** 32 bits, with zeros before them. */
  word = (to: number, from: Memory): void => this.#general([0x8b], to, from, 0, 0x40);
  store = (to: Memory, from: number): void => this.#general([0x89], from, to);
  address = (to: number, of: Memory): void => this.#general([0x8d], to, of);
  add = (to: number, from: Operand): void => this.#general([0x03], to, from);
  subtract = (to: number, from: Operand): void => this.#general([0x2b], to, from);
  multiply = (to: number, from: Operand): void => this.#general([0x0f, 0xaf], to, from);
  compare = (a: number, b: Operand): void => this.#general([0x3b], a, b);
  negate = (to: number): void => this.#general([0xf7], 3, to);
  /** rax and the remainder rdx of rax over x. */
  divide(by: Operand): void {
    this.byte(0x48, 0x99);
    this.#general([0xf7], 7, by);
  }
  set(to: number, value: number): void {
    this.#general([0xc7], 0, to);
    this.#number(value);
  }
  addNumber = (to: number, value: number): void => this.#withNumber(0, to, value);
  subtractNumber = (to: number, value: number): void => this.#withNumber(5, to, value);
  compareNumber = (a: Operand, value: number): void => this.#withNumber(7, a, value);
  multiplyNumber(to: number, from: Operand, value: number): void {
    this.#general([0x69], to, from, 4);
    this.#number(value);
  }
  shiftLeft(to: number, bits: number): void {
    this.#general([0xc1], 4, to);
    this.byte(bits);
  }
  moveIf = (condition: Condition, to: number, from: Operand): void =>
    this.#general([0x0f, 0x40 | CONDITIONS[condition]], to, from);
  /** The whole number that a float64 in memory is. */
  wholeNumber(to: number, from: Memory): void {
    this.byte(0xf2);
    this.#general([0x0f, 0x2c], to, from);
  }
  push = (register: number): void => this.byte(0x40 | (register >> 3), 0x50 | (register & 7));
  pop = (register: number): void => this.byte(0x40 | (register >> 3), 0x58 | (register & 7));
  return = (): void => this.byte(0xc3);
  jump(label: number): void {
    this.byte(0xe9);
    this.#relative(label);
  }
  jumpIf(condition: Condition, label: number): void {
    this.byte(0x0f, 0x80 | CONDITIONS[condition]);
    this.#relative(label);
  }
  prefetch = (at: Memory): void => this.#general([0x0f, 0x18], 1, at);
  /** Where indirect calls may go, on processors that check it. */
  entry = (): void => this.byte(0xf3, 0x0f, 0x1e, 0xfa);
  clearUpper = (): void => this.byte(0xc5, 0xf8, 0x77);
  cpuid = (): void => this.byte(0x0f, 0xa2);
  xgetbv = (): void => this.byte(0x0f, 0x01, 0xd0);

  // Masks of 16 bits, by number.
  /** The lowest bits of rdx, as many as `count` says. */
  lowBits(count: number): void {
    // bzhi edx, edx, count
    this.byte(0xc4, 0xe2, (~count & 15) << 3, 0xf5, 0xd2);
  }
  mask(to: number, from: number): void {
    // kmovw k, r32
    this.byte(0xc5, 0xf8, 0x92, 0xc0 | (to << 3) | from);
  }

  /** An instruction on vectors: the register, the first source (0 where there is none), the last operand. */
  vector(
    bits: 128 | 256 | 512,
    encoding: Encoding,
    register: number,
    source: number,
    operand: Operand,
    options: VectorOptions = {},
  ): void {
    const [prefix, map, opcode, wide = 0, bytes = 64] = encoding;
    const { immediate, mask = 0, zeroing, splat } = options;
    const [high, index] = isMemory(operand)
      ? [operand.label === undefined ? operand.base & 8 : 0, (operand.index ?? 0) & 8]
      : [operand & 8, (operand & 16) >> 1];
    const inverted = ((~register & 8) << 4) | ((~index & 8) << 3) | ((~high & 8) << 2);
    const second = ((~source & 15) << 3) | prefix;
    if (bits === 512) {
      const third = (zeroing ? 0x80 : 0) | 0x40 | (splat ? 0x10 : 0) | ((~source & 16) >> 1) | mask;
      this.byte(0x62, inverted | (~register & 16) | map, (wide << 7) | second | 4, third);
    } else this.byte(0xc4, inverted | map, (wide << 7) | second | (bits === 256 ? 4 : 0));
    this.byte(opcode);
    this.#operand(register, operand, bits === 512 ? (splat ? 4 : bytes) : 1, immediate === undefined ? 0 : 1);
    if (immediate !== undefined) this.byte(immediate);
  }

  #general(opcode: readonly number[], register: number, operand: Operand, trailing = 0, prefix = 0x48): void {
    const [base, index] = isMemory(operand) ? [operand.base, operand.index ?? 0] : [operand, 0];
    this.byte(prefix | ((register & 8) >> 1) | ((index & 8) >> 2) | ((base & 8) >> 3), ...opcode);
    this.#operand(register, operand, 1, trailing);
  }

  #withNumber(operation: number, to: Operand, value: number): void {
    const isSmall = value >= -128 && value < 128;
    this.#general([isSmall ? 0x83 : 0x81], operation, to, isSmall ? 1 : 4);
    if (isSmall) this.byte(value);
    else this.#number(value);
  }

  /** How registers and memory are said; `unit` is what small offsets count in. */
  #operand(register: number, operand: Operand, unit: number, trailing: number) {
    const field = (register & 7) << 3;
    if (!isMemory(operand)) return this.byte(0xc0 | field | (operand & 7));
    if (operand.label !== undefined) {
      this.byte(field | 5);
      return this.#relative(operand.label, trailing);
    }
    const { base, index, scale = 1, offset } = operand;
    const small = offset / unit;
    const isSmall = Number.isInteger(small) && small >= -128 && small < 128;
    const mode = offset === 0 && (base & 7) !== RBP ? 0 : isSmall ? 0x40 : 0x80;
    if (index === undefined && (base & 7) !== RSP) this.byte(mode | field | (base & 7));
    else this.byte(mode | field | 4, (Math.log2(scale) << 6) | (((index ?? RSP) & 7) << 3) | (base & 7));
    if (mode === 0x40) this.byte(small);
    else if (mode === 0x80) this.#number(offset);
  }

  #relative(label: number, trailing = 0): void {
    const at = this.#code.length;
    this.#fixups.push({ at, label, end: at + 4 + trailing });
    this.#number(0);
  }

  #number(value: number): void {
    if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 31)
      throw new RangeError(`${value} has more than 32 bits`);
    this.byte(value, value >> 8, value >> 16, value >> 24);
  }
}
