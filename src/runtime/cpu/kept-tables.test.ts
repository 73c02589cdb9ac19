import { expect, test, vi } from 'vitest';
import { attention, attentionBackward, createRuntime, type Tensor } from '../../index';
import * as scores from '../../scores';
import { hostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { openHeap } from '../wasm/memory';
import { Heap } from './heap';
import { KeptTables } from './kept-tables';

test('calls with one score copy its table once, in the peak and not live', async () => {
  const keep = vi.spyOn(Heap.prototype, 'keep');
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  const table = hostTensor(normal(50 * 40, 1), [50, 40]);
  const score = scores.compose(scores.additiveBias(table), scores.softcap(3));
  const [q, k, v] = [50, 40, 40].map((n, seed) => runtime.random([2, n, 3, 8], { seed })) as [Tensor, Tensor, Tensor];
  const { live } = runtime.memory();
  const all: Float32Array[] = [];
  for (let call = 0; call < 3; call++) {
    const { out, lse } = await attention(q, k, v, { score });
    const grads = await attentionBackward(q, k, v, { out, lse, gradOut: out }, { score, captured: true });
    all.push((await grads.gradCaptured.table?.read()) as Float32Array);
    for (const x of [out, lse, grads.gradQ, grads.gradK, grads.gradV, grads.gradCaptured.table]) x?.dispose();
    // Too late to matter.
    (table.data as Float32Array).fill(Number.NaN);
  }
  expect(keep.mock.calls).toEqual([[8000]]);
  expect(all[2]).toEqual(all[0]);
  expect(runtime.memory().live).toBe(live);
  runtime.backend.resetPeak();
  expect(runtime.memory().peak).toBe(live + 8000);
});

test('beyond a limit the copies go that no call uses, the one unused for longest first', () => {
  const heap = openHeap();
  const kept = new KeptTables(heap, 1000);
  const [a, b, c, d] = [1, 2, 3, 4].map((x) => new Float32Array(100).fill(x)) as [F, F, F, F];
  const bytes = () => {
    heap.resetPeak();
    return heap.report().peak;
  };
  const at = (...tables: F[]) => {
    kept.begin(tables);
    const found = tables.map((table) => kept.addressOf(table));
    tables.forEach((table, index) => {
      expect(new Float32Array(heap.memory.buffer, found[index], 100)).toEqual(table);
    });
    kept.end(tables);
    return found;
  };
  const [ofA] = at(a);
  at(b);
  expect(at(a)).toEqual([ofA]);
  at(c);
  expect(bytes()).toBe(800);
  // b went, a did not.
  expect(at(a)).toEqual([ofA]);
  // Those in use stay, however many.
  kept.begin([a]);
  const before = kept.addressOf(a);
  at(b, c, d);
  expect(kept.addressOf(a)).toBe(before);
  kept.end([a]);
  expect(bytes()).toBeLessThanOrEqual(1000);
  expect(heap.report().live).toBe(0);
});

type F = Float32Array<ArrayBuffer>;

test('what was in use twice is so until both calls have ended', () => {
  const heap = openHeap();
  const kept = new KeptTables(heap, 0);
  const [table, other] = [new Float32Array(100), new Float32Array(5)];
  const peak = () => {
    heap.resetPeak();
    return heap.report().peak;
  };
  kept.begin([table]);
  kept.begin([table]);
  kept.addressOf(table);
  kept.end([table]);
  kept.begin([other]);
  kept.end([other]);
  expect(peak()).toBe(400);
  kept.end([table]);
  expect(peak()).toBe(0);
});
