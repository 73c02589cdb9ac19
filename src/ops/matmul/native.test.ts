import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { codeOf, TARGETS } from '../../code/kernel';
import { emit } from '../../code/x64/emit';
import type { Plan } from '../../runtime/cpu/plan';
import { functionAt, LIBC, requireKoffi } from '../../runtime/native/calls';
import { openNative } from '../../runtime/native/open';
import { planNative } from './native';

const PAGE = 4096;
const native = openNative();
const targets =
  typeof native === 'string' ? [] : Object.values(TARGETS).filter(({ lanes }) => lanes <= native.target.lanes);

/** Memory between pages that nobody may touch, of which it takes the first bytes or the last ones. */
function guardedMemory() {
  if (typeof native === 'string') throw new Error(native);
  const koffi = requireKoffi(
    native.threadOf(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }), 65536).koffi,
  );
  const c = koffi.load(LIBC);
  const map = c.func('int64_t mmap(int64_t at, size_t bytes, int protection, int flags, int file, int64_t offset)');
  const protect = c.func('int mprotect(int64_t at, size_t bytes, int protection)');
  const copy = c.func('int64_t memcpy(int64_t to, int64_t from, size_t bytes)');
  const unmap = c.func('int munmap(int64_t at, size_t bytes)');
  const taken: [number, number][] = [];
  const addressOf = (x: Float32Array | Float64Array) =>
    Number(koffi.address(new Uint8Array(x.buffer, x.byteOffset, x.byteLength)));
  return {
    koffi,
    allocate(bytes: number, atEnd = true): number {
      const inside = Math.ceil(Math.max(1, bytes) / PAGE) * PAGE;
      const at = map(0, inside + 2 * PAGE, 0, 0x22, -1, 0);
      taken.push([at, inside + 2 * PAGE]);
      expect(protect(at + PAGE, inside, 3)).toBe(0);
      return at + PAGE + (atEnd ? inside - bytes : 0);
    },
    write: (at: number, x: Float32Array | Float64Array) => copy(at, addressOf(x), x.byteLength),
    read: (at: number, x: Float32Array) => copy(addressOf(x), at, x.byteLength),
    free: () => taken.forEach(([at, bytes]) => void unmap(at, bytes)),
  };
}

/** Whole numbers, whose sums are exact. */
const numbers = (size: number, seed: number) =>
  Float32Array.from({ length: size }, (_, at) => ((at * 31 + seed) % 17) - 8);

describe.each(targets)('products by code for $name', (target) => {
  test('are exact and touch nothing beside their memory, in all layouts', () => {
    const few = fc.integer({ min: 1, max: 18 });
    const extent = fc.oneof(fc.integer({ min: 5, max: 60 }), fc.constantFrom(5, 48, 96, 257, 300));
    fc.assert(
      fc.property(
        fc.tuple(fc.oneof(few, extent), fc.oneof(extent, few, fc.constantFrom(512)), fc.oneof(few, extent)),
        fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 2 }),
        ([rows, depth, columns], [turnedA, turnedB, biased, shared, atEnd], threads, batches) => {
          const guarded = guardedMemory();
          const tensor = (shape: number[], strides: number[], values: Float32Array) => {
            const at = guarded.allocate(values.byteLength, atEnd);
            guarded.write(at, values);
            const buffer = { address: at, bytes: values.byteLength };
            return { dtype: 'f32', shape, strides, offset: 0, size: values.length, storage: { buffer } };
          };
          const matrix = (count: number, r: number, c: number, turned: boolean | undefined, values: Float32Array) =>
            tensor([batches, r, c], [count > 1 ? r * c : 0, ...(turned ? [1, r] : [c, 1])], values);
          const a = numbers(batches * rows * depth, 3);
          const b = numbers((shared ? 1 : batches) * depth * columns, 5);
          const bias = biased ? numbers(columns, 7) : undefined;
          const call = {
            a: matrix(batches, rows, depth, turnedA, a),
            b: matrix(shared ? 1 : batches, depth, columns, turnedB, b),
            out: matrix(batches, rows, columns, false, new Float32Array(batches * rows * columns).fill(Number.NaN)),
            bias: bias && tensor([columns], [1], bias),
            axes: [{ extent: batches, from: rows * depth, to: shared ? 0 : depth * columns }],
          };
          const made = {
            target,
            kernel: (_: string, build: Parameters<typeof codeOf>[1]) =>
              native !== undefined && typeof native !== 'string' ? native.executable(emit(codeOf(target, build))) : 0,
          };
          const plan = planNative(call as never, { native: made, threads } as never) as Plan;
          const bytes = plan.bytes as Record<string, number>;
          const at = Object.fromEntries(Object.entries(bytes).map(([name, size]) => [name, guarded.allocate(size)]));
          const scratch = guarded.allocate(4 * (384 * 256 + 8 * 256));
          const out = new Float32Array(batches * rows * columns);
          for (const { phases, params } of plan.jobs(at, () => 0)) {
            const place = guarded.allocate(8 * params.length);
            guarded.write(place, Float64Array.from(params));
            for (const { kernel, code, tasks } of phases) {
              const run = code && functionAt(guarded.koffi, code, 4);
              if (run) for (let task = 0; task < tasks; task++) run(0, place, scratch, task);
              else if (kernel === 'fewRowsOfA')
                guarded.write(
                  at.left!,
                  a.map((_, i) => a[(i % depth) * rows + Math.floor(i / depth)]!),
                );
              else {
                // fewRowsFinish
                const [splits, sumRows, pitch] = params.slice(18, 21) as [number, number, number];
                const parts = new Float32Array(bytes.parts! / 4);
                guarded.read(at.parts!, parts);
                for (let place = 0; place < out.length; place++) {
                  const [r, c] = [Math.floor(place / columns), place % columns];
                  let sum = bias?.[c] ?? 0;
                  for (let split = 0; split < splits; split++) sum += parts[(split * sumRows + r) * pitch + c]!;
                  out[place] = sum;
                }
                guarded.write(call.out.storage.buffer.address, out);
              }
            }
          }
          guarded.read(call.out.storage.buffer.address, out);
          guarded.free();
          const element = (
            x: Float32Array,
            batch: number,
            r: number,
            c: number,
            [height, width]: number[],
            turned?: boolean,
          ) => x[(batch * height! * width! + (turned ? c * height! + r : r * width! + c)) % x.length]!;
          for (let place = 0; place < out.length; place += 1 + (place % 7)) {
            const [batch, r, c] = [
              Math.floor(place / rows / columns),
              Math.floor(place / columns) % rows,
              place % columns,
            ];
            let sum = bias?.[c] ?? 0;
            for (let k = 0; k < depth; k++)
              sum +=
                element(a, batch, r, k, [rows, depth], turnedA) * element(b, batch, k, c, [depth, columns], turnedB);
            expect(out[place]).toBe(sum);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
