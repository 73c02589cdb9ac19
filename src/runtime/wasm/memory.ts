import { BackendError } from '../../errors';
import { Heap } from '../cpu/heap';
import { HEAP_BASE } from './schedule';

const PAGE = 65536;
/** All that 32-bit addresses reach, then less, for platforms that refuse to reserve that much. */
const MAXIMUM_PAGES = [65536, 32768, 16384, 4096];

/** A heap over memory that all threads share. */
export function openHeap(base = HEAP_BASE): Heap<WebAssembly.Memory> {
  const initial = Math.ceil((base + 1) / PAGE);
  let reason: unknown;
  for (const maximum of MAXIMUM_PAGES) {
    try {
      return new Heap(new WebAssembly.Memory({ initial, maximum, shared: true }), maximum * PAGE, base);
    } catch (error) {
      reason = error;
    }
  }
  throw new BackendError(`this platform gives no shared WebAssembly memory: ${reason}`);
}
