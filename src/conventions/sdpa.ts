/** Attention with the names and layouts of PyTorch, onnxruntime, flash-attention and JAX. */
import { checkBoolean, checkChoice, checkOptions, checkWhole, isRecord, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { band, causal } from '../masks/band';
import { and } from '../masks/combine';
import { fromTable } from '../masks/from-table';
import { interned, type Mask } from '../masks/mask';
import { type AttentionSettings, attention } from '../ops/attention';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import type { Values } from '../ops/compute';
import { cast } from '../ops/copy';
import { defaultRuntime } from '../ops/create-runtime';
import type { Control } from '../runtime/backend';
import { Runtime } from '../runtime/runtime';
import { additiveBias, compose, softcap } from '../scores/score';
import { isFloat } from '../tensor/dtype';
import { type HostTensor, hostTensor, type Numbers } from '../tensor/host';
import { bindShapes, formatShape, type Shape } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';

/**
 * How queries, keys, values and results lie: `'bhnd'` [batch, heads, sequence, d] (PyTorch), `'bnhd'` [batch, sequence,
 * heads, d] (flash-attention, JAX), `'bn(hd)'` [batch, sequence, heads d] (onnxruntime's MultiHeadAttention and
 * GroupQueryAttention).
 */
export type SdpaLayout = 'bhnd' | 'bnhd' | 'bn(hd)';

/** Numbers in host memory with their shape; the dtype is that of the typed array unless it is given. */
export interface HostArray {
  readonly data: Numbers;
  readonly shape: Shape;
  readonly dtype?: HostTensor['dtype'] | undefined;
}

export interface SdpaOptions extends Control {
  /** Required, since shapes alone do not tell heads from tokens. */
  readonly layout: SdpaLayout;
  /**
   * PyTorch's: which keys count, u8 (anything but 0 does), or what is added to the scores, floats; broadcast to [b, h, n, m].
   * A tensor or an array in host memory; of floats in a tensor there is a gradient.
   */
  readonly attn_mask?: Tensor | HostArray | undefined;
  /** As in PyTorch: query i sees the keys up to i, aligned at the top left, also if n is not m. */
  readonly is_causal?: boolean | undefined;
  /** Must be 0. */
  readonly dropout_p?: number | undefined;
  /** Factor on the scores; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** PyTorch's: whether keys and values may have fewer heads, which divide those of the queries. */
  readonly enable_gqa?: boolean | undefined;
  /** onnxruntime's: query heads. Needed for `'bn(hd)'`, else checked. */
  readonly num_heads?: number | undefined;
  /** onnxruntime's: heads of keys and values, which divide the query heads; default: as many. */
  readonly kv_num_heads?: number | undefined;
  /** onnxruntime's: causal from the bottom right, so that the last query sees the last key. */
  readonly unidirectional?: boolean | 0 | 1 | undefined;
  /** onnxruntime's, of GroupQueryAttention: unidirectional, with so many keys up to the query's own; -1 for all. */
  readonly local_window_size?: number | undefined;
  /** onnxruntime's: scores become softcap tanh(score / softcap) before a bias is added; 0 for none. */
  readonly softcap?: number | undefined;
  /** onnxruntime's: what is added to the scores, as a float `attn_mask`. */
  readonly attention_bias?: Tensor | HostArray | undefined;
  /** Where to compute on arrays in host memory; default: the default runtime. */
  readonly runtime?: Runtime | undefined;
}

/** In the layout of the inputs. */
export interface SdpaResult<T> {
  /** [b, h, n, e], [b, n, h, e] or [b, n, h e]; of tensors a view without a copy, so strided for `'bhnd'`. */
  readonly out: T;
  /** Natural logarithm of the sum of exponentials: [b, h, n] for `'bhnd'`, else [b, n, h]. */
  readonly lse: T;
}

const NAMES = [
  ...['layout', 'attn_mask', 'is_causal', 'dropout_p', 'scale', 'enable_gqa'],
  ...['num_heads', 'kv_num_heads', 'unidirectional', 'local_window_size', 'softcap', 'attention_bias'],
  ...['runtime', 'signal', 'onProgress'],
];
const LAYOUTS = ['bhnd', 'bnhd', 'bn(hd)'] as const;

/**
 * Exact softmax attention, as `attention`, by the argument names of PyTorch's `scaled_dot_product_attention` and of
 * onnxruntime's operators. Tensors give tensors, at once; arrays in host memory, `{ data, shape }`, a promise of such. No
 * layout costs a copy. A query that sees no key gives zeros.
 *
 * @throws {ShapeError} shapes that the layout, the numbers of heads or each other contradict
 * @throws {ParameterError} no layout, dropout, an option that is unknown or ill-typed
 */
export function sdpa(q: Tensor, k: Tensor, v: Tensor, options: SdpaOptions): SdpaResult<Tensor>;
export function sdpa(q: HostArray, k: HostArray, v: HostArray, options: SdpaOptions): Promise<SdpaResult<HostTensor>>;
export function sdpa(
  q: Tensor | HostArray,
  k: Tensor | HostArray,
  v: Tensor | HostArray,
  options: SdpaOptions,
): SdpaResult<Tensor> | Promise<SdpaResult<HostTensor>> {
  if (isArray(q)) return ofArrays({ q, k, v }, options);
  checkTensors({ q, k, v });
  return ofTensors({ q, k, v } as Inputs<Tensor>, options);
}

type Inputs<T> = Readonly<Record<'q' | 'k' | 'v', T>>;

const isArray = (value: unknown): value is HostArray => isRecord(value) && Object.hasOwn(value, 'data');

async function ofArrays(inputs: Inputs<Tensor | HostArray>, options: SdpaOptions): Promise<SdpaResult<HostTensor>> {
  const hosts = Object.entries(inputs).map(([name, value]) => {
    if (!isArray(value)) throw new ParameterError(`${name} must be { data, shape } as q, got ${show(value)}`);
    return [name, hostTensor(value.data, value.shape, value.dtype)] as const;
  });
  checkNames(options);
  const runtime = options.runtime ?? (await defaultRuntime());
  const { out, lse } = runtime.scope(() => {
    const tensors = Object.fromEntries(
      hosts.map(([name, host]) => [name, runtime.fromHost(host as HostTensor<'f32'>)]),
    );
    return ofTensors(tensors as unknown as Inputs<Tensor>, options);
  });
  try {
    return { out: await out.toHost(), lse: await lse.toHost() };
  } finally {
    out.dispose();
    lse.dispose();
  }
}

function checkNames(options: SdpaOptions): void {
  checkOptions('sdpa', options, NAMES);
  if (options.runtime !== undefined && !(options.runtime instanceof Runtime))
    throw new ParameterError(`runtime must be a Runtime, got ${show(options.runtime)}`);
}

function ofTensors(inputs: Inputs<Tensor>, options: SdpaOptions): SdpaResult<Tensor> {
  checkNames(options);
  checkControl(options);
  const { layout, scale, dropout_p = 0, signal, onProgress } = options;
  if (layout === undefined) throw new ParameterError(`layout must be said, one of ${LAYOUTS.join(', ')}`);
  checkChoice('layout', layout, LAYOUTS);
  if (dropout_p !== 0) throw new ParameterError(`dropout_p must be 0, as there is no dropout, got ${show(dropout_p)}`);
  return inputs.q.runtime.scope(() => {
    const { q, k, v, shape } = inOrder(inputs, options);
    const { out, lse } = attention(q, k, v, { scale, ...settingsOf(options, q, shape), signal, onProgress });
    if (layout === 'bnhd') return { out, lse };
    if (layout === 'bn(hd)') return { out: out.reshape([...out.shape.slice(0, 2), -1]), lse };
    return { out: out.permute([0, 2, 1, 3]), lse: lse.permute([0, 2, 1]) };
  });
}

const SPECS = {
  bhnd: { q: 'b h n d', k: 'b g m d', v: 'b g m e' },
  bnhd: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  'bn(hd)': { q: 'b n hd', k: 'b m gd', v: 'b m ge' },
} as const;

/** Views [b, n, h, d], and the shape of the scores, [b, h, n, m]. */
function inOrder({ q, k, v }: Inputs<Tensor>, options: SdpaOptions): Inputs<Tensor> & { readonly shape: Shape } {
  const { layout, num_heads, kv_num_heads, enable_gqa } = options;
  for (const [name, count] of Object.entries({ num_heads, kv_num_heads }))
    if (count !== undefined) checkWhole(name, count, 1);
  checkBoolean('enable_gqa', enable_gqa);
  const letters = bindShapes(SPECS[layout], { q: q.shape, k: k.shape, v: v.shape }) as Record<string, number>;
  const { b, n, m } = letters as Record<'b' | 'n' | 'm', number>;
  if (layout === 'bn(hd)' && num_heads === undefined)
    throw new ParameterError("num_heads must be said for layout 'bn(hd)'");
  const h = letters.h ?? (num_heads as number);
  const g = letters.g ?? kv_num_heads ?? h;
  for (const [name, count, found] of [
    ['num_heads', num_heads, h],
    ['kv_num_heads', kv_num_heads, g],
  ] as const)
    if (count !== undefined && count !== found)
      throw new ShapeError(
        `${name} is ${count}, but in layout '${layout}' q ${formatShape(q.shape)} and k ${formatShape(k.shape)} have ${h} and ${g} heads`,
      );
  if (g !== h && !enable_gqa && kv_num_heads === undefined)
    throw new ShapeError(
      `k ${formatShape(k.shape)} must have the ${h} heads of q ${formatShape(q.shape)} in layout '${layout}', got ${g}: say enable_gqa for grouped heads`,
    );
  const shape = [b, h, n, m];
  if (layout === 'bnhd') return { q, k, v, shape };
  if (layout === 'bhnd') {
    const swapped = (x: Tensor) => x.permute([0, 2, 1, 3]);
    return { q: swapped(q), k: swapped(k), v: swapped(v), shape };
  }
  const split = (name: string, x: Tensor, heads: number) => {
    const width = x.shape[2] as number;
    if (width % heads !== 0)
      throw new ShapeError(
        `the width ${width} of ${name} ${formatShape(x.shape)} must be a multiple of its ${heads} heads`,
      );
    return x.reshape([b, x.shape[1] as number, heads, width / heads]);
  };
  return { q: split('q', q, h), k: split('k', k, g), v: split('v', v, g), shape };
}

/** PyTorch's causal mask, which is aligned at the first query and key. */
const fromTopLeft: Mask = interned({
  name: 'causal from the top left',
  sees: (i, j) => j <= i,
  intervals: (i, { m }) => [0, Math.min(i + 1, m)],
  slides: true,
});

function settingsOf(options: SdpaOptions, q: Tensor, shape: Shape): AttentionSettings {
  const { attn_mask, attention_bias, is_causal, unidirectional, local_window_size = -1, softcap: cap = 0 } = options;
  checkBoolean('is_causal', is_causal);
  checkChoice('unidirectional', unidirectional, [true, false, 0, 1]);
  if (local_window_size !== -1) checkWhole('local_window_size', local_window_size, 1);
  const masks: Mask[] = [];
  if (is_causal) masks.push(fromTopLeft);
  if (unidirectional) masks.push(causal());
  if (local_window_size !== -1) masks.push(band(local_window_size - 1, 0));
  const mask = attn_mask === undefined ? undefined : tableOf('attn_mask', attn_mask, q, shape);
  const bias = attention_bias === undefined ? undefined : tableOf('attention_bias', attention_bias, q, shape);
  if (bias && !isFloat(bias.dtype)) throw new DTypeError(`attention_bias must hold floats, got ${bias.dtype}`);
  const isAdded = mask !== undefined && isFloat(mask.dtype);
  if (isAdded && bias) throw new ParameterError('attn_mask and attention_bias are both added to the scores: give one');
  const added = isAdded ? mask : bias;
  const seen = isAdded ? undefined : mask;
  const scores = [...(cap === 0 ? [] : [softcap(cap)]), ...(added ? [additiveBias(biasOf(added))] : [])];
  const score = scores.length > 0 ? { score: compose(...scores) } : {};
  if (seen instanceof Tensor) {
    const mask = (values: Values) => and(...masks, fromTable(inFour(values.seen as HostTensor)));
    return { ...score, deferred: { tensors: { seen }, mask } };
  }
  if (seen) masks.push(fromTable(inFour(seen)));
  return { ...score, ...(masks.length > 0 && { mask: and(...masks) }) };
}

/** The given mask, which must fit scores of this shape. */
function tableOf(name: string, given: Tensor | HostArray, q: Tensor, shape: Shape): Tensor | HostTensor {
  if (!(given instanceof Tensor || isArray(given)))
    throw new ParameterError(`${name} must be a Tensor or { data, shape }, got ${show(given)}`);
  if (given instanceof Tensor) commonRuntime({ q, [name]: given });
  const table = given instanceof Tensor ? given : hostTensor(given.data, given.shape, given.dtype);
  if (!isFloat(table.dtype) && table.dtype !== 'u8')
    throw new DTypeError(`${name} must be u8, or floats that are added to the scores, got ${table.dtype}`);
  const front = shape.length - table.shape.length;
  if (front >= 0 && table.shape.every((extent, axis) => extent === 1 || extent === shape[front + axis])) return table;
  throw new ShapeError(
    `${name} must broadcast to [b, h, n, m] = ${formatShape(shape)}, got ${formatShape(table.shape)}`,
  );
}

const fourAxes = (shape: Shape) => [1, 1, 1, 1, ...shape].slice(-4);
const inFour = (table: HostTensor): HostTensor => ({ ...table, shape: fourAxes(table.shape) });

/** A tensor as scores take it: contiguous and f32. */
function biasOf(table: Tensor | HostTensor): Tensor | HostTensor {
  if (!(table instanceof Tensor)) return inFour(table);
  return (table.dtype === 'f32' && table.isContiguous ? table : cast(table, 'f32')).reshape(fourAxes(table.shape));
}
