/** Tokens into the pages of a cache, and out of them. */
import type { Control } from '../../runtime/backend';
import {
  address,
  BYTES_PER_MICROSECOND,
  ELEMENTS_PER_MICROSECOND,
  NO_OPERAND,
  operand,
  type Plan,
} from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { Part } from '../../tensor/outcome';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { contiguous } from '../copy';
import type { CacheLayer } from './layer';
import { type CachedRow, openTokens, type Page, slabsOf } from './layout';
import { AppendParams, kernels, PAGE_ROWS, ReadParams } from './params.generated';
import type { AppendCall, CopyPagesCall, ReadCall } from './reference';

const appending: Op<AppendCall> = {
  name: 'append',
  reference: async () => (await import('./reference')).append,
  kernels,
  cpu({ k, v, layout, writes }, { memory }): Plan {
    const numbers = writes.flatMap(({ batch, token, count, page, row }) => [batch, token, count, addressOf(page), row]);
    return {
      bytes: { writes: 4 * numbers.length },
      jobs({ writes: at }) {
        new Int32Array(memory.buffer, at, numbers.length).set(numbers);
        return [
          {
            phases: [{ kernel: 'append', tasks: writes.length }],
            params: AppendParams({ page: layout, k: operand(k), v: operand(v), writes: at as number, copies: 0 }),
            microseconds: (k.size + v.size) / ELEMENTS_PER_MICROSECOND,
          },
        ];
      },
    };
  },
  webgpu: async () => (await import('./webgpu')).planAppend,
};

const copying: Op<CopyPagesCall> = {
  name: 'copy pages of a cache',
  reference: async () => (await import('./reference')).copyPages,
  kernels,
  cpu({ layout, copies }, { memory }): Plan {
    const pairs = copies.flatMap(({ from, to }) => [addressOf(from), addressOf(to)]);
    return {
      bytes: { copies: 4 * pairs.length },
      jobs({ copies: at }) {
        new Int32Array(memory.buffer, at, pairs.length).set(pairs);
        const nothing = { k: NO_OPERAND, v: NO_OPERAND, writes: 0 };
        return [
          {
            phases: [{ kernel: 'copyPages', tasks: copies.length }],
            params: AppendParams({ page: layout, ...nothing, copies: at as number }),
            microseconds: (copies.length * layout.bytes) / BYTES_PER_MICROSECOND,
          },
        ];
      },
    };
  },
  webgpu: async () => (await import('./webgpu')).planCopies,
};

const reading: Op<ReadCall> = {
  name: 'read a cache',
  reference: async () => (await import('./reference')).read,
  kernels,
  cpu({ layout, pages, k, v }, { memory }): Plan {
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
  const { k, v, writes } = call;
  const slabs = slabsOf([{ length: 0, pages: writes.map(({ page }) => page) }]);
  compute(appending, { k, v, ...slabs }, {}, () => call, control, {
    writes: writes.map(({ page: { written }, row, count }) => ({ written, from: row, to: row + count })),
  });
}

/** A call of its own, so that what befalls an append takes no tokens from before it along. */
export function copyPages(call: CopyPagesCall): void {
  const { copies } = call;
  const first = ({ written }: Page, tokens: number): Part => ({ written, from: 0, to: tokens });
  const slabs = slabsOf([{ length: 0, pages: copies.flatMap(({ from, to }) => [from, to]) }]);
  const extras = {
    reads: copies.map(({ from, tokens }) => first(from, tokens)),
    writes: copies.map(({ to, tokens }) => first(to, tokens)),
  };
  compute(copying, slabs, {}, () => call, {}, extras);
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
  const rows = [{ length: m, pages: taken }];
  const call = ({ k, v }: Record<'k' | 'v', Tensor<'f32'>>) => ({ layout, pages: taken, k, v });
  return compute(reading, slabsOf(rows), results, call, control, { reads: openTokens(rows) });
}

/** The keys and values of a row's tokens from one on, as `readCache` gives them; pages before it are not read. */
export function readCacheFrom(
  layer: CacheLayer,
  { pages, length }: CachedRow,
  from: number,
  control: Control,
): Record<'k' | 'v', Tensor<'f32'>> {
  const page = Math.floor(from / PAGE_ROWS);
  const before = page * PAGE_ROWS;
  const { k, v } = readCache(layer, pages.slice(page), length - before, control);
  const part = (x: Tensor<'f32'>) => contiguous(x.slice(1, from - before, length - before));
  return { k: part(k), v: part(v) };
}
