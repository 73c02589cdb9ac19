/** Machine code called by a thread: what calls it, and where the memory of all threads begins. */

/** Takes the addresses of its params and of its thread's working memory, and a task number. */
export type Kernel = (params: number, task: number, scratch: number) => void;

/** What a thread needs to call machine code: the file of koffi, and the address of the heap's first byte. */
export interface NativeThread {
  readonly koffi: string;
  readonly base: number;
}

type Call = (...given: number[]) => number;

/** What koffi does for us; its own types are of what it can do for others. */
export interface Koffi {
  load(path: string): { func(prototype: string): Call };
  proto(result: string, given: readonly string[]): object;
  decode(address: bigint, type: object): Call;
  address(value: unknown): bigint;
}

export const LIBC = 'libc.so.6';

/** Each thread has a koffi of its own, which has no memory for calls before it has loaded a library. */
export function requireKoffi(path: string): Koffi {
  const koffi = process.getBuiltinModule('node:module').createRequire(path)(path) as Koffi;
  koffi.load(LIBC);
  return koffi;
}

/** Machine code at an address, as a function of so many integers. */
export function functionAt(koffi: Koffi, address: number, integers: number): Call {
  return koffi.decode(BigInt(address), koffi.proto('void', Array<string>(integers).fill('int64_t')));
}

/**
 * Kernels by the addresses of their code, over the heap: a thread's own. Its koffi is loaded at once, since a thread that is
 * ended while it loads takes the process with it.
 */
export function kernelsAt(thread: NativeThread | undefined): (address: number) => Kernel {
  const koffi = thread && requireKoffi(thread.koffi);
  const base = thread?.base ?? 0;
  const kernels = new Map<number, Kernel>();
  return (address) => {
    let kernel = kernels.get(address);
    if (!kernel) {
      const call = functionAt(koffi as Koffi, address, 4);
      kernel = (params, task, scratch) => {
        call(base, params, scratch, task);
      };
      kernels.set(address, kernel);
    }
    return kernel;
  };
}
