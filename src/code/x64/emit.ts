/** Machine code for x86-64 of what a kernel has said, as a function of four integers by the calling convention of System V. */
import { Address, ARGUMENTS, type Code, type Instruction, type Operand, type Register, type Test } from '../kernel';
import { placesOf } from '../registers';
import { Assembler, type Memory, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, VECTOR } from './assembler';

/** In the order in which they are taken; rax and rdx are for values on the way between memory and instructions. */
const INTEGERS = [RDI, RSI, RCX, 8, 9, 10, 11, RBX, RBP, 12, 13, 14, 15];
/** Those that a function leaves as they were. */
const KEPT = [RBX, RBP, 12, 13, 14, 15];
/** AVX2: for values on the way. */
const SPARE = 15;
/** AVX-512: the mask of the instruction at hand. */
const MASK = 1;

/** Comparisons of numbers, of which NaN fulfils none but `!=`. */
const COMPARISONS: Readonly<Record<Test, number>> = { '<': 17, '<=': 18, '>': 30, '>=': 29, '==': 0, '!=': 4 };

/** @throws {Error} if an inner loop needs more registers than there are */
export function emit(code: Code): Uint8Array<ArrayBuffer> {
  return new Emitter(code).emit();
}

class Emitter {
  readonly #a = new Assembler();
  readonly #bits: 256 | 512;
  readonly #is512: boolean;
  readonly #places;
  /** Numbers behind the code, by their bits. */
  readonly #numbers = new Map<number, number>();
  /** As many lanes that are stored as there are, then as many that are not. */
  readonly #tail = this.#a.label();
  /** Labels past what is open. */
  readonly #open: number[] = [];

  constructor(private readonly code: Code) {
    this.#is512 = code.target.name === 'avx512';
    this.#bits = this.#is512 ? 512 : 256;
    this.#places = placesOf(code, INTEGERS.length);
  }

  emit(): Uint8Array<ArrayBuffer> {
    const a = this.#a;
    const used = new Set(this.#places.integers.map((place) => INTEGERS[place]));
    const kept = KEPT.filter((register) => used.has(register));
    const room = 8 * this.#places.spilled;
    a.entry();
    for (const register of kept) a.push(register);
    if (room > 0) a.subtractNumber(RSP, room);
    this.#takeArguments();
    for (const instruction of this.code.instructions) this.#instruction(instruction);
    if (room > 0) a.addNumber(RSP, room);
    for (const register of [...kept].reverse()) a.pop(register);
    a.clearUpper();
    a.return();
    this.#writeNumbers();
    return a.finish();
  }

  /** From rdi, rsi, rdx and rcx. */
  #takeArguments(): void {
    const arrive = [RDI, RSI, RDX, RCX];
    // The last first, since rcx is where the third one goes.
    for (let at = ARGUMENTS - 1; at >= 0; at--) {
      const place = this.#places.integers[at] as number;
      if (place < 0) this.#a.store(slot(place), arrive[at] as number);
      else if (INTEGERS[place] !== arrive[at]) this.#a.move(INTEGERS[place] as number, arrive[at] as number);
    }
  }

  #instruction(instruction: Instruction): void {
    const { op, from, to, test } = instruction;
    const a = this.#a;
    if (op === 'loop') {
      a.align(32);
      const again = a.label();
      a.bind(again);
      this.#open.push(again);
    } else if (op === 'again') {
      this.#compare(from);
      a.jumpIf(test as Test, this.#open.pop() as number);
    } else if (op === 'if') {
      const past = a.label();
      this.#compare(from);
      a.jumpIf(OPPOSITE[test as Test], past);
      this.#open.push(past);
    } else if (op === 'else') {
      const past = a.label();
      a.jump(past);
      a.bind(this.#open.pop() as number);
      this.#open.push(past);
    } else if (op === 'end') a.bind(this.#open.pop() as number);
    else if (op === 'prefetch') a.prefetch(this.#memory(from[0] as Address));
    else if (op === 'store') this.#store(instruction);
    else if (op === 'storeHalves' || op === 'storeFloat16') this.#storeHalves(op, from as readonly [Address, Register]);
    else if (to?.kind === 'integer') this.#integer(instruction, to);
    else this.#vector(instruction, to as Register);
  }

  #compare([x, y]: readonly Operand[]): void {
    if (typeof y === 'number') this.#a.compareNumber(this.#operand(x as Register), y);
    else this.#a.compare(this.#read(x as Register, RAX), this.#operand(y as Register));
  }

  #integer({ op, from: [x, y] }: Instruction, to: Register): void {
    const a = this.#a;
    const place = this.#places.integers[to.id] as number;
    const target = place < 0 ? RAX : (INTEGERS[place] as number);
    if (op === 'param') a.wholeNumber(target, this.#memory(x as Address));
    else if (op === 'word') a.word(target, this.#memory(x as Address));
    else if (op === 'integer') a.set(target, x as number);
    else if (op === 'copy') this.#moveTo(target, x as Register);
    else if (op === 'quotient' || op === 'remainder') {
      a.move(RAX, this.#operand(x as Register));
      a.divide(this.#operand(y as Register));
      const found = op === 'quotient' ? RAX : RDX;
      if (found !== target) a.move(target, found);
    } else if (typeof y === 'number') this.#withNumber(op, target, x as Register, y);
    else {
      const second = this.#operand(y as Register);
      // In rax where the target is the second operand.
      const into = second === target ? RAX : target;
      this.#moveTo(into, x as Register);
      if (op === 'plus') a.add(into, second);
      else if (op === 'minus') a.subtract(into, second);
      else if (op === 'times') a.multiply(into, second);
      else {
        a.compare(into, second);
        a.moveIf('>', into, second);
      }
      if (into !== target) a.move(target, into);
    }
    if (place < 0) a.store(slot(place), target);
  }

  #withNumber(op: Instruction['op'], target: number, x: Register, y: number) {
    const a = this.#a;
    if (op === 'times' && Math.log2(y) % 1 !== 0) return a.multiplyNumber(target, this.#operand(x), y);
    const source = this.#operand(x);
    if (op !== 'times' && typeof source === 'number' && source !== target)
      return a.address(target, { base: source, offset: op === 'plus' ? y : -y });
    this.#moveTo(target, x);
    if (op === 'times') a.shiftLeft(target, Math.log2(y));
    else a.addNumber(target, op === 'plus' ? y : -y);
  }

  #store({ from: [at, x], count }: Instruction) {
    const value = this.#vectorAt(x as Register);
    if (!count) return this.#a.vector(this.#bits, VECTOR.store, value, 0, this.#memory(at as Address));
    this.#maskOf(count);
    const memory = this.#memory(at as Address);
    if (this.#is512) this.#a.vector(512, VECTOR.store, value, 0, memory, { mask: MASK });
    else this.#a.vector(256, VECTOR.maskedStore, value, SPARE, memory);
  }

  #storeHalves(op: 'storeHalves' | 'storeFloat16', [at, x]: readonly [Address, Register]) {
    const a = this.#a;
    const value = this.#vectorAt(x);
    const memory = this.#memory(at);
    if (op === 'storeFloat16') a.vector(this.#bits, VECTOR.storeFloat16, value, 0, memory, { immediate: 0 });
    else if (this.#is512) a.vector(512, VECTOR.storeHalves, value, 0, memory);
    else {
      a.vector(256, VECTOR.packHalves, SPARE, value, value);
      a.vector(256, VECTOR.evenHalves, SPARE, 0, SPARE, { immediate: 8 });
      a.vector(128, VECTOR.store, SPARE, 0, memory);
    }
  }

  /** The first `count` lanes: a mask, or a vector with their highest bits set. */
  #maskOf(count: Register): void {
    const a = this.#a;
    const lanes = this.#read(count, RAX);
    if (this.#is512) {
      a.set(RDX, -1);
      a.lowBits(lanes);
      a.mask(MASK, RDX);
    } else {
      a.move(RDX, lanes);
      a.negate(RDX);
      a.address(RAX, { base: 0, offset: 0, label: this.#tail });
      a.vector(256, VECTOR.load, SPARE, 0, { base: RAX, offset: 32, index: RDX, scale: 4 });
    }
  }

  #vector({ op, from, count, test }: Instruction, to: Register) {
    const a = this.#a;
    const target = this.#vectorAt(to);
    const [x, y, third] = from;
    const vector = (
      encoding: (typeof VECTOR)[keyof typeof VECTOR],
      first: number,
      last: Operand | undefined,
      immediate?: number,
    ) => {
      const options = immediate === undefined ? {} : { immediate };
      if (typeof last === 'number') {
        a.vector(
          this.#bits,
          encoding,
          target,
          first,
          { base: 0, offset: 0, label: this.#number(last) },
          { ...options, splat: this.#is512 },
        );
      } else
        a.vector(
          this.#bits,
          encoding,
          target,
          first,
          last instanceof Address ? this.#memory(last) : this.#vectorAt(last as Register),
          options,
        );
    };
    switch (op) {
      case 'number':
        if (Object.is(x, 0)) return a.vector(this.#bits, VECTOR.xor, target, target, target);
        return a.vector(this.#bits, VECTOR.splat, target, 0, { base: 0, offset: 0, label: this.#number(x as number) });
      case 'bits':
        return a.vector(this.#bits, VECTOR.splat, target, 0, { base: 0, offset: 0, label: this.#word(x as number) });
      case 'load':
        if (!count) return vector(VECTOR.load, 0, x);
        this.#maskOf(count);
        if (this.#is512)
          return a.vector(512, VECTOR.load, target, 0, this.#memory(x as Address), { mask: MASK, zeroing: true });
        return a.vector(256, VECTOR.maskedLoad, target, SPARE, this.#memory(x as Address));
      case 'loadHalves':
      case 'loadFloat16':
      case 'move':
      case 'splat':
      case 'toFloat':
      case 'toWord':
      case 'root':
        return vector(VECTOR[op], 0, x);
      case 'round':
        return vector(VECTOR.round, 0, x, y as number);
      case 'addProduct':
      case 'timesPlus':
        return vector(VECTOR[op], this.#vectorAt(y as Register), third);
      case 'gather':
        return this.#gather(target, y as Register, this.#vectorAt(third as Register));
      case 'mask':
      case 'maskOfWords':
        return this.#mask(target, op, from as readonly Register[], test as Test);
      case 'pick':
        return this.#pick(target, from as readonly Register[]);
      case 'quarters':
        return vector(this.#is512 ? VECTOR.quarters : VECTOR.halves, this.#vectorAt(x as Register), y, third as number);
      case 'scale2':
        if (this.#is512) return vector(VECTOR.scalef, this.#vectorAt(x as Register), y);
        a.vector(256, VECTOR.toInteger, SPARE, 0, this.#vectorAt(y as Register));
        a.vector(256, VECTOR.shift, 6, SPARE, SPARE, { immediate: 23 });
        return a.vector(256, VECTOR.addWords, target, SPARE, this.#vectorAt(x as Register));
      case 'select':
        return this.#select(target, from as readonly Register[], test as Test);
      default:
        return vector(VECTOR[op as 'add'], this.#vectorAt(x as Register), y);
    }
  }

  #select(target: number, from: readonly Register[], test: Test): void {
    const [x, y, yes, no] = from.map((each) => this.#vectorAt(each)) as [number, number, number, number];
    const immediate = COMPARISONS[test];
    if (this.#is512) {
      this.#a.vector(512, VECTOR.compare, MASK, x, y, { immediate });
      this.#a.vector(512, VECTOR.blendByMask, target, no, yes, { mask: MASK });
    } else {
      this.#a.vector(256, VECTOR.compare, SPARE, x, y, { immediate });
      this.#a.vector(256, VECTOR.blendByVector, target, no, yes, { immediate: SPARE << 4 });
    }
  }

  /** Which lanes are read is a mask, or a vector with their highest bits set, that the instruction clears. */
  #gather(target: number, table: Register, index: number): void {
    const at = { base: this.#read(table, RAX), offset: 0, index: index & 15, scale: 4 } as const;
    if (this.#is512) {
      this.#a.set(RDX, -1);
      this.#a.mask(MASK, RDX);
      // The index's highest bit is where the first source has its.
      this.#a.vector(512, VECTOR.gather, target, index & 16, at, { mask: MASK });
    } else {
      this.#a.vector(256, VECTOR.equalWords, SPARE, SPARE, SPARE);
      this.#a.vector(256, VECTOR.gather, target, SPARE, at);
    }
  }

  #mask(target: number, op: 'mask' | 'maskOfWords', from: readonly Register[], test: Test): void {
    const [x, y] = from.map((each) => this.#vectorAt(each)) as [number, number];
    const isWords = op === 'maskOfWords';
    if (this.#is512) {
      const immediate = isWords ? (test === '==' ? 0 : 6) : COMPARISONS[test];
      this.#a.vector(512, isWords ? VECTOR.compareWords : VECTOR.compare, MASK, x, y, { immediate });
      this.#a.vector(512, VECTOR.maskToVector, target, 0, MASK);
    } else if (isWords) this.#a.vector(256, test === '==' ? VECTOR.equalWords : VECTOR.greaterWords, target, x, y);
    else this.#a.vector(256, VECTOR.compare, target, x, y, { immediate: COMPARISONS[test] });
  }

  #pick(target: number, from: readonly Register[]): void {
    const [mask, yes, no] = from.map((each) => this.#vectorAt(each)) as [number, number, number];
    if (this.#is512) {
      this.#a.vector(512, VECTOR.vectorToMask, MASK, 0, mask);
      this.#a.vector(512, VECTOR.blendByMask, target, no, yes, { mask: MASK });
    } else this.#a.vector(256, VECTOR.blendByVector, target, no, yes, { immediate: mask << 4 });
  }

  /** An integer in its register, or read from memory to `spare`. */
  #read(x: Register, spare: number): number {
    const operand = this.#operand(x);
    if (typeof operand === 'number') return operand;
    this.#a.move(spare, operand);
    return spare;
  }

  #moveTo(to: number, x: Register): void {
    const from = this.#operand(x);
    if (from !== to) this.#a.move(to, from);
  }

  #operand({ id }: Register): number | Memory {
    const place = this.#places.integers[id] as number;
    return place < 0 ? slot(place) : (INTEGERS[place] as number);
  }

  #vectorAt({ id }: Register): number {
    return this.#places.vectors[id] as number;
  }

  /** Uses rax, and rdx, for what lies in memory. */
  #memory({ base, offset, index, scale }: Address): Memory {
    if (!index) return { base: this.#read(base, RAX), offset };
    return { base: this.#read(base, RAX), offset, index: this.#read(index, RDX), scale };
  }

  #number(value: number): number {
    return this.#word(new Int32Array(Float32Array.of(value).buffer)[0] as number);
  }

  #word(bits: number): number {
    const label = this.#numbers.get(bits) ?? this.#a.label();
    this.#numbers.set(bits, label);
    return label;
  }

  #writeNumbers(): void {
    const a = this.#a;
    const word = (bits: number) => a.byte(bits, bits >> 8, bits >> 16, bits >> 24);
    a.align(32);
    for (const [bits, label] of this.#numbers) {
      a.bind(label);
      for (let lane = 0; lane < (this.#is512 ? 1 : 8); lane++) word(bits);
    }
    a.bind(this.#tail);
    if (!this.#is512) for (let lane = 0; lane < 16; lane++) word(lane < 8 ? -1 : 0);
  }
}

const OPPOSITE = { '<': '>=', '<=': '>', '>': '<=', '>=': '<', '==': '!=', '!=': '==' } as const satisfies Record<
  Test,
  Test
>;

/** A value in memory; -1 is the first. */
const slot = (place: number): Memory => ({ base: RSP, offset: -8 * (place + 1) });
