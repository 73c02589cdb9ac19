/** Tokens into the pages of a cache, and out of them. */
import type { Control } from '../../runtime/backend';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { address, ELEMENTS_PER_MICROSECOND, operand, type Plan } from '../../runtime/wasm/plan';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import type { Op } from '../op';
import type { AppendCall, ReadCall } from './call';
import type { CacheLayer } from './layer';
import { type CachedRow, type Page, slabsOf } from './layout';
import { AppendParams, PAGE_ROWS, ReadParams } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./cache.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./cache.baseline.wasm', import.meta.url),
};

const appending: Op<AppendCall> = {
  name: 'append',
  reference: async () => (await import('./reference')).append,
  kernels,
  wasm({ k, v, layout, writes, copies }, { memory }): Plan {
    const numbers = writes.flatMap(({ batch, token, count, page, row }) => [batch, token, count, addressOf(page), row]);
    const pairs = copies.flatMap(({ from, to }) => [addressOf(from), addressOf(to)]);
    return {
      bytes: { writes: 4 * numbers.length, copies: 4 * pairs.length + 4 },
      jobs({ writes: at, copies: copiesAt }) {
        new Int32Array(memory.buffer, at, numbers.length).set(numbers);
        new Int32Array(memory.buffer, copiesAt, pairs.length).set(pairs);
        return [
          {
            phases: [
              ...(copies.length > 0 ? [{ kernel: 'copyPages', tasks: copies.length }] : []),
              { kernel: 'append', tasks: writes.length, main: true },
            ],
            params: AppendParams({
              ...{ page: layout, k: operand(k), v: operand(v) },
              ...{ writes: at as number, copies: copiesAt as number },
            }),
            microseconds: (k.size + v.size) / ELEMENTS_PER_MICROSECOND,
          },
        ];
      },
    };
  },
  webgpu: async () => (await import('./webgpu')).planAppend,
};

const reading: Op<ReadCall> = {
  name: 'read a cache',
  reference: async () => (await import('./reference')).read,
  kernels,
  wasm({ layout, pages, k, v }, { memory }): Plan {
    const addresses = pages.map((page) => (page ? addressOf(page) : 0));
    return {
      bytes: { pages: 4 * addresses.length + 4 },
      jobs({ pages: at }) {
        new Int32Array(memory.buffer, at, addresses.length).set(addresses);
        return [
          {
            phases: [{ kernel: 'readPages', tasks: pages.length }],
            params: ReadParams({ page: layout, pages: at as number, rows: k.shape[1] as number, k, v }),
            microseconds: (k.size + v.size) / ELEMENTS_PER_MICROSECOND,
          },
        ];
      },
    };
  },
  webgpu: async () => (await import('./webgpu')).planRead,
};

/** Where a page lies in the heap. */
export const addressOf = ({ slab, at }: Page): number => address(slab.memory) + at;

/** Writes tokens to pages of a cache, whose memory is there already. */
export function append(call: AppendCall, control: Control): void {
  const { k, v, writes, copies } = call;
  const written = new Set([...writes.map(({ page }) => page.slab.memory), ...copies.map(({ to }) => to.slab.memory)]);
  const shared = Object.fromEntries(copies.map(({ from }, at) => [`slab ${at}`, from.slab.memory]));
  compute(appending, { k, v, ...shared }, {}, () => call, control, { written: [...written] });
}

/**
 * The first `m` keys and values that lie in some pages of a row, in f32: k [1, m, heads, d] and v [1, m, heads, e]; zeros
 * where a page is gone.
 */
export function readCache(
  { layout }: CacheLayer,
  pages: CachedRow['pages'],
  m: number,
  control: Control,
): Record<'k' | 'v', Tensor<'f32'>> {
  const { heads, d, e } = layout;
  const results = {
    k: { shape: [1, m, heads, d], dtype: 'f32' },
    v: { shape: [1, m, heads, e], dtype: 'f32' },
  } as const;
  const taken = pages.slice(0, Math.ceil(m / PAGE_ROWS));
  const slabs = slabsOf([{ length: m, pages: taken }]);
  return compute(reading, slabs, results, ({ k, v }) => ({ layout, pages: taken, k, v }), control);
}
