/** Pages of caches as host tensors, bit by bit, a few at a time. */
import { copyPages } from '../ops/cache';
import type { Page, PageLayout } from '../ops/cache/layout';
import type { Runtime } from '../runtime/runtime';
import { type HostTensor, hostTensor } from '../tensor/host';
import { Written } from '../tensor/outcome';
import type { Tensor } from '../tensor/tensor';

/** Bytes of pages that are copied at a time. */
const PART_BYTES = 2 ** 24;

/** A page, and how many of its tokens there are. */
export interface Filled {
  readonly page: Page;
  readonly tokens: number;
}

/** The pages of a tensor that holds some one behind the other. */
const pagesIn = (memory: Tensor<'i32'>, { bytes }: PageLayout, count: number): Page[] =>
  Array.from({ length: count }, (_, at) => ({ slab: { memory }, at: at * bytes, written: new Written() }));

function* partsOf({ bytes }: PageLayout, count: number) {
  const most = Math.max(1, Math.floor(PART_BYTES / bytes));
  for (let from = 0; from < count; from += most) yield { from, to: Math.min(count, from + most) };
}

/** [pages, words], i32. */
export async function savedPages(
  runtime: Runtime,
  layout: PageLayout,
  filled: readonly Filled[],
): Promise<HostTensor<'i32'>> {
  const words = layout.bytes / 4;
  const all = new Int32Array(filled.length * words);
  for (const { from, to } of partsOf(layout, filled.length)) {
    using part = runtime.empty([(to - from) * words], 'i32');
    const copies = pagesIn(part, layout, to - from).map((page, at) => {
      const { page: own, tokens } = filled[from + at] as Filled;
      return { from: own, to: page, tokens };
    });
    copyPages({ layout, copies });
    // What befell the tokens is a fault of the copies, and so of what is read.
    await runtime.finish();
    all.set(await part.read(), from * words);
  }
  return hostTensor(all, [filled.length, words], 'i32');
}

/** Fills pages with what `savedPages` gave. */
export function restorePages(
  runtime: Runtime,
  layout: PageLayout,
  { data }: HostTensor<'i32'>,
  filled: readonly Filled[],
): void {
  const words = layout.bytes / 4;
  for (const { from, to } of partsOf(layout, filled.length)) {
    using part = runtime.tensor(data.slice(from * words, to * words) as Int32Array, [(to - from) * words], 'i32');
    const copies = pagesIn(part, layout, to - from).map((page, at) => {
      const { page: own, tokens } = filled[from + at] as Filled;
      return { from: page, to: own, tokens };
    });
    copyPages({ layout, copies });
  }
}
