/** Attention of the last tokens of each row to what a layer of a key-value cache holds of it, and ops like it. */
import { ShapeError } from '../../../errors';
import { and } from '../../../masks/combine';
import type { Mask } from '../../../masks/mask';
import type { Control } from '../../../runtime/backend';
import type { Op } from '../../../runtime/op';
import type { Score } from '../../../scores/score';
import { type Extents, formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { readCache } from '../../cache';
import { CacheLayer, checkCounts, rotated } from '../../cache/layer';
import { openTokens, slabsOf } from '../../cache/layout';
import { STORAGE } from '../../cache/params';
import { checkOut } from '../../check';
import { compute, type Values } from '../../compute';
import { contiguous } from '../../copy';
import { boolean, type Computed, f32, floats, operandOf, type ResultSpecs, type Setting } from '../../define';
import type { Operand } from '../../operand';
import { type CheckedSelection, checkSelection, type Selection } from '../selection';
import { checkFits, type DeferredMask, type MaskSettings, maskOf, maskSettings, tensorsOf } from '../settings';
import type { CachedCall } from './cached';
import { FEW_QUERIES } from './cpu';

export const cacheLayer = operandOf(CacheLayer, 'b g d e', STORAGE);

/** Throws unless the heads of the cache divide those of q. */
export function checkCachedHeads({ h, g }: Extents, { q }: Readonly<Record<string, Operand>>): void {
  if ((h as number) % (g as number) === 0) return;
  throw new ShapeError(
    `the ${g} heads of the cache must divide the ${h} heads of q ${formatShape((q as Operand).shape)}`,
  );
}

const counts: Setting<readonly number[]> = {
  expected: 'a number for each row',
  check: (_, value, { b, n }) => checkCounts(value, b as number, n as number),
};

export const cachedSettings = {
  ...maskSettings,
  /** Query i sees key j only if j <= i + m - n: the last query sees the last key. Default true. */
  causal: boolean(true),
  /** How many of each row's last tokens are queries: the first ones of q. Default: as many as q has. */
  counts,
};

export const attendedResults = {
  /** [b, n, h, e] in the dtype of q. */
  out: floats('b n h e', { like: 'q' }),
  /** [b, n, h], f32: natural logarithm of the sum of exponentials of the scaled scores; -Infinity for no key. */
  lse: f32('b n h'),
};
export interface Attended extends Computed<typeof attendedResults> {}

/** Checked arguments. */
interface Given extends MaskSettings {
  readonly q: Tensor;
  readonly cache: CacheLayer;
  readonly scale: number;
  readonly counts: readonly number[];
  readonly score?: Score | undefined;
  readonly selection?: Selection | undefined;
}

export interface Places extends Control {
  /** Where to write: contiguous tensors that no input shares memory with, nor one the place of the other. */
  readonly out?: Tensor | undefined;
  readonly lse?: Tensor<'f32'> | undefined;
}

/** An op that attends to a cache: attention, or one that begins with it. */
interface ToCache<Call extends CachedCall> {
  readonly op: Op<Call>;
  /** Whether its kernels on a GPU read the pages of a cache. */
  readonly readsPagesOnGpu: boolean;
  /** Tensors beside q that belong to the same queries, by name, if any. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  callOf(call: CachedCall): Call;
  /** The same with copies of keys and values, for a part of the queries: `partOf` gives that of another input. */
  attend(q: Tensor, k: Tensor, v: Tensor, partOf: (x: Tensor) => Tensor, options: RowSettings & Places): unknown;
}

/** What a row is attended with. */
interface RowSettings {
  readonly scale: number;
  readonly mask?: Mask | undefined;
  readonly deferred?: DeferredMask | undefined;
  readonly score?: Score | undefined;
}

/** Few queries read keys and values where they lie. */
export function attendToCache<Call extends CachedCall>(
  given: Given,
  options: Places,
  specs: () => ResultSpecs<typeof attendedResults>,
  to: ToCache<Call>,
): Attended {
  const { q, cache, scale, causal, window, mask, counts, score, selection: chosen } = given;
  const { runtime, layout, rows } = cache;
  const [, n, h] = q.shape as [number, number, number];
  const { heads: g } = layout;
  cache.assertHeld(rows, counts);
  const own = maskOf({ causal, window, mask });
  for (const [batch, { length }] of rows.entries())
    checkFits({ b: 1, n: counts[batch] as number, m: length, h, g }, own, score);
  const m = Math.max(1, ...rows.map(({ length }) => length));
  const selection = chosen && checkSelection(chosen, { b: rows.length, n, m, h, g });
  const seen = cache.mask ? maskOf({ causal, window, mask: mask ? and(cache.mask, mask) : cache.mask }) : own;
  const readsPages = to.readsPagesOnGpu || runtime.backend.name !== 'webgpu';
  if (n > FEW_QUERIES || !readsPages || seen.arrange?.({ b: 1, n, m, h, g }) || cache.rope?.apply === 'read')
    return attendToCopies({ ...given, mask: seen }, selection, options, to);
  const call = ({ out, lse }: Attended, values: Values) => {
    const masks = rows.map((_, row) => (selection ? selection.narrow(seen, values, row) : seen));
    return to.callOf({ q, out, lse, scale, layout, rows, counts, masks, score });
  };
  const inputs = { q, ...to.inputs, ...slabsOf(rows), ...tensorsOf(score) };
  return compute(to.op, inputs, specs(), call, options, {
    reads: openTokens(rows),
    ...(selection && { known: selection.tensors }),
  });
}

/** Row by row, with a copy of its keys and values, which costs little beside many queries. */
function attendToCopies<Call extends CachedCall>(
  { q, cache, scale, mask, counts, score }: Given & { readonly mask: Mask },
  selection: CheckedSelection | undefined,
  { out: givenOut, lse: givenLse, signal, onProgress }: Places,
  to: ToCache<Call>,
): Attended {
  const { runtime, dtype } = q;
  const [b, n, h] = q.shape as [number, number, number];
  const shape = [b, n, h, cache.layout.e];
  const inputs = { q, ...to.inputs };
  if (givenOut) checkOut('out', givenOut, shape, dtype, inputs);
  if (givenLse) checkOut('lse', givenLse, [b, n, h], 'f32', inputs);
  return runtime.scope(() => {
    const out = givenOut ?? runtime.empty(shape, dtype);
    const lse = givenLse ?? runtime.empty([b, n, h]);
    const part = (x: Tensor, row: number, from: number, past: number) => x.slice(0, row, row + 1).slice(1, from, past);
    for (const [row, { length, pages }] of cache.rows.entries()) {
      const count = counts[row] as number;
      if (count < n) {
        fill(part(out, row, count, n), 0);
        fill(part(lse, row, count, n), Number.NEGATIVE_INFINITY);
      }
      if (count === 0) continue;
      const { k: stored, v } = readCache(cache, pages, length, { signal });
      const k = cache.rope?.apply === 'read' ? rotated(stored, [0], cache.rope, { signal }) : stored;
      const own = {
        scale,
        ...(selection
          ? { deferred: { tensors: selection.tensors, mask: (values: Values) => selection.narrow(mask, values, row) } }
          : { mask }),
        score,
        out: part(out, row, 0, count),
        lse: part(lse, row, 0, count) as Tensor<'f32'>,
        signal,
        onProgress: onProgress && ((share: number) => onProgress((row + share) / b)),
      };
      const partOf = (x: Tensor) => part(x, row, 0, count);
      to.attend(partOf(q), k, v, partOf, own);
      for (const copy of [stored, k, v]) copy.dispose();
    }
    return { out, lse: lse as Tensor<'f32'> };
  });
}

/** Writes a number everywhere; one that is not 0 needs f32. */
function fill(out: Tensor, value: number): void {
  const { runtime, dtype, shape } = out;
  const one =
    dtype === 'f32'
      ? runtime.tensor(Float32Array.of(value), [1])
      : runtime.tensor(new Uint16Array(1), [1], dtype as 'f16');
  contiguous(one.expand(shape) as Tensor, { out });
}
