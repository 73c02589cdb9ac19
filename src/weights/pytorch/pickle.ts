/**
 * Reads Python's pickles of plain values. A pickle is a program for a stack machine; of its instructions only those are
 * known that make plain values, and a global is one of a list or refused, so that nothing of the file is ever executed.
 * Format: https://docs.python.org/3/library/pickletools.html
 */
import { ParseError } from '../../errors';
import { quote } from '../../io/bytes';
import type { Cursor } from '../read-ahead';

/** A dictionary; keys may be any values. */
export class Dict {
  readonly entries = new Map<unknown, unknown>();
}

/** What a pickle names instead of holding: a function or a class. */
export class Global {
  constructor(
    readonly name: string,
    /** What a call makes; undefined where it is only a name. */
    readonly call?: (given: readonly unknown[]) => unknown,
  ) {}
}

/** What pickles of one kind may name and hold, besides plain values. */
export interface PickleRules {
  /** A function or a class by its name, or the value it stands for; undefined if it is refused. */
  global(name: string): unknown;
  /** What stands for something outside the pickle. */
  persistent(id: unknown): unknown;
}

/** Bytes of memory that values take, roughly. */
const COST = { step: 8, memo: 48, item: 48, container: 224, text: 32 };
const LONGEST_LINE = 256;
const LONGEST_INTEGER = 256;

/**
 * The value of a pickle, and the cursor behind it. Lists, tuples and sets are arrays, bytes and texts are texts.
 *
 * @throws {ParseError} what is not plain, by its name; values that would take more than `budget` bytes
 */
export function unpickle(cursor: Cursor, rules: PickleRules, budget: number): unknown {
  return new Machine(cursor, rules, budget).run();
}

class Machine {
  readonly #stack: unknown[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();
  #spent = 0;

  constructor(
    readonly cursor: Cursor,
    readonly rules: PickleRules,
    readonly budget: number,
  ) {}

  run(): unknown {
    for (;;) {
      this.spend(COST.step);
      const code = this.cursor.number('Uint8', 'a pickle');
      if (code === STOP) return this.pop();
      const step = STEPS.get(code);
      if (!step) throw this.fail(`the instruction ${code} of pickles, which plain values do not need`);
      step(this);
    }
  }

  spend(bytes: number): void {
    this.#spent += bytes;
    if (this.#spent > this.budget)
      throw new ParseError(`${this.cursor.label}: the values of its pickle take more memory than ${this.budget} bytes`);
  }

  fail(what: string): ParseError {
    return new ParseError(`${this.cursor.label} wants ${what}: only tensors in plain containers are read`);
  }

  broken(what: string): ParseError {
    return new ParseError(`${this.cursor.label}: its pickle ${what}`);
  }

  push(value: unknown): void {
    this.#stack.push(value);
  }

  pop(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.broken('takes a value that is not there');
    return this.#stack.pop();
  }

  /** The value on top, which stays. */
  top(): unknown {
    const value = this.pop();
    this.push(value);
    return value;
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  popMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.broken('takes values from a mark that is not there');
    return this.#stack.splice(mark);
  }

  popMany(count: number): unknown[] {
    return Array.from({ length: count }, () => this.pop()).reverse();
  }

  keep(index: number): void {
    this.spend(COST.memo);
    this.#memo.set(index, this.top());
  }

  keepNext(): void {
    this.keep(this.#memo.size);
  }

  recall(index: number): void {
    if (!this.#memo.has(index)) throw this.broken(`takes value ${index}, which it did not keep`);
    this.push(this.#memo.get(index));
  }

  container<T>(value: T): void {
    this.spend(COST.container);
    this.push(value);
  }

  list(): unknown[] {
    const list = this.top();
    if (!Array.isArray(list)) throw this.broken('adds to what is not a list');
    return list;
  }

  append(values: readonly unknown[]): void {
    const list = this.list();
    for (const value of values) list.push(value);
  }

  setItems(items: readonly unknown[]): void {
    const dict = this.top();
    if (!(dict instanceof Dict) || items.length % 2 !== 0) throw this.broken('sets items of what is not a dictionary');
    this.spend((items.length / 2) * COST.item);
    for (let at = 0; at < items.length; at += 2) dict.entries.set(items[at], items[at + 1]);
  }

  text(length: number): string {
    const text = this.cursor.text(length, 'a text of its pickle');
    this.spend(COST.text + length);
    return text;
  }

  /** A text of one byte a character. */
  bytes(length: number): string {
    const bytes = this.cursor.take(length, 'bytes of its pickle');
    this.spend(COST.text + length);
    return latin1(bytes);
  }

  /** The text up to the end of the line. */
  line(): string {
    const bytes: number[] = [];
    for (let byte: number; ; bytes.push(byte)) {
      byte = this.cursor.number('Uint8', 'a pickle');
      if (byte === NEWLINE) return String.fromCharCode(...bytes);
      if (bytes.length === LONGEST_LINE) throw this.broken('has a line without an end');
    }
  }

  /** Little-endian, in two's complement. */
  integer(length: number): number | bigint {
    if (length > LONGEST_INTEGER) throw this.broken(`has an integer of ${length} bytes`);
    this.spend(COST.text + length);
    const bytes = this.cursor.take(length, 'an integer of its pickle');
    let value = 0n;
    for (let at = length - 1; at >= 0; at--) value = (value << 8n) | BigInt(bytes[at] as number);
    const signed = BigInt.asIntN(8 * length, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  }

  globalOf(names: readonly unknown[]): void {
    if (!names.every((name) => typeof name === 'string')) throw this.broken('names a global by what is not a text');
    this.global(names.join('.'));
  }

  global(name: string): void {
    const found = this.rules.global(name);
    if (found === undefined) throw this.fail(quote(name));
    this.push(found);
  }

  call(): void {
    const [called, given] = this.popMany(2);
    if (!(called instanceof Global && called.call && Array.isArray(given)))
      throw this.broken('calls what is not a function');
    this.spend(COST.container);
    for (const each of given) if (Array.isArray(each)) this.spend(each.length * COST.item);
    try {
      this.push(called.call(given));
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      throw new ParseError(`${this.cursor.label}: ${error.message}`);
    }
  }

  /** Attributes of an object: dictionaries of PyTorch have versions of modules, which say nothing of tensors. */
  build(): void {
    this.pop();
    if (!(this.top() instanceof Dict)) throw this.broken('gives attributes to what is not a dictionary');
  }

  persistent(): void {
    this.spend(COST.container);
    const id = this.pop();
    try {
      this.push(this.rules.persistent(id));
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      throw new ParseError(`${this.cursor.label}: ${error.message}`);
    }
  }
}

const NEWLINE = 10;
const STOP = 0x2e;

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return text;
}

const byteOf = ({ cursor }: Machine) => cursor.number('Uint8', 'a pickle');
const wordOf = ({ cursor }: Machine) => cursor.number('Uint32', 'a pickle');
const longOf = ({ cursor }: Machine) => cursor.count('a pickle');

/** What each instruction does, by its code. */
const STEPS: ReadonlyMap<number, (machine: Machine) => void> = new Map([
  // Values.
  [0x4e, (m) => m.push(null)],
  [0x88, (m) => m.push(true)],
  [0x89, (m) => m.push(false)],
  [0x4b, (m) => m.push(byteOf(m))],
  [0x4d, (m) => m.push(m.cursor.number('Uint16', 'a pickle'))],
  [0x4a, (m) => m.push(m.cursor.number('Int32', 'a pickle'))],
  [0x8a, (m) => m.push(m.integer(byteOf(m)))],
  [0x8b, (m) => m.push(m.integer(wordOf(m)))],
  [0x47, (m) => m.push(bigEndianFloat(m))],
  [0x58, (m) => m.push(m.text(wordOf(m)))],
  [0x8c, (m) => m.push(m.text(byteOf(m)))],
  [0x8d, (m) => m.push(m.text(longOf(m)))],
  [0x54, (m) => m.push(m.bytes(wordOf(m)))],
  [0x55, (m) => m.push(m.bytes(byteOf(m)))],
  [0x42, (m) => m.push(m.bytes(wordOf(m)))],
  [0x43, (m) => m.push(m.bytes(byteOf(m)))],
  [0x8e, (m) => m.push(m.bytes(longOf(m)))],
  [0x96, (m) => m.push(m.bytes(longOf(m)))],
  // Containers.
  [0x7d, (m) => m.container(new Dict())],
  [0x5d, (m) => m.container([])],
  [0x29, (m) => m.container([])],
  [0x8f, (m) => m.container([])],
  [0x28, (m) => m.mark()],
  [0x74, (m) => m.container(m.popMark())],
  [0x91, (m) => m.container(m.popMark())],
  [0x85, (m) => m.container(m.popMany(1))],
  [0x86, (m) => m.container(m.popMany(2))],
  [0x87, (m) => m.container(m.popMany(3))],
  [0x61, (m) => m.append([m.pop()])],
  [0x65, (m) => m.append(m.popMark())],
  [0x90, (m) => m.append(m.popMark())],
  [0x73, (m) => m.setItems(m.popMany(2))],
  [0x75, (m) => m.setItems(m.popMark())],
  // The stack and what is kept.
  [0x30, (m) => void m.pop()],
  [0x31, (m) => void m.popMark()],
  [0x32, (m) => m.push(m.top())],
  [0x71, (m) => m.keep(byteOf(m))],
  [0x72, (m) => m.keep(wordOf(m))],
  [0x94, (m) => m.keepNext()],
  [0x68, (m) => m.recall(byteOf(m))],
  [0x6a, (m) => m.recall(wordOf(m))],
  // Objects.
  [0x63, (m) => m.global(`${m.line()}.${m.line()}`)],
  [0x93, (m) => m.globalOf(m.popMany(2))],
  [0x52, (m) => m.call()],
  [0x62, (m) => m.build()],
  [0x51, (m) => m.persistent()],
  // The protocol, and the length of what follows.
  [0x80, (m) => void byteOf(m)],
  [0x95, (m) => void longOf(m)],
] satisfies [number, (machine: Machine) => void][]);

function bigEndianFloat({ cursor }: Machine): number {
  const { buffer, byteOffset } = cursor.take(8, 'a number of its pickle');
  return new DataView(buffer, byteOffset).getFloat64(0);
}
