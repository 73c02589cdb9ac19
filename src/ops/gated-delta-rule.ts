/**
 * The gated delta rule: a state [d, e] that forgets, and that each token corrects towards its value at its key.
 * Letters: b batch, n tokens, h heads, d key dimension, e value dimension.
 * Sources: Yang, Kautz and Hatamizadeh 2024, Gated Delta Networks, arXiv 2412.06464; its chunked form: Yang et al. 2024,
 * Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484.
 */
import { show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { type Control, DELTA_RULE_FORMS, type DeltaRuleForm } from '../runtime/backend';
import { toFloat64 } from '../tensor/host';
import { bindShapes, formatShape, type Shape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkControl, checkGradients, checkOptions, checkTensors } from './check';
import { compute, type ResultSpec } from './compute';

/** The same for the forward and the backward pass. */
export interface GatedDeltaRuleSettings {
  /** Factor on what is read; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** [b, h, d, e]: the state before the first token; default zeros. */
  readonly initialState?: Tensor | undefined;
}

export interface GatedDeltaRuleOptions extends GatedDeltaRuleSettings, Control {
  /** `chunked` goes by chunks of tokens and matrix products, `recurrent` by tokens. Default: chunked from 8 tokens on. */
  readonly form?: DeltaRuleForm | undefined;
  /** Where to write: contiguous tensors that no input shares memory with. */
  readonly out?: Tensor | undefined;
  readonly state?: Tensor<'f32'> | undefined;
}

export interface GatedDeltaRuleResult {
  /** [b, n, h, e] in the dtype of q. */
  readonly out: Tensor;
  /** [b, h, d, e], f32: the state after the last token. */
  readonly state: Tensor<'f32'>;
}

/** A loss's gradients by what `gatedDeltaRule` returned. */
export interface GatedDeltaRuleGradients {
  /** [b, n, h, e]. */
  readonly gradOut: Tensor;
  /** [b, h, d, e]; default: the loss does not depend on the last state. */
  readonly gradState?: Tensor | undefined;
}

export interface GatedDeltaRuleBackwardOptions extends GatedDeltaRuleSettings, Control {}

/** Each of the shape and dtype of its input. */
export interface GatedDeltaRuleBackwardResult {
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradG: Tensor;
  readonly gradBeta: Tensor;
  /** Only if there was an initial state. */
  readonly gradInitialState?: Tensor;
}

export interface GatedDeltaRuleStepOptions extends Control {
  /** Factor on what is read; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** Where to write: contiguous tensors that no input shares memory with. */
  readonly out?: Tensor | undefined;
  readonly state?: Tensor<'f32'> | undefined;
}

const SETTINGS = ['scale', 'initialState'];
const CONTROL = ['signal', 'onProgress'];
const STORAGE = ['f32', 'f16', 'bf16'];
/** The most that d and e may be. */
export const LARGEST_HEAD = 256;
/** Below this a chunk's overhead is more than its products save. */
const FEWEST_CHUNKED = 8;

const TOKENS = { q: 'b n h d', k: 'b n h d', v: 'b n h e', g: 'b n h', beta: 'b n h' } as const;
const STATE = 'b h d e';

/**
 * For each token: S = e^g S; S = S + k (beta (v - S^T k))^T; out = scale S^T q.
 *
 * q, k [b,n,h,d], v [b,n,h,e], g and beta [b,n,h]; d and e are from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic
 * and states. O(n) time and memory. Decays enter by differences of their logarithms, so any g <= 0 is exact, also where
 * e^g is 0. Keys are taken as they are. They should have norm 1: where beta |k|^2 exceeds 2, a token makes the state
 * grow, and if it outgrows float32 the call rejects.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} g that is not finite or above 0, beta that is not finite, a state that is not finite in the
 * end, an unknown or ill-typed option
 */
export async function gatedDeltaRule(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  g: Tensor,
  beta: Tensor,
  options: GatedDeltaRuleOptions = {},
): Promise<GatedDeltaRuleResult> {
  const tokens = { q, k, v, g, beta };
  checkTensors(tokens);
  checkOptions('gatedDeltaRule', options, [...SETTINGS, ...CONTROL, 'form', 'out', 'state']);
  const { b, n, h, d, e, scale, inputs } = checkProblem(tokens, options);
  const { initialState, form = n < FEWEST_CHUNKED ? 'recurrent' : 'chunked' } = options;
  if (!DELTA_RULE_FORMS.includes(form))
    throw new ParameterError(`form must be one of ${DELTA_RULE_FORMS.join(', ')}, got ${show(form)}`);
  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    state: { shape: [b, h, d, e], dtype: 'f32', given: options.state },
  } as const;
  return compute(inputs, results, options, async (backend, computed, control) => {
    await checkGates(g, beta);
    await backend.gatedDeltaRule({ ...tokens, initialState, ...computed, scale, form }, control);
    checkFinite('the state after the last token', await computed.state.read());
  });
}

/**
 * Gradients of a loss by the inputs of `gatedDeltaRule`, from those by its results; the settings must be the same. The
 * states at the ends of chunks of 48 tokens are computed again and kept: O(n d e / 48) memory. The same bits whatever the number of threads.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} as `gatedDeltaRule`
 */
export async function gatedDeltaRuleBackward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  g: Tensor,
  beta: Tensor,
  gradients: GatedDeltaRuleGradients,
  options: GatedDeltaRuleBackwardOptions = {},
): Promise<GatedDeltaRuleBackwardResult> {
  checkGradients('gatedDeltaRuleBackward', gradients, ['gradOut', 'gradState', 'out', 'state']);
  const { gradOut, gradState } = gradients;
  const tokens = { q, k, v, g, beta };
  const given = { gradOut, ...(gradState !== undefined && { gradState }) };
  checkTensors({ ...tokens, ...given });
  checkOptions('gatedDeltaRuleBackward', options, [...SETTINGS, ...CONTROL]);
  const { b, n, h, d, e, scale, inputs } = checkProblem(tokens, options);
  checkShape('gradOut', gradOut, [b, n, h, e]);
  if (gradState) checkShape('gradState', gradState, [b, h, d, e]);
  for (const [name, tensor] of Object.entries(given)) checkStorage(name, tensor);
  const { initialState } = options;
  const like = ({ shape, dtype }: Tensor): ResultSpec => ({ shape, dtype });
  const results = {
    gradQ: like(q),
    gradK: like(k),
    gradV: like(v),
    gradG: like(g),
    gradBeta: like(beta),
    ...(initialState && { gradInitialState: like(initialState) }),
  };
  const computing: Promise<Record<string, Tensor>> = compute(
    { ...inputs, ...given },
    results,
    options,
    async (backend, grads, control) => {
      await checkGates(g, beta);
      const computed = grads as unknown as GatedDeltaRuleBackwardResult;
      await backend.gatedDeltaRuleBackward({ ...tokens, initialState, ...given, ...computed, scale }, control);
      checkFinite('the gradient by g', toFloat64(await computed.gradG.toHost()));
    },
  );
  return (await computing) as unknown as GatedDeltaRuleBackwardResult;
}

/**
 * One more token, for decoding: `gatedDeltaRule` of a sequence of length 1, in the shapes of `linearAttentionStep`.
 * q, k [b,1,h,d], v [b,1,h,e], g and beta [b,1,h], state [b,h,d,e] -> out [b,1,h,e] in the dtype of q, and the state
 * after the token. The state given is left as it is: two states that take turns as `state` and `options.state` make a
 * loop that allocates nothing.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} as `gatedDeltaRule`, but it is the result that must be finite
 */
export async function gatedDeltaRuleStep(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  g: Tensor,
  beta: Tensor,
  state: Tensor,
  options: GatedDeltaRuleStepOptions = {},
): Promise<GatedDeltaRuleResult> {
  const tokens = { q, k, v, g, beta };
  checkTensors({ ...tokens, state });
  checkOptions('gatedDeltaRuleStep', options, ['scale', ...CONTROL, 'out', 'state']);
  if (q.rank !== 4 || q.shape[1] !== 1)
    throw new ShapeError(`q must have shape [b, 1, h, d], got ${formatShape(q.shape)}`);
  const shapes = { q: q.shape, k: k.shape, v: v.shape, g: g.shape, beta: beta.shape, state: state.shape };
  bindShapes({ ...TOKENS, state: STATE }, shapes);
  const { b, h, d, e, scale, inputs } = checkProblem(tokens, { ...options, initialState: state });
  const results = {
    out: { shape: [b, 1, h, e], dtype: q.dtype, given: options.out },
    state: { shape: [b, h, d, e], dtype: 'f32', given: options.state },
  } as const;
  return await compute(inputs, results, options, async (backend, { out, state: next }, control) => {
    await checkGates(g, beta);
    const call = { ...tokens, initialState: state, out, state: next, scale, form: 'recurrent' } as const;
    await backend.gatedDeltaRule(call, control);
    checkFinite('the result', toFloat64(await out.toHost()));
  });
}

type Tokens = Readonly<Record<keyof typeof TOKENS, Tensor>>;
type Letters = Record<'b' | 'n' | 'h' | 'd' | 'e', number>;

/** The extents and scale of a problem, and its tensors; throws where they do not fit. */
function checkProblem(
  tokens: Tokens,
  options: GatedDeltaRuleSettings & Control,
): Letters & { readonly scale: number; readonly inputs: Readonly<Record<string, Tensor>> } {
  checkControl(options);
  const { initialState } = options;
  if (initialState !== undefined) checkTensors({ initialState });
  const inputs: Readonly<Record<string, Tensor>> = { ...tokens, ...(initialState && { initialState }) };
  const letters = bindShapes(
    { ...TOKENS, ...(initialState && { initialState: STATE }) } as Record<string, string>,
    Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape])),
  ) as Letters;
  for (const [letter, { shape }] of [
    ['d', tokens.q],
    ['e', tokens.v],
  ] as const) {
    if (letters[letter] > LARGEST_HEAD)
      throw new ShapeError(`the head dimension ${letter} must be at most ${LARGEST_HEAD}, got ${formatShape(shape)}`);
  }
  for (const [name, tensor] of Object.entries(inputs)) checkStorage(name, tensor);
  const { scale = 1 / Math.sqrt(letters.d) } = options;
  if (typeof scale !== 'number' || !Number.isFinite(scale))
    throw new ParameterError(`scale must be a finite number, got ${show(scale)}`);
  return { ...letters, scale, inputs };
}

function checkStorage(name: string, { dtype }: Tensor): void {
  if (!STORAGE.includes(dtype)) throw new DTypeError(`${name} must be one of ${STORAGE.join(', ')}, got ${dtype}`);
}

function checkShape(name: string, { shape }: Tensor, expected: Shape): void {
  if (!sameShape(shape, expected))
    throw new ShapeError(`${name} must have shape ${formatShape(expected)}, got ${formatShape(shape)}`);
}

/** Reads begin at once: the caller may dispose its tensors after the call. */
async function checkGates(g: Tensor, beta: Tensor): Promise<void> {
  const [logs, strengths] = await Promise.all([g.toHost(), beta.toHost()]);
  checkEach('g', toFloat64(logs), g.shape, 0, 'finite and at most 0');
  checkEach('beta', toFloat64(strengths), beta.shape, Number.MAX_VALUE, 'finite');
}

function checkEach(name: string, numbers: Float64Array, [, n = 1, h = 1]: Shape, most: number, expected: string): void {
  // A plain loop: a function for each number would take several times as long.
  let at = 0;
  while (at < numbers.length && (numbers[at] as number) <= most && (numbers[at] as number) >= -Number.MAX_VALUE) at++;
  if (at === numbers.length) return;
  const place = [Math.floor(at / (n * h)), Math.floor(at / h) % n, at % h];
  throw new ParameterError(`${name} must be ${expected}, got ${numbers[at]} at ${formatShape(place)}`);
}

function checkFinite(what: string, numbers: Float32Array | Float64Array): void {
  // A sum of zeros, or NaN.
  let sum = 0;
  for (let at = 0; at < numbers.length; at++) sum += (numbers[at] as number) * 0;
  if (Number.isNaN(sum))
    throw new ParameterError(
      `${what} is not finite: an input is not, or keys are too long, expected beta |k|^2 of at most 2`,
    );
}
