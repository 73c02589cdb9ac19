/**
 * Exact softmax attention in O(n) memory.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import { checkFunction, checkKnown, checkRecord, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import { messageName } from '../../expressions/forms';
import { type Band, band, full } from '../../masks/band';
import { checkMask } from '../../masks/check';
import { and } from '../../masks/combine';
import type { Extent, Mask } from '../../masks/mask';
import type { Control } from '../../runtime/backend';
import { LARGEST_HEAD } from '../../runtime/cpu/params';
import type { Op } from '../../runtime/op';
import { checkScore, partsOf, type Score } from '../../scores/score';
import type { HostTensor } from '../../tensor/host';
import { bindShapes, formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { readCache } from '../cache';
import { CacheLayer, checkCounts, rotated } from '../cache/layer';
import { type CachedRow, openTokens, slabsOf } from '../cache/layout';
import { checkControl, checkGradients, checkOptions, checkOut, checkTensors } from '../check';
import { compute, type ResultSpec, type Values } from '../compute';
import { contiguous } from '../copy';
import { checkContiguous, zeros } from '../float32';
import { planAttentionBackward } from './backward/cpu';
import type { AttentionBackwardCall, AttentionCall } from './call';
import { type CachedCall, planCached } from './decode/cached';
import { FEW_QUERIES } from './decode/cpu';
import { planAttention } from './forward/cpu';
import { kernels } from './params.generated';
import { checkSelection, type Selection, selectionOf } from './selection';

const forward: Op<AttentionCall> = {
  name: 'attention',
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planAttention,
  webgpu: async () => (await import('./forward/webgpu')).planAttention,
};

export const backward: Op<AttentionBackwardCall> = {
  name: 'attentionBackward',
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planAttentionBackward,
  webgpu: async () => (await import('./backward/webgpu')).planAttentionBackward,
};

const cached: Op<CachedCall> = {
  name: 'attention',
  reference: async () => (await import('./reference')).cached,
  kernels,
  cpu: planCached,
  webgpu: async () => (await import('./decode/webgpu/cached')).planCached,
};

/** Which scores count, and what they are scaled by: the same for the forward and the backward pass. */
export interface AttentionSettings {
  /** Factor on the scores; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** Query i sees key j only if j <= i + m - n: the last query sees the last key. Default false. */
  readonly causal?: boolean | undefined;
  /** `[left, right]`: keys from i' - left to i' + right, with i' = i + m - n; -1 leaves a side unbounded. */
  readonly window?: readonly [left: number, right: number] | undefined;
  /** Any other mask; a key must be seen by all that are given. */
  readonly mask?: Mask | undefined;
  /** Which blocks of keys each block of queries sees, as a tensor that another op computed; beside the masks. */
  readonly selection?: Selection | undefined;
  /** What changes the scaled scores before the softmax, such as `scores.softcap(30)`. Tensors that it captured are inputs. */
  readonly score?: Score | undefined;
  /** A mask that follows from the elements of tensors, in place of `mask`. */
  readonly deferred?: DeferredMask | undefined;
}

/** A mask that is made in the turn of the call, once the tensors that it follows from are computed. */
export interface DeferredMask {
  /** Few elements: where they are in a device's memory, they are copied to the host's. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** What it throws is a fault of the results. */
  mask(values: Readonly<Record<string, HostTensor>>): Mask;
}

export interface AttentionOptions extends AttentionSettings, Control {
  /** Where to write: contiguous tensors that no input shares memory with, nor one the place of the other. */
  readonly out?: Tensor | undefined;
  readonly lse?: Tensor<'f32'> | undefined;
}

export interface CachedAttentionOptions extends Omit<AttentionOptions, 'deferred' | 'selection'> {
  /** How many of each row's last tokens are queries: the first ones of q. Default: as many as q has. */
  readonly counts?: readonly number[] | undefined;
}

export interface AttentionResult {
  /** [b, n, h, e] in the dtype of q. */
  readonly out: Tensor;
  /** [b, n, h], f32: natural logarithm of the sum of exponentials of the scaled scores; -Infinity for no key. */
  readonly lse: Tensor<'f32'>;
}

/** What the forward pass returned, and a loss's gradients with respect to it. */
export interface AttentionGradients {
  readonly out: Tensor;
  readonly lse: Tensor<'f32'>;
  /** [b, n, h, e]. */
  readonly gradOut: Tensor;
  /** [b, n, h], contiguous; default: the loss does not depend on lse. */
  readonly gradLse?: Tensor<'f32'> | undefined;
}

export interface AttentionBackwardOptions extends AttentionSettings, Control {
  /** Whether the gradients with respect to the arrays and tensors that `score` captured are wanted too. Default false. */
  readonly captured?: boolean | undefined;
}

export interface AttentionBackwardResult {
  /** Shape and dtype of q. */
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  /**
   * By the arrays that `score` captured, flat, and the tensors, in their shapes, by name; empty unless asked for. Of those
   * of one name, which composed modifiers may have, the second is `name_2`, and so on.
   */
  readonly gradCaptured: Readonly<Record<string, Tensor<'f32'>>>;
}

const SETTINGS = ['scale', 'causal', 'window', 'mask', 'selection', 'score', 'deferred'];
const CONTROL = ['signal', 'onProgress'];
const STORAGE = ['f32', 'f16', 'bf16'];

/**
 * softmax(scale * q k^T, over the keys each query may see) v.
 *
 * q [b,n,h,d], k [b,m,g,d], v [b,m,g,e]; g divides h and query head i uses key/value head floor(i * g / h); d and e
 * are from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic. Never holds n x m numbers, skips the tiles that no
 * query sees. A query that sees no key, or whose scores all become -Infinity by the modifier, gives zeros and
 * lse = -Infinity. A block of a selection that there is not is a fault of the results.
 *
 * @throws {ShapeError} ranks or extents that do not fit, heads that do not divide
 * @throws {ParameterError} an unknown or ill-typed option
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions): AttentionResult;
/**
 * Attention of the last tokens of each row to what a layer of a key-value cache holds of them, their own keys and values
 * among it: q [rows,n,h,d], of which the first `counts[r]` are the last tokens of row r; what is behind them gives zeros and
 * lse = -Infinity. Causal unless said otherwise, within the layer's window; masks and scores see each row by itself, with its
 * queries from 0 to counts[r] - 1 and its keys at their absolute positions. Few queries read keys and values where they lie.
 * Has no derivative.
 *
 * @throws {ShapeError} ranks, extents or heads that do not fit
 * @throws {ParameterError} counts that do not fit, tokens that see evicted ones, a cache of another runtime
 */
export function attention(q: Tensor, cache: CacheLayer, options?: CachedAttentionOptions): AttentionResult;
export function attention(
  q: Tensor,
  k: Tensor | CacheLayer,
  v?: Tensor | CachedAttentionOptions,
  options?: AttentionOptions,
): AttentionResult {
  return k instanceof CacheLayer
    ? attentionToCache(q, k, v as CachedAttentionOptions, plain)
    : attentionTo(q, k, v as Tensor, options);
}

function attentionTo(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): AttentionResult {
  checkTensors({ q, k, v });
  checkOptions('attention', options, [...SETTINGS, ...CONTROL, 'out', 'lse']);
  const { b, n, h, e, scale, settings, known, captured } = checkProblem({ q, k, v }, options);
  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    lse: { shape: [b, n, h], dtype: 'f32', given: options.lse },
  } as const;
  const call = ({ out, lse }: AttentionResult, values: Values) => ({ q, k, v, out, lse, scale, ...settings(values) });
  const derivative = derivativeOf(options, Object.keys(known), Object.keys(captured));
  return compute(forward, { q, k, v, ...captured }, results, call, options, { known, derivative });
}

/** An op that attends to a cache: attention, or one that begins with it. */
interface ToCache<Call extends CachedCall> {
  readonly op: Op<Call>;
  /** Tensors beside q that belong to the same queries, by name, if any. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  callOf(call: CachedCall): Call;
  /** The same with copies of keys and values, for a part of the queries: `partOf` gives that of another input. */
  attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    partOf: (x: Tensor) => Tensor,
    options: Omit<AttentionOptions, 'score'>,
    score: Score | undefined,
  ): unknown;
}

const plain: ToCache<CachedCall> = {
  op: cached,
  inputs: {},
  callOf: (call) => call,
  attend: (q, k, v, _, options, score) => attentionTo(q, k, v, { ...options, score }),
};

/** `attention` to a cache, or another op like it; only attention takes a score, and reads pages on a GPU. */
export function attentionToCache<Call extends CachedCall>(
  q: Tensor,
  layer: CacheLayer,
  options: CachedAttentionOptions = {},
  to: ToCache<Call>,
): AttentionResult {
  checkTensors({ q });
  const known = ['scale', 'causal', 'window', 'mask', 'counts', ...CONTROL, 'out', 'lse'];
  const isPlain = (to as object) === plain;
  checkOptions(to.op.name, options, isPlain ? [...known, 'score'] : known);
  checkControl(options);
  const { runtime, layout, rows } = layer;
  q.assertUsable('q');
  if (q.runtime !== runtime)
    throw new ParameterError('q lives on another runtime than the cache: make both with the same runtime');
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const { heads: g, e } = layout;
  if (q.rank !== 4 || b !== rows.length || d !== layout.d)
    throw new ShapeError(
      `q must have shape [${rows.length}, n, h, ${layout.d}] for this cache, got ${formatShape(q.shape)}`,
    );
  checkHeads(g, 'the cache', q);
  checkStorage('q', q);
  const counts = checkCounts(options.counts, b, n);
  layer.assertHeld(rows, counts);
  const { causal = true, mask, score } = options;
  const scale = checkScale(options.scale, d);
  const seen = [layer.mask, mask].filter((one) => one !== undefined);
  const settings = { causal, window: options.window, score };
  for (const [batch, { length }] of rows.entries())
    checkSettings({ ...settings, mask }, { b: 1, n: counts[batch] as number, m: length, h, g });
  const captured = tensorsOf(score);
  const whole = maskOf({ ...settings, mask: seen.length > 1 ? and(...seen) : seen[0] });
  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    lse: { shape: [b, n, h], dtype: 'f32', given: options.lse },
  } as const;
  const readsPages = isPlain || runtime.backend.name !== 'webgpu';
  if (n <= FEW_QUERIES && readsPages && !whole.arrange && layer.rope?.apply !== 'read') {
    const call = ({ out, lse }: AttentionResult) =>
      to.callOf({ q, out, lse, scale, layout, rows, counts, mask: whole, score });
    const inputs = { q, ...to.inputs, ...slabsOf(rows), ...captured };
    return compute(to.op, inputs, results, call, options, { reads: openTokens(rows) });
  }
  return attentionToCopies(q, layer, rows, counts, { scale, mask: whole, score }, options, to);
}

/** Row by row, with a copy of its keys and values, which costs little beside many queries. */
function attentionToCopies<Call extends CachedCall>(
  q: Tensor,
  layer: CacheLayer,
  rows: readonly CachedRow[],
  counts: readonly number[],
  { score, ...settings }: AttentionSettings,
  { out: givenOut, lse: givenLse, signal, onProgress }: CachedAttentionOptions,
  to: ToCache<Call>,
): AttentionResult {
  const { runtime, dtype } = q;
  const [b, n, h] = q.shape as [number, number, number];
  const shape = [b, n, h, layer.layout.e];
  const inputs = { q, ...to.inputs };
  if (givenOut) checkOut('out', givenOut, shape, dtype, inputs);
  if (givenLse) checkOut('lse', givenLse, [b, n, h], 'f32', inputs);
  return runtime.scope(() => {
    const out = givenOut ?? runtime.empty(shape, dtype);
    const lse = givenLse ?? runtime.empty([b, n, h]);
    const part = (x: Tensor, row: number, from: number, past: number) => x.slice(0, row, row + 1).slice(1, from, past);
    for (const [row, { length, pages }] of rows.entries()) {
      const count = counts[row] as number;
      if (count < n) {
        fill(part(out, row, count, n), 0);
        fill(part(lse, row, count, n), Number.NEGATIVE_INFINITY);
      }
      if (count === 0) continue;
      const { k: stored, v } = readCache(layer, pages, length, { signal });
      const k = layer.rope?.apply === 'read' ? rotated(stored, [0], layer.rope, { signal }) : stored;
      const own = {
        ...settings,
        out: part(out, row, 0, count),
        lse: part(lse, row, 0, count) as Tensor<'f32'>,
        signal,
        onProgress: onProgress && ((share: number) => onProgress((row + share) / b)),
      };
      const partOf = (x: Tensor) => part(x, row, 0, count);
      to.attend(partOf(q), k, v, partOf, own, score);
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

/** `known` and `captured` are the names of inputs that mask and score follow from. */
function derivativeOf(
  { scale, causal, window: given, mask, selection, score, deferred }: AttentionSettings,
  known: readonly string[],
  captured: readonly string[],
): Derivative {
  const window = given && ([...given] as const);
  return {
    saves: ['q', 'k', 'v', 'out', 'lse', ...known, ...captured],
    gradients(saved, { out: gradOut, lse: gradLse }, wanted, control) {
      const { q, k, v, out, lse } = saved as Readonly<Record<'q' | 'k' | 'v' | 'out' | 'lse', Tensor>>;
      const results = { out, lse, gradLse, gradOut: gradOut ?? zeros(q.runtime, out.shape) } as AttentionGradients;
      const tensors = Object.fromEntries(known.map((name) => [name, saved[name] as Tensor]));
      const { gradQ, gradK, gradV, gradCaptured } = attentionBackward(q, k, v, results, {
        scale,
        causal,
        window,
        mask,
        ...control,
        selection: selection && selectionOf(selection, tensors),
        score: score && withTensors(score, (at) => saved[captured[at] as string] as Tensor),
        deferred: deferred && { ...deferred, tensors },
        captured: captured.some((name) => wanted.has(name)),
      });
      const ofTensors = (score ? partsOf(score) : []).flatMap(({ name, table }) =>
        typeof table === 'string' ? [[captured[Number(table.slice(1))], gradCaptured[name]]] : [],
      );
      return { q: gradQ, k: gradK, v: gradV, ...Object.fromEntries(ofTensors) };
    },
  };
}

/**
 * Gradients of a loss with respect to the inputs of `attention`, from those by its results; the settings must be the
 * same. O(n)
 * memory: the weights are computed again from lse. The same bits whatever the number of threads. A query that sees no
 * key has zero gradient. The inputs must be finite.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} an unknown or ill-typed option
 */
export function attentionBackward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  gradients: AttentionGradients,
  options: AttentionBackwardOptions = {},
): AttentionBackwardResult {
  checkGradients('attentionBackward', gradients, ['gradOut', 'gradLse', 'out', 'lse']);
  const { out, lse, gradOut, gradLse } = gradients;
  const given = { out, lse, gradOut, ...(gradLse !== undefined && { gradLse }) };
  checkTensors({ q, k, v, ...given });
  checkOptions('attentionBackward', options, [...SETTINGS, ...CONTROL, 'captured']);
  const { b, n, h, e, scale, settings, known, captured: tensors } = checkProblem({ q, k, v }, options);
  for (const [name, tensor] of Object.entries(given)) {
    const isLse = name.endsWith('se');
    const shape = isLse ? [b, n, h] : [b, n, h, e];
    if (!sameShape(tensor.shape, shape))
      throw new ShapeError(`${name} must have shape ${formatShape(shape)}, got ${formatShape(tensor.shape)}`);
    if (isLse && (tensor.dtype !== 'f32' || !tensor.isContiguous))
      throw new DTypeError(
        `${name} must be contiguous f32, got ${tensor.dtype}, strides ${formatShape(tensor.strides)}`,
      );
    checkStorage(name, tensor);
  }
  const { score, captured = false } = options;
  if (typeof captured !== 'boolean') throw new ParameterError(`captured must be true or false, got ${show(captured)}`);
  const parts = captured && score ? partsOf(score) : [];
  const elements = parts.reduce((sum, { length }) => sum + length, 0);
  const results = {
    gradQ: { shape: q.shape, dtype: q.dtype },
    gradK: { shape: k.shape, dtype: k.dtype },
    gradV: { shape: v.shape, dtype: v.dtype },
    ...(parts.length > 0 && { gradTables: { shape: [elements], dtype: 'f32' } }),
  } as const satisfies Record<string, ResultSpec>;
  const computed: Record<string, Tensor> = compute(
    backward,
    { q, k, v, ...given, ...tensors },
    results,
    (grads, values) => ({ q, k, v, ...given, ...grads, scale, ...settings(values) }),
    options,
    { known },
  );
  const { gradQ, gradK, gradV, gradTables } = computed as Record<'gradQ' | 'gradK' | 'gradV', Tensor> & {
    readonly gradTables?: Tensor<'f32'>;
  };
  const gradCaptured: Record<string, Tensor<'f32'>> = {};
  for (const { name, tensor, first, length } of parts) {
    using flat = (gradTables as Tensor<'f32'>).slice(0, first, first + length);
    gradCaptured[name] = flat.reshape(tensor ? tensor.shape : [length]);
  }
  gradTables?.dispose();
  return { gradQ, gradK, gradV, gradCaptured };
}

const withTensors = (score: Score, tensorAt: (at: number) => Tensor): Score => ({
  ...score,
  tensors: score.tensors.map(({ name }, at) => ({ name, tensor: tensorAt(at) })),
});

/** The tensors that a score captured, by what messages call them; of equal names the second is `captured.name_2`. */
function tensorsOf(score: Score | undefined): Record<string, Tensor> {
  if (score === undefined) return {};
  checkScore('score', score);
  const tensors: Record<string, Tensor> = {};
  for (const { name, tensor } of score.tensors) {
    const called = messageName(name);
    let unused = called;
    for (let count = 2; Object.hasOwn(tensors, unused); count++) unused = `${called}_${count}`;
    tensors[unused] = tensor;
  }
  checkContiguous(tensors);
  return tensors;
}

type Letters = Record<'b' | 'n' | 'm' | 'h' | 'd' | 'e', number>;

/** The extents and scale of a problem, and its settings, once what they follow from is known; throws where inputs or settings do not fit. */
export function checkProblem(
  { q, k, v }: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
  options: AttentionSettings & Control,
) {
  checkControl(options);
  const letters = bindShapes(
    { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
    { q: q.shape, k: k.shape, v: v.shape },
  ) as Letters;
  const { b, n, m, h, d, e } = letters;
  const g = k.shape[2] as number;
  checkHeads(g, `k ${formatShape(k.shape)}`, q);
  for (const [letter, tensor, extent] of [
    ['d', q, d],
    ['e', v, e],
  ] as const) {
    if (extent > LARGEST_HEAD)
      throw new ShapeError(
        `the head dimension ${letter} must be at most ${LARGEST_HEAD}, got ${formatShape(tensor.shape)}`,
      );
  }
  for (const [name, tensor] of Object.entries({ q, k, v })) checkStorage(name, tensor);
  const scale = checkScale(options.scale, d);
  const { deferred, selection, ...given } = options;
  const extent = { b, n, m, h, g };
  const captured = tensorsOf(given.score);
  const selected = selection === undefined ? undefined : checkSelection(selection, extent);
  const select = (made: ReturnType<typeof checkSettings>, values: Values) =>
    selected ? { ...made, mask: selected.narrow(made.mask, values) } : made;
  if (deferred === undefined) {
    const made = checkSettings(given, extent);
    const settings = (values: Values) => select(made, values);
    return { ...letters, scale, captured, known: { ...selected?.tensors }, settings };
  }
  if (given.mask !== undefined) throw new ParameterError('mask is deferred: leave it out');
  checkKnown('deferred', deferred, ['tensors', 'mask'], (name) => `a deferred mask has no '${name}'`);
  checkRecord('tensors of deferred', deferred.tensors);
  checkTensors(deferred.tensors);
  checkFunction('mask of deferred', deferred.mask);
  const settings = (values: Values) => select(checkSettings({ ...given, mask: deferred.mask(values) }, extent), values);
  return { ...letters, scale, captured, known: { ...deferred.tensors, ...selected?.tensors }, settings };
}

function checkHeads(g: number, what: string, { shape }: Tensor): void {
  if ((shape[2] as number) % g !== 0)
    throw new ShapeError(`the ${g} heads of ${what} must divide the ${shape[2]} heads of q ${formatShape(shape)}`);
}

function checkScale(scale: number | undefined, d: number): number {
  if (scale === undefined) return 1 / Math.sqrt(d);
  if (typeof scale !== 'number' || !Number.isFinite(scale))
    throw new ParameterError(`scale must be a finite number, got ${show(scale)}`);
  return scale;
}

/** Mask and score of a call of these extents. */
function checkSettings(
  settings: AttentionSettings,
  extent: Extent,
): { readonly mask: Mask; readonly score: Score | undefined } {
  const { score } = settings;
  const mask = maskOf(settings);
  if (score !== undefined) checkScore('score', score);
  for (const part of [mask, score]) part?.check?.(extent);
  return { mask, score };
}

export function checkStorage(name: string, { dtype }: Tensor): void {
  if (!STORAGE.includes(dtype)) throw new DTypeError(`${name} must be one of ${STORAGE.join(', ')}, got ${dtype}`);
}

/** The mask that the settings describe together. */
function maskOf({ mask, ...settings }: AttentionSettings): Mask {
  const near = bandOf(settings);
  if (mask === undefined) return near;
  checkMask('mask', mask);
  return near === full() ? mask : and(near, mask);
}

/** The mask that the options `causal` and `window` describe together. */
export function bandOf({ causal = false, window = [-1, -1] }: Pick<AttentionSettings, 'causal' | 'window'>): Band {
  if (typeof causal !== 'boolean') throw new ParameterError(`causal must be true or false, got ${show(causal)}`);
  if (!Array.isArray(window) || window.length !== 2)
    throw new ParameterError(`window must be [left, right], got ${show(window)}`);
  const [left, right] = window as [number, number];
  const mask = band(left, right);
  return causal ? band(left, 0) : mask;
}
