/**
 * The gated delta rule: a state [d, e] that forgets, and that each token corrects towards its value at its key.
 * Letters: b batch, n tokens, h heads, d key dimension, e value dimension.
 * Sources: Yang, Kautz and Hatamizadeh 2024, Gated Delta Networks, arXiv 2412.06464; its chunked form: Yang et al. 2024,
 * Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484.
 */
import { ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Expectation, Op } from '../../runtime/op';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import {
  choice,
  defineComposite,
  defineOp,
  f32,
  floats,
  group,
  type Members,
  type OptionsOf,
  optional,
  type ResultsOf,
  whole,
} from '../define';
import { zeros } from '../float32';
import { largestHead, STRIDED, scale } from '../heads';
import { DELTA_RULE_FORMS, type DeltaRuleForm, type GatedDeltaRuleCall } from './call';
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

/** Below this a chunk's overhead is more than its products save. */
const FEWEST_CHUNKED = 8;

const tokens = {
  q: floats('b n h d', STRIDED),
  k: floats('b n h d', STRIDED),
  v: floats('b n h e', STRIDED),
  g: floats('b n h', { ...STRIDED, most: 0 }),
  beta: floats('b n h', STRIDED),
};
const settings = {
  /** Factor on what is read; default 1 / sqrt(d). */
  scale,
  /** [b, h, d, e]: the state before the first token; default zeros. */
  initialState: floats('b h d e', STRIDED),
};

const results = {
  /** [b, n, h, e] in the dtype of q. */
  out: floats('b n h e', { like: 'q' }),
  /** [b, h, d, e], f32: the state after the last token. */
  state: f32('b h d e'),
};

export const gatedDeltaRuleOp = defineOp({
  ...forward,
  inputs: tokens,
  options: {
    ...settings,
    /** Also the states before every so many tokens, as `states`. */
    every: optional(whole({ least: 1 })),
    /** `chunked` goes by chunks of tokens and matrix products, `recurrent` by tokens. Default: chunked from 8 tokens on. */
    form: optional(choice('chunked', ...DELTA_RULE_FORMS)),
  },
  results: {
    ...results,
    /** [b, ceil(n / every), h, d, e], f32: the state before each `every` tokens, the initial one first. */
    states: f32('b t h d e', { fresh: true, when: 'every' }),
  },
  operations: '7 b n h d e + 3 b n h e',
  largest: largestHead,
  more({ every, form }, extents) {
    const n = extents.n as number;
    const usual: DeltaRuleForm = Math.min(n, every ?? n) < FEWEST_CHUNKED ? 'recurrent' : 'chunked';
    return { form: form ?? usual, t: Math.ceil(n / (every ?? n)) };
  },
  derivative: ({ scale, every }) => derivativeOf(scale, every),
});

/** @internal */
export const gatedDeltaRuleBackwardOp = defineOp({
  name: 'gatedDeltaRuleBackward',
  inputs: {
    ...tokens,
    gradients: group(
      {
        /** [b, n, h, e]. */
        gradOut: floats('b n h e', STRIDED),
      },
      {
        /** [b, h, d, e]; default: the loss does not depend on the last state. */
        gradState: floats('b h d e', STRIDED),
        /** [b, ceil(n / every), h, d, e], f32, contiguous; default: the loss does not depend on these states. */
        gradStates: f32('b t h d e'),
        // May stand beside them, as the forward pass returned them.
        ...{ out: results.out, state: results.state, states: f32('b t h d e') },
      },
    ),
  },
  options: {
    ...settings,
    /** As forward. */
    every: optional(whole({ least: 1 })),
  },
  results: {
    gradQ: floats('b n h d', { like: 'q', fresh: true }),
    gradK: floats('b n h d', { like: 'k', fresh: true }),
    gradV: floats('b n h e', { like: 'v', fresh: true }),
    gradG: floats('b n h', { like: 'g', fresh: true }),
    gradBeta: floats('b n h', { like: 'beta', fresh: true }),
    /** Only if there was an initial state. */
    gradInitialState: floats('b h d e', { like: 'initialState', fresh: true, when: 'initialState' }),
    totals: f32('b t h d e', { fresh: true, when: 'every' }),
  },
  largest: largestHead,
  more({ every, gradients: { gradOut, gradState, gradStates } }, extents) {
    const n = extents.n as number;
    if (gradStates && every === undefined) throw new ParameterError('gradStates needs every, as forward');
    const t = Math.ceil(n / (every ?? n));
    if (gradStates && extents.t !== t)
      throw new ShapeError(
        `gradStates must have shape [b, t, h, d, e] with t = ceil(n / every) = ${t}, got ${formatShape(gradStates.shape)}`,
      );
    return { gradOut, gradState, gradStates, t };
  },
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planGatedDeltaRuleBackward,
  webgpu: async () => (await import('./webgpu')).planGatedDeltaRuleBackward,
  faults: ({ g, beta, gradG }) => [...ofGates(g, beta), finite(gradG, 'the gradient with respect to g')],
});

export const gatedDeltaRuleStepOp = defineComposite({
  name: step.name,
  inputs: {
    q: floats('b 1 h d', STRIDED),
    k: floats('b 1 h d', STRIDED),
    v: floats('b 1 h e', STRIDED),
    g: floats('b 1 h', { ...STRIDED, most: 0 }),
    beta: floats('b 1 h', STRIDED),
    state: floats('b h d e', STRIDED),
  },
  options: { scale: settings.scale },
  results: { ...results, out: floats('b 1 h e', { like: 'q' }) },
  operations: '7 b h d e + 3 b h e',
  largest: largestHead,
  run({ state: initialState, scale, ...tokens }, control, _, specs): GatedDeltaRuleResult {
    const inputs = { ...tokens, initialState };
    const call = (computed: GatedDeltaRuleResult): GatedDeltaRuleCall => ({
      ...inputs,
      ...computed,
      scale,
      form: 'recurrent',
    });
    return compute(step, inputs, specs(), call, control, { derivative: derivativeOf(scale) });
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

export interface GatedDeltaRuleResult extends ResultsOf<typeof gatedDeltaRuleOp> {}

/** A loss's gradients with respect to what `gatedDeltaRule` returned. */
export interface GatedDeltaRuleGradients
  extends Members<typeof gatedDeltaRuleBackwardOp.declaration.inputs.gradients> {}

/** Each of the shape and dtype of its input. */
export interface GatedDeltaRuleBackwardResult extends Omit<ResultsOf<typeof gatedDeltaRuleBackwardOp>, 'totals'> {
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
      const gradients = { gradOut: out ?? zeros(q.runtime, v.shape), gradState, gradStates };
      const settings = { scale, initialState, every, ...control };
      const grads = gatedDeltaRuleBackwardOp({ q, k, v, g, beta, gradients }, settings);
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
  const { totals, ...grads } = gatedDeltaRuleBackwardOp({ q, k, v, g, beta, gradients }, options);
  return { ...grads, ...(totals && { gradStates: totals }) };
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
