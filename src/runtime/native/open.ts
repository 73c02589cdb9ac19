/**
 * Machine code in Node: what the processor has, and memory that code is run from, which is written first and executable after,
 * never both. Code stays for as long as the process, since threads of any runtime may run it: there is little of it, some
 * kilobytes for each kind of call.
 */

import { codeOf, type Kernel, TARGETS, type Target } from '../../code/kernel';
import { Assembler, RAX, RBX, RCX, RDI, RDX, RSI } from '../../code/x64/assembler';
import { emit } from '../../code/x64/emit';
import { resolvePackage } from '../../packages';
import { reasonOf } from '../../text/reason';
import { functionAt, type Koffi, LIBC, type NativeThread, requireKoffi } from './calls';

const [READ, WRITE, EXECUTE] = [1, 2, 4];
const PRIVATE_ANONYMOUS = 0x22;
const HUGE_PAGES = 14;
const PAGE = 4096;
/** Each takes a page or some. */
const MOST_KERNELS = 8192;

/** Machine code of this process for its processor. */
export class Native {
  readonly #koffi: Koffi;
  readonly #map;
  readonly #protect;
  readonly #copy;
  readonly #advise;
  /** Addresses of kernels by their keys. */
  readonly #kernels = new Map<string, number>();
  readonly target: Target;

  /** Throws a reason in words. */
  constructor(private readonly path: string) {
    this.#koffi = requireKoffi(path);
    const c = this.#koffi.load(LIBC);
    // Addresses as numbers, which have at most 47 bits.
    this.#map = c.func('int64_t mmap(int64_t at, size_t bytes, int protection, int flags, int file, int64_t offset)');
    this.#protect = c.func('int mprotect(int64_t at, size_t bytes, int protection)');
    this.#copy = c.func('int64_t memcpy(int64_t to, int64_t from, size_t bytes)');
    this.#advise = c.func('int madvise(int64_t at, size_t bytes, int advice)');
    this.target = this.#askProcessor();
  }

  /**
   * What threads need to call code over a memory, whose maximum in bytes is reserved, so that it stays where it is as it grows.
   * The system may back it with huge pages, from which large tensors are read faster.
   */
  threadOf(memory: WebAssembly.Memory, most: number): NativeThread {
    const base = this.#addressOf(new Uint8Array(memory.buffer));
    this.#advise(base, most, HUGE_PAGES);
    return { koffi: this.path, base };
  }

  /** Whether there is so much code that what is not needed should make no more. */
  get isFull(): boolean {
    return this.#kernels.size >= MOST_KERNELS;
  }

  /** The address of a kernel's code, made once for each key, which says all that it depends on; for AVX2 if that target is named. */
  kernel(key: string, build: (k: Kernel) => void, target = this.target): number {
    const known = this.#kernels.get(key);
    if (known !== undefined) return known;
    const address = this.executable(emit(codeOf(target, build)));
    this.#kernels.set(key, address);
    return address;
  }

  /** The address of a copy of code that can be run. */
  executable(code: Uint8Array<ArrayBuffer>): number {
    const bytes = Math.ceil(code.length / PAGE) * PAGE;
    const at = this.#map(0, bytes, READ | WRITE, PRIVATE_ANONYMOUS, -1, 0);
    if (at === -1) throw new Error('the system gives no memory for code');
    this.#copy(at, this.#addressOf(code), code.length);
    if (this.#protect(at, bytes, READ | EXECUTE) !== 0) throw new Error('the system lets no memory be executed');
    return at;
  }

  #addressOf(bytes: Uint8Array): number {
    return Number(this.#koffi.address(bytes));
  }

  /** By the instructions for it: what the processor has, and which registers the system keeps for each thread. */
  #askProcessor(): Target {
    const out = new BigUint64Array(4);
    const ask = (instruction: (a: Assembler) => void, leaf: number): number[] => {
      const a = new Assembler();
      a.push(RBX);
      a.move(RAX, RSI);
      a.set(RCX, 0);
      instruction(a);
      for (const [at, from] of [RAX, RBX, RCX, RDX].entries()) a.store({ base: RDI, offset: 8 * at }, from);
      a.pop(RBX);
      a.return();
      const bytes = new Uint8Array(out.buffer);
      functionAt(this.#koffi, this.executable(a.finish()), 2)(this.#addressOf(bytes), leaf);
      return [...new Uint32Array(out.buffer)].filter((_, at) => at % 2 === 0);
    };
    const leaf = (number: number) => ask((a) => a.cpuid(), number) as [number, number, number, number];
    const has = (bits: number, ...places: number[]) => places.every((place) => (bits >>> place) & 1);
    const [most] = leaf(0);
    const [, , basic] = leaf(1);
    const [, extended] = most >= 7 ? leaf(7) : [0, 0];
    // FMA, XSAVE by the system, AVX, F16C; AVX2, BMI2.
    if (!has(basic, 12, 27, 28, 29) || !has(extended, 5, 8)) throw new Error('the processor has no AVX2');
    const [kept] = ask((a) => a.xgetbv(), 0) as [number];
    if (!has(kept, 1, 2)) throw new Error('the system keeps no registers of AVX2');
    // The foundation, DQ, BW and VL; masks and both halves of the registers.
    return has(extended, 16, 17, 30, 31) && has(kept, 5, 6, 7) ? TARGETS.avx512 : TARGETS.avx2;
  }
}

let opened: Native | string | undefined;

/** Machine code of this process, or why there is none. */
export function openNative(): Native | string {
  opened ??= tryToOpen();
  return opened;
}

function tryToOpen(): Native | string {
  const { process } = globalThis;
  if (!process?.getBuiltinModule || process.versions.bun || 'Deno' in globalThis) return 'it needs Node';
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `it is made for Linux on x64, and this is ${process.platform} on ${process.arch}`;
  const path = resolvePackage('koffi');
  if (!path) return 'it needs the package koffi, which is not installed: npm install koffi';
  try {
    return new Native(path);
  } catch (error) {
    return reasonOf(error);
  }
}
