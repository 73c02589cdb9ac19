/**
 * The gated delta rule: a state [d, e] that forgets, and that each token corrects towards its value at its key.
 * Letters: b batch, n tokens, h heads, d key dimension, e value dimension.
 * Sources: Yang, Kautz and Hatamizadeh 2024, Gated Delta Networks, arXiv 2412.06464; its chunked form: Yang et al. 2024,
 * Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484.
 */
import { checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Expectation, Op } from '../../runtime/op';
import { LARGEST_HEAD } from '../../runtime/wasm/params';
import { bindShapes, formatShape, type Shape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkGradients, checkOptions, checkTensors } from '../check';
import { compute, type ResultSpec } from '../compute';
import { checkContiguous, checkFloat32, zeros } from '../float32';
import { DELTA_RULE_FORMS, type DeltaRuleForm, type GatedDeltaRuleBackwardCall, type GatedDeltaRuleCall } from './call';
import { kernels } from './params.generated';
import { planGatedDeltaRule, planGatedDeltaRuleBackward } from './wasm';

/** What is beyond it outgrows the state's type, on a backend that keeps more too. */
const LARGEST_FLOAT32 = 2 ** 128 - 2 ** 104;

const forward: Op<GatedDeltaRuleCall> = {
  name: 'gatedDeltaRule',
  reference: async () => (await import('./reference')).forward,
  kernels,
  wasm: planGatedDeltaRule,
  webgpu: async () => (await import('./webgpu')).planGatedDeltaRule,
  faults: ({ g, beta, state }) => [...ofGates(g, beta), finite(state, 'the state after the last token')],
};

const step: Op<GatedDeltaRuleCall> = {
  ...forward,
  name: 'gatedDeltaRuleStep',
  faults: ({ g, beta, out }) => [...ofGates(g, beta), finite(out, 'the result')],
};

const backward: Op<GatedDeltaRuleBackwardCall> = {
  name: 'gatedDeltaRuleBackward',
  reference: async () => (await import('./reference')).backward,
  kernels,
  wasm: planGatedDeltaRuleBackward,
  webgpu: async () => (await import('./webgpu')).planGatedDeltaRuleBackward,
  faults: ({ g, beta, gradG }) => [...ofGates(g, beta), finite(gradG, 'the gradient with respect to g')],
};

/** The same for the forward and the backward pass. */
export { LARGEST_HEAD };

export interface GatedDeltaRuleSettings {
  /** Factor on what is read; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
  /** [b, h, d, e]: the state before the first token; default zeros. */
  readonly initialState?: Tensor | undefined;
}

export interface GatedDeltaRuleOptions extends GatedDeltaRuleSettings, Control {
  /** Also the states before every so many tokens, as `states`. */
  readonly every?: number | undefined;
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
  /** [b, ceil(n / every), h, d, e], f32: the state before each `every` tokens, the initial one first. */
  readonly states?: Tensor<'f32'>;
}

/** A loss's gradients with respect to what `gatedDeltaRule` returned. */
export interface GatedDeltaRuleGradients {
  /** [b, n, h, e]. */
  readonly gradOut: Tensor;
  /** [b, h, d, e]; default: the loss does not depend on the last state. */
  readonly gradState?: Tensor | undefined;
  /** [b, ceil(n / every), h, d, e], f32, contiguous; default: the loss does not depend on these states. */
  readonly gradStates?: Tensor | undefined;
}

export interface GatedDeltaRuleBackwardOptions extends GatedDeltaRuleSettings, Control {
  /** As forward. */
  readonly every?: number | undefined;
}

/** Each of the shape and dtype of its input. */
export interface GatedDeltaRuleBackwardResult {
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradG: Tensor;
  readonly gradBeta: Tensor;
  /** Only if there was an initial state. */
  readonly gradInitialState?: Tensor;
  /** Only with `every`: by the states, also through all that follows them; [b, ceil(n / every), h, d, e], f32. */
  readonly gradStates?: Tensor<'f32'>;
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
export function gatedDeltaRule(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  g: Tensor,
  beta: Tensor,
  options: GatedDeltaRuleOptions = {},
): GatedDeltaRuleResult {
  const tokens = { q, k, v, g, beta };
  checkTensors(tokens);
  checkOptions('gatedDeltaRule', options, [...SETTINGS, ...CONTROL, 'every', 'form', 'out', 'state']);
  const { b, n, h, d, e, scale, inputs } = checkProblem(tokens, options);
  const { initialState, every } = options;
  const { form = Math.min(n, every ?? n) < FEWEST_CHUNKED ? 'recurrent' : 'chunked' } = options;
  if (!DELTA_RULE_FORMS.includes(form))
    throw new ParameterError(`form must be one of ${DELTA_RULE_FORMS.join(', ')}, got ${show(form)}`);
  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    state: { shape: [b, h, d, e], dtype: 'f32', given: options.state },
    ...(every !== undefined && { states: { shape: [b, Math.ceil(n / every), h, d, e], dtype: 'f32' } }),
  } as const satisfies Record<string, ResultSpec>;
  const call = (computed: object): GatedDeltaRuleCall => ({
    ...{ ...tokens, initialState, scale, every, form },
    ...(computed as GatedDeltaRuleResult),
  });
  return compute(forward, inputs, results, call, options, { derivative: derivativeOf(scale, every) });
}

function derivativeOf(scale: number, every?: number): Derivative {
  return {
    saves: ['q', 'k', 'v', 'g', 'beta', 'initialState'],
    gradients(saved, { out, state: gradState, states: gradStates }, _, control) {
      const { q, k, v, g, beta, initialState } = saved as Readonly<Record<keyof Tokens | 'initialState', Tensor>>;
      const gradOut = out ?? zeros(q.runtime, v.shape);
      const settings = { scale, initialState, every, ...control };
      const grads = gatedDeltaRuleBackward(q, k, v, g, beta, { gradOut, gradState, gradStates }, settings);
      const { gradQ, gradK, gradV, gradG, gradBeta, gradInitialState } = grads;
      return { q: gradQ, k: gradK, v: gradV, g: gradG, beta: gradBeta, initialState: gradInitialState };
    },
  };
}

/**
 * Gradients of a loss with respect to the inputs of `gatedDeltaRule`, from those by its results; the settings must be
 * the same. The states at the ends of chunks of 48 tokens, or of `every`, if that is less, are computed again and kept:
 * O(n d e / 48) memory. The same bits whatever the number of threads.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} as `gatedDeltaRule`
 */
export function gatedDeltaRuleBackward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  g: Tensor,
  beta: Tensor,
  gradients: GatedDeltaRuleGradients,
  options: GatedDeltaRuleBackwardOptions = {},
): GatedDeltaRuleBackwardResult {
  checkGradients('gatedDeltaRuleBackward', gradients, ['gradOut', 'gradState', 'gradStates', 'out', 'state', 'states']);
  const { gradOut, gradState, gradStates } = gradients;
  const tokens = { q, k, v, g, beta };
  const given = {
    gradOut,
    ...(gradState !== undefined && { gradState }),
    ...(gradStates !== undefined && { gradStates }),
  };
  checkTensors({ ...tokens, ...given });
  checkOptions('gatedDeltaRuleBackward', options, [...SETTINGS, ...CONTROL, 'every']);
  const { b, n, h, d, e, scale, inputs } = checkProblem(tokens, options);
  checkShape('gradOut', gradOut, [b, n, h, e]);
  if (gradState) checkShape('gradState', gradState, [b, h, d, e]);
  for (const [name, tensor] of Object.entries(given)) checkStorage(name, tensor);
  const { initialState, every } = options;
  const times = [b, Math.ceil(n / (every ?? n)), h, d, e];
  if (gradStates) {
    if (every === undefined) throw new ParameterError('gradStates needs every, as forward');
    checkShape('gradStates', gradStates, times);
    checkFloat32('gatedDeltaRuleBackward', { gradStates }, {});
    checkContiguous({ gradStates });
  }
  const like = ({ shape, dtype }: Tensor): ResultSpec => ({ shape, dtype });
  const results = {
    gradQ: like(q),
    gradK: like(k),
    gradV: like(v),
    gradG: like(g),
    gradBeta: like(beta),
    ...(initialState && { gradInitialState: like(initialState) }),
    ...(every !== undefined && { totals: { shape: times, dtype: 'f32' } as const }),
  };
  const { totals, ...computed } = compute<GatedDeltaRuleBackwardCall, Record<string, ResultSpec>>(
    backward,
    { ...inputs, ...given },
    results,
    (grads) => ({ ...tokens, initialState, ...given, ...grads, scale, every }) as GatedDeltaRuleBackwardCall,
    options,
  );
  return { ...computed, ...(totals && { gradStates: totals }) } as GatedDeltaRuleBackwardResult;
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
export function gatedDeltaRuleStep(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  g: Tensor,
  beta: Tensor,
  state: Tensor,
  options: GatedDeltaRuleStepOptions = {},
): GatedDeltaRuleResult {
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
  const call = ({ out, state: next }: GatedDeltaRuleResult): GatedDeltaRuleCall => ({
    ...{ ...tokens, initialState: state, out, state: next, scale, form: 'recurrent' },
  });
  return compute(step, inputs, results, call, options, { derivative: derivativeOf(scale) });
}

type Tokens = Readonly<Record<keyof typeof TOKENS, Tensor>>;
type Letters = Record<'b' | 'n' | 'h' | 'd' | 'e', number>;

/** The extents and scale of a problem, and its tensors; throws where they do not fit. */
function checkProblem(
  tokens: Tokens,
  options: GatedDeltaRuleBackwardOptions,
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
  if (options.every !== undefined) checkWhole('every', options.every, 1);
  return { ...letters, scale, inputs };
}

function checkStorage(name: string, { dtype }: Tensor): void {
  if (!STORAGE.includes(dtype)) throw new DTypeError(`${name} must be one of ${STORAGE.join(', ')}, got ${dtype}`);
}

function checkShape(name: string, { shape }: Tensor, expected: Shape): void {
  if (!sameShape(shape, expected))
    throw new ShapeError(`${name} must have shape ${formatShape(expected)}, got ${formatShape(shape)}`);
}

function ofGates(g: Tensor, beta: Tensor): Expectation[] {
  return [expectEach('g', g, 0, 'finite and at most 0'), expectEach('beta', beta, Number.MAX_VALUE, 'finite')];
}

function expectEach(name: string, tensor: Tensor, most: number, expected: string): Expectation {
  const [, n, h] = tensor.shape as [number, number, number];
  const error = (value: number, at: number) => {
    const place = [Math.floor(at / (n * h)), Math.floor(at / h) % n, at % h];
    return new ParameterError(`${name} must be ${expected}, got ${value} at ${formatShape(place)}`);
  };
  return { tensor, least: -Number.MAX_VALUE, most, error };
}

function finite(tensor: Tensor, what: string): Expectation {
  const error = () =>
    new ParameterError(
      `${what} is not finite: an input is not, or keys are too long, expected beta |k|^2 of at most 2`,
    );
  return { tensor, least: -LARGEST_FLOAT32, most: LARGEST_FLOAT32, error };
}
