import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openHeap } from '../wasm/memory';
import type { HeapBuffer } from './heap';

test('buffers never overlap, and released memory comes back whole', () => {
  const commands = fc.array(fc.record({ bytes: fc.nat({ max: 300_000 }), release: fc.nat({ max: 9 }) }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(commands, (steps) => {
      const heap = openHeap(4096);
      const first = heap.allocate(1).address;
      const held: HeapBuffer[] = [];
      for (const { bytes, release } of steps) {
        const buffer = heap.allocate(bytes);
        expect(buffer.address % 64).toBe(0);
        expect(buffer.address + bytes).toBeLessThanOrEqual(heap.memory.buffer.byteLength);
        for (const other of held) {
          expect(
            buffer.address + Math.max(1, bytes) <= other.address ||
              other.address + Math.max(1, other.bytes) <= buffer.address,
          ).toBe(true);
        }
        held.push(buffer);
        for (const freed of held.splice(0, release)) heap.release(freed);
        expect(heap.report().live).toBe(1 + held.reduce((sum, { bytes }) => sum + bytes, 0));
      }
      for (const buffer of held) heap.release(buffer);
      // All in one piece again: what fits beside the first buffer lies right behind it, without growing.
      const { reserved } = heap.report();
      expect(heap.allocate(reserved - first - 64).address).toBe(first + 64);
      expect(heap.report().reserved).toBe(reserved);
    }),
    { numRuns: 50 },
  );
});

test('peak counts from the last reset', () => {
  const heap = openHeap(4096);
  const small = heap.allocate(1000);
  heap.release(heap.allocate(5000));
  expect(heap.report()).toMatchObject({ live: 1000, peak: 6000 });
  heap.resetPeak();
  expect(heap.report().peak).toBe(1000);
  heap.release(small);
  expect(heap.report()).toMatchObject({ live: 0, peak: 1000 });
});

test('more bytes than the heap can have are refused, and nothing is lost', () => {
  const heap = openHeap(4096);
  const held = heap.allocate(1 << 20);
  const { reserved } = heap.report();
  expect(() => heap.allocate(2 ** 33)).toThrow(
    `cannot allocate 8589934592 bytes: 1048576 are in use and the heap can have ${heap.maximumBytes}`,
  );
  expect(heap.report()).toMatchObject({ live: 1 << 20, reserved });
  heap.release(held);
});
