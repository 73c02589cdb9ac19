/**
 * Exact softmax attention in O(n) memory.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { type Band, band } from '../masks/band';
import type { Control } from '../runtime/backend';
import { bindShapes, formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkControl, checkOptions, checkTensors } from './check';
import { compute } from './compute';

export interface AttentionOptions extends Control {
  /** Factor on the scores; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** Query i sees key j only if j <= i + m - n: the last query sees the last key. Default false. */
  readonly causal?: boolean | undefined;
  /** `[left, right]`: keys from i' - left to i' + right, with i' = i + m - n; -1 leaves a side unbounded. */
  readonly window?: readonly [left: number, right: number] | undefined;
  /** Where to write: contiguous tensors that no input shares memory with. */
  readonly out?: Tensor | undefined;
  readonly lse?: Tensor<'f32'> | undefined;
}

export interface AttentionResult {
  /** [b, n, h, e] in the dtype of q. */
  readonly out: Tensor;
  /** [b, n, h], f32: natural logarithm of the sum of exponentials of the scaled scores; -Infinity for no key. */
  readonly lse: Tensor<'f32'>;
}

const OPTION_NAMES = ['scale', 'causal', 'window', 'out', 'lse', 'signal', 'onProgress'];
const STORAGE = ['f32', 'f16', 'bf16'];
const LARGEST_HEAD = 256;

/**
 * softmax(scale * q k^T, over the keys each query may see) v.
 *
 * q [b,n,h,d], k [b,m,g,d], v [b,m,g,e]; g divides h and query head i uses key/value head floor(i * g / h); d and e
 * are from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic. Never holds n x m numbers, skips the tiles that no
 * query sees. A query that sees no key gives zeros and lse = -Infinity.
 *
 * @throws {ShapeError} ranks or extents that do not fit, heads that do not divide
 * @throws {ParameterError} an unknown or ill-typed option
 */
export async function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Promise<AttentionResult> {
  checkTensors({ q, k, v });
  checkOptions('attention', options, OPTION_NAMES);
  checkControl(options);
  const mask = bandOf(options);
  const { b, n, h, d, e } = bindShapes(
    { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
    { q: q.shape, k: k.shape, v: v.shape },
  ) as Letters;
  const g = k.shape[2] as number;
  if (h % g !== 0)
    throw new ShapeError(
      `the ${g} heads of k ${formatShape(k.shape)} must divide the ${h} heads of q ${formatShape(q.shape)}`,
    );
  for (const [letter, tensor, extent] of [
    ['d', q, d],
    ['e', v, e],
  ] as const) {
    if (extent > LARGEST_HEAD)
      throw new ShapeError(
        `the head dimension ${letter} must be at most ${LARGEST_HEAD}, got ${formatShape(tensor.shape)}`,
      );
  }
  for (const [name, { dtype }] of Object.entries({ q, k, v })) {
    if (!STORAGE.includes(dtype)) throw new DTypeError(`${name} must be one of ${STORAGE.join(', ')}, got ${dtype}`);
  }
  const { scale = 1 / Math.sqrt(d) } = options;
  if (typeof scale !== 'number' || !Number.isFinite(scale))
    throw new ParameterError(`scale must be a finite number, got ${scale}`);

  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    lse: { shape: [b, n, h], dtype: 'f32', given: options.lse },
  } as const;
  return compute({ q, k, v }, results, (backend, { out, lse }) =>
    backend.attention({ q, k, v, out, lse, scale, mask }, options),
  );
}

type Letters = Record<'b' | 'n' | 'h' | 'd' | 'e', number>;

/** The mask that the options `causal` and `window` describe together. */
export function bandOf({ causal = false, window = [-1, -1] }: Pick<AttentionOptions, 'causal' | 'window'>): Band {
  if (typeof causal !== 'boolean') throw new ParameterError(`causal must be true or false, got ${causal}`);
  if (!Array.isArray(window) || window.length !== 2)
    throw new ParameterError(`window must be [left, right], got ${JSON.stringify(window)}`);
  const [left, right] = window as [number, number];
  const mask = band(left, right);
  return causal ? band(left, 0) : mask;
}
