/**
 * The gated delta rule: a state [d, e] that forgets, and that each token corrects towards its value at its key.
 * Letters: b batch, n tokens, h heads, d key dimension, e value dimension.
 * Sources: Yang, Kautz and Hatamizadeh 2024, Gated Delta Networks, arXiv 2412.06464; its chunked form: Yang et al. 2024,
 * Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484.
 */
import { ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { LARGEST_HEAD } from '../../runtime/cpu/params';
import type { Expectation, Op } from '../../runtime/op';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkGradients, checkOptions, presentOf } from '../check';
import { compute, type ResultSpec } from '../compute';
import { choice, defineComposite, f32, floats, number, type OptionsOf, optional, whole } from '../define';
import { zeros } from '../float32';
import { DELTA_RULE_FORMS, type GatedDeltaRuleBackwardCall, type GatedDeltaRuleCall } from './call';
import { planGatedDeltaRule, planGatedDeltaRuleBackward } from './cpu';
import { kernels } from './params.generated';

/** What is beyond it outgrows the state's type, on a backend that keeps more too. */
const LARGEST_FLOAT32 = 2 ** 128 - 2 ** 104;

const forward: Op<GatedDeltaRuleCall> = {
  name: 'gatedDeltaRule',
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planGatedDeltaRule,
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
  cpu: planGatedDeltaRuleBackward,
  webgpu: async () => (await import('./webgpu')).planGatedDeltaRuleBackward,
  faults: ({ g, beta, gradG }) => [...ofGates(g, beta), finite(gradG, 'the gradient with respect to g')],
};

/** The same for the forward and the backward pass. */
export { LARGEST_HEAD };

/** Below this a chunk's overhead is more than its products save. */
const FEWEST_CHUNKED = 8;

const STRIDED = { strided: true };
const tokens = {
  q: floats('b n h d', STRIDED),
  k: floats('b n h d', STRIDED),
  v: floats('b n h e', STRIDED),
  g: floats('b n h', STRIDED),
  beta: floats('b n h', STRIDED),
};
const largest = { d: LARGEST_HEAD, e: LARGEST_HEAD };
const scaling = {
  /** Factor on what is read; default 1 / sqrt(d). */
  scale: number({}, ({ d }) => 1 / Math.sqrt(d as number)),
};
const settings = {
  ...scaling,
  /** [b, h, d, e]: the state before the first token; default zeros. */
  initialState: floats('b h d e', STRIDED),
};

type Letters = Record<'b' | 'n' | 'h' | 'd' | 'e', number>;

/** @internal */
export const gatedDeltaRuleOp = defineComposite({
  name: 'gatedDeltaRule',
  inputs: tokens,
  options: {
    ...settings,
    /** Also the states before every so many tokens, as `states`. */
    every: optional(whole({ least: 1 })),
    /** `chunked` goes by chunks of tokens and matrix products, `recurrent` by tokens. Default: chunked from 8 tokens on. */
    form: optional(choice('chunked', ...DELTA_RULE_FORMS)),
  },
  results: { out: floats('b n h e', { like: 'q' }), state: f32('b h d e') },
  largest,
  run({ scale, every, form: given, ...tensors }, options, extents): GatedDeltaRuleResult {
    const { b, n, h, d, e } = extents as Letters;
    const form = given ?? (Math.min(n, every ?? n) < FEWEST_CHUNKED ? 'recurrent' : 'chunked');
    const results = {
      out: { shape: [b, n, h, e], dtype: tensors.q.dtype, given: options.out as Tensor | undefined },
      state: { shape: [b, h, d, e], dtype: 'f32', given: options.state as Tensor | undefined },
      ...(every !== undefined && { states: { shape: [b, Math.ceil(n / every), h, d, e], dtype: 'f32' } }),
    } as const satisfies Record<string, ResultSpec>;
    const call = (computed: object) => ({ ...tensors, scale, every, form, ...(computed as GatedDeltaRuleResult) });
    return compute(forward, presentOf(tensors), results, call, options, { derivative: derivativeOf(scale, every) });
  },
});

/** @internal */
export const gatedDeltaRuleBackwardOp = defineComposite({
  name: 'gradients of gatedDeltaRule',
  inputs: { ...tokens, gradOut: floats('b n h e', STRIDED) },
  options: {
    ...settings,
    /** As forward. */
    every: optional(whole({ least: 1 })),
    gradState: floats('b h d e', STRIDED),
    gradStates: f32('b p h d e'),
  },
  largest,
  run({ scale, every, ...tensors }, control, extents): GatedDeltaRuleBackwardResult {
    const { b, n, h, d, e, p } = extents as Letters & { p?: number };
    if (tensors.gradStates && every === undefined) throw new ParameterError('gradStates needs every, as forward');
    const times = [b, Math.ceil(n / (every ?? n)), h, d, e];
    if (tensors.gradStates && p !== times[1])
      throw new ShapeError(
        `gradStates must have shape ${formatShape(times)}, got ${formatShape(tensors.gradStates.shape)}`,
      );
    const like = ({ shape, dtype }: Tensor): ResultSpec => ({ shape, dtype });
    const { q, k, v, g, beta, initialState } = tensors;
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
      presentOf(tensors),
      results,
      (grads) => ({ ...tensors, ...grads, scale, every }) as GatedDeltaRuleBackwardCall,
      control,
    );
    return { ...computed, ...(totals && { gradStates: totals }) } as object as GatedDeltaRuleBackwardResult;
  },
});

/** @internal */
export const gatedDeltaRuleStepOp = defineComposite({
  name: 'gatedDeltaRuleStep',
  inputs: {
    q: floats('b 1 h d', STRIDED),
    k: floats('b 1 h d', STRIDED),
    v: floats('b 1 h e', STRIDED),
    g: floats('b 1 h', STRIDED),
    beta: floats('b 1 h', STRIDED),
    state: floats('b h d e', STRIDED),
  },
  options: scaling,
  results: { out: floats('b 1 h e', { like: 'q' }), state: f32('b h d e') },
  largest,
  run({ state: initialState, scale, ...tokens }, options, extents): GatedDeltaRuleResult {
    const { b, h, d, e } = extents as Letters;
    const results = {
      out: { shape: [b, 1, h, e], dtype: tokens.q.dtype, given: options.out as Tensor | undefined },
      state: { shape: [b, h, d, e], dtype: 'f32', given: options.state as Tensor | undefined },
    } as const;
    const inputs = { ...tokens, initialState };
    const call = (computed: GatedDeltaRuleResult): GatedDeltaRuleCall => ({
      ...inputs,
      ...computed,
      scale,
      form: 'recurrent',
    });
    return compute(step, inputs, results, call, options, { derivative: derivativeOf(scale) });
  },
});

interface Places {
  /** Where to write: contiguous tensors that no input shares memory with. */
  readonly out?: Tensor | undefined;
  readonly state?: Tensor<'f32'> | undefined;
}

export interface GatedDeltaRuleOptions extends OptionsOf<typeof gatedDeltaRuleOp>, Places, Control {}
export interface GatedDeltaRuleSettings extends Pick<GatedDeltaRuleOptions, 'scale' | 'initialState'> {}
export interface GatedDeltaRuleBackwardOptions
  extends GatedDeltaRuleSettings,
    Pick<GatedDeltaRuleOptions, 'every'>,
    Control {}
export interface GatedDeltaRuleStepOptions extends OptionsOf<typeof gatedDeltaRuleStepOp>, Places, Control {}

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
  return gatedDeltaRuleOp({ q, k, v, g, beta }, options);
}

function derivativeOf(scale: number, every?: number): Derivative {
  return {
    saves: ['q', 'k', 'v', 'g', 'beta', 'initialState'],
    gradients(saved, { out, state: gradState, states: gradStates }, _, control) {
      const { q, k, v, g, beta, initialState } = saved as Readonly<
        Record<keyof typeof tokens | 'initialState', Tensor>
      >;
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
  checkOptions('gatedDeltaRuleBackward', options, ['scale', 'initialState', 'every', 'signal', 'onProgress']);
  const { gradOut, gradState, gradStates } = gradients;
  return gatedDeltaRuleBackwardOp({ q, k, v, g, beta, gradOut }, { ...options, gradState, gradStates });
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
  return gatedDeltaRuleStepOp({ q, k, v, g, beta, state }, options);
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
