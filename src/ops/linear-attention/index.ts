/**
 * Linear attention: what a row of the output needs of all earlier rows is one d x e state, so the cost of a row does not
 * depend on their number.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d features, e value dimension.
 */
import { isNumbers, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Expectation, Op } from '../../runtime/op';
import { type HostTensor, toFloat64 } from '../../tensor/host';
import { type Extents, formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import { Tensor } from '../../tensor/tensor';
import { presentOf, sharesMemory } from '../check';
import { compute, type ResultSpec, type Values } from '../compute';
import {
  boolean,
  type CheckedOptions,
  type Computed,
  defineComposite,
  f32,
  floats,
  group,
  type Members,
  number,
  type OptionsOf,
  optional,
  type Setting,
} from '../define';
import { zeros } from '../float32';
import { checkHeads, gradients, STRIDED, tokens } from '../heads';
import { add } from '../map';
import type { LinearAttentionBackwardCall, LinearAttentionCall, LinearAttentionStepCall } from './call';
import { planLinearAttention, planLinearAttentionBackward, planLinearAttentionStep } from './cpu';
import { MOST_COLUMNS, MOST_FEATURES } from './params';
import { kernels } from './params.generated';

export { MOST_FEATURES } from './params';

/** The smallest normal number: a smaller one may be flushed to 0. */
const LEAST_DENOMINATOR = 2 ** -126;

const nonzero = (denominator: Tensor | undefined): Expectation[] =>
  denominator
    ? [
        {
          tensor: denominator,
          least: -Infinity,
          most: Infinity,
          magnitude: LEAST_DENOMINATOR,
          error: () =>
            new ParameterError(
              'a denominator vanished or an input is not finite: q and the sum of keys it meets must not be orthogonal; use features that are not negative, or a larger epsilon',
            ),
        },
      ]
    : [];

const forward: Op<LinearAttentionCall> = {
  name: 'linearAttention',
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planLinearAttention,
  webgpu: async () => (await import('./webgpu')).planLinearAttention,
  faults: ({ normaliser }) => nonzero(normaliser?.denominator),
};

const backward: Op<LinearAttentionBackwardCall> = {
  name: 'linearAttentionBackward',
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planLinearAttentionBackward,
  webgpu: async () => (await import('./webgpu')).planLinearAttentionBackward,
};

const step: Op<LinearAttentionStepCall> = {
  name: 'linearAttentionStep',
  reference: async () => (await import('./reference')).step,
  kernels,
  cpu: planLinearAttentionStep,
  webgpu: async () => (await import('./webgpu')).planLinearAttentionStep,
  faults: ({ denominator }) => nonzero(denominator),
};

const EPSILON = 1e-6;
const largest = { d: MOST_FEATURES, e: MOST_COLUMNS };
const state = f32('b h d e', STRIDED);
const keySum = f32('b h d');

/** Copies of the numbers, or the tensor that holds them. */
const decay: Setting<ArrayLike<number> | Tensor, readonly number[] | Tensor> = {
  expected: 'numbers above 0 and up to 1, one for each head',
  check(name, given, { h }) {
    if (!(given instanceof Tensor)) return checkDecay(given, h as number);
    if (!tokens.q.dtypes.includes(given.dtype as 'f32'))
      throw new DTypeError(`${name} must be ${tokens.q.dtypes.join(', ')}, got ${given.dtype}`);
    if (!sameShape(given.shape, [h as number]))
      throw new ShapeError(`${name} must have shape [${h}], got ${formatShape(given.shape)}`);
    return given;
  },
};

function checkDecay(decay: ArrayLike<number> | undefined, heads: number): readonly number[] {
  if (decay === undefined || !isNumbers(decay))
    throw new ParameterError(`decay must be numbers, one for each head, got ${show(decay)}`);
  if (decay.length !== heads)
    throw new ShapeError(`decay must have one number for each of the ${heads} heads, got ${decay.length}`);
  const values = Array.from(decay);
  const wrong = values.findIndex((value) => !(typeof value === 'number' && value > 0 && value <= 1));
  if (wrong !== -1) throw new ParameterError(`decay must be in (0, 1], got ${show(values[wrong])} for head ${wrong}`);
  return values;
}

/** The decays of the heads, once a tensor that holds them is computed. */
const decayOf = (decay: readonly number[] | Tensor | undefined, heads: number) => ({
  known: (decay instanceof Tensor ? { decay } : {}) as Readonly<Record<string, Tensor>>,
  decayIn: (values: Values): readonly number[] =>
    decay instanceof Tensor
      ? checkDecay(toFloat64(values.decay as HostTensor), heads)
      : (decay ?? new Array<number>(heads).fill(1)),
});

/** The same for the forward and the backward pass. */
const settings = {
  /** Query i sees the keys up to i, and n = m. Default false: every query sees every key. */
  causal: boolean(false),
  /**
   * For each head, by what the state is multiplied from row to row: in (0, 1], default 1. Needs `causal`. Powers that
   * vanish, of a decay however small, are 0. It has no gradient. As a tensor [h]: what it holds once it is computed.
   */
  decay: optional(decay),
  /** Divide by denominator_i = q_i (sum of the keys, decayed as the state is) + epsilon. Default false. */
  normalise: boolean(false),
  /** At least 0, default 1e-6. */
  epsilon: optional(number({ least: 0 })),
  /** [b, h, d, e], f32: the state before the first row, as a call returned it. Default zeros. */
  initialState: state,
  /** [b, h, d], f32, contiguous: with `normalise`, the sum of keys that belongs to `initialState`; one needs the other. */
  initialKeySum: keySum,
};

type Settings = CheckedOptions<typeof settings>;

/** What settings say of a call of these extents; throws where they do not fit together. */
function resolve({ causal, decay, normalise, epsilon, initialState, initialKeySum }: Settings, extents: Extents) {
  const { n, m, h } = extents;
  if (causal && n !== m) throw new ShapeError(`causal needs as many queries as keys, got ${n} queries and ${m} keys`);
  if (decay && !causal) throw new ParameterError('decay needs causal: true');
  if (epsilon !== undefined && !normalise) throw new ParameterError('epsilon needs normalise: true');
  if (initialKeySum && !normalise) throw new ParameterError('initialKeySum needs normalise: true');
  if (normalise && !initialState !== !initialKeySum)
    throw new ParameterError(
      `with normalise, initialState and initialKeySum belong together: pass both or neither, got ${initialState ? 'initialState' : 'initialKeySum'} alone`,
    );
  return {
    ...decayOf(decay, h as number),
    epsilon: normalise ? (epsilon ?? EPSILON) : undefined,
    initial: { state: initialState, keySum: initialKeySum },
    states: presentOf({ initialState, initialKeySum }),
  };
}

const results = {
  /** [b, n, h, e] in the dtype of q. */
  out: floats('b n h e', { like: 'q' }),
  /** [b, h, d, e], f32: the state after the last row. */
  state: f32('b h d e'),
  /** With `normalise`: [b, h, d], the sum of the keys after the last row, and [b, n, h], the denominators; f32. */
  keySum: f32('b h d', { fresh: true, when: 'normalise' }),
  denominator: f32('b n h', { fresh: true, when: 'normalise' }),
};

export const linearAttentionOp = defineComposite({
  name: 'linearAttention',
  inputs: tokens,
  options: settings,
  results,
  operations: '4 b n h d e',
  largest,
  fits: checkHeads,
  run({ q, k, v, ...settings }, options, extents, specs): LinearAttentionResult {
    const { known, decayIn, epsilon, initial, states } = resolve(settings, extents);
    const { causal } = settings;
    const call = ({ out, state, keySum, denominator }: LinearAttentionResult, values: Values): LinearAttentionCall => ({
      q,
      k,
      v,
      causal,
      decay: decayIn(values),
      initial,
      out,
      final: { state, keySum },
      normaliser: epsilon !== undefined && denominator ? { epsilon, denominator } : undefined,
    });
    const derivative = derivativeOf(settings);
    return compute(forward, { q, k, v, ...states }, specs(), call, options, { known, derivative });
  },
});

const inputGradients = {
  ...gradients,
  /** Where the initial ones were given, f32. */
  gradInitialState: f32('b h d e', { fresh: true, when: 'initialState' }),
  gradInitialKeySum: f32('b h d', { fresh: true, when: 'initialKeySum' }),
};

/** @internal */
export const linearAttentionBackwardOp = defineComposite({
  name: 'linearAttentionBackward',
  inputs: {
    ...tokens,
    gradients: group(
      {
        /** [b, n, h, e]. */
        gradOut: floats('b n h e', STRIDED),
      },
      {
        /** [b, h, d, e] and [b, h, d], f32; default: the loss does not depend on them. */
        gradState: state,
        gradKeySum: keySum,
        /** With `normalise`, as the forward pass returned them. */
        out: floats('b n h e', STRIDED),
        denominator: f32('b n h'),
        /** May stand beside them. */
        state,
        keySum,
      },
    ),
  },
  options: settings,
  results: inputGradients,
  largest,
  fits: checkHeads,
  run({ q, k, v, gradients, ...settings }, options, extents, specs): LinearAttentionBackwardResult {
    const { gradOut, gradState, gradKeySum, out, denominator } = gradients;
    const { known, decayIn, epsilon, initial, states } = resolve(settings, extents);
    if (epsilon !== undefined && !(out && denominator))
      throw new ParameterError('normalise needs out and denominator, as linearAttention returned them');
    if (epsilon === undefined && gradKeySum) throw new ParameterError('gradKeySum needs normalise: true');
    const { causal } = settings;
    const call = (computed: LinearAttentionBackwardResult, values: Values): LinearAttentionBackwardCall => {
      const { gradInitialState, gradInitialKeySum, ...grads } = computed;
      return {
        q,
        k,
        v,
        causal,
        decay: decayIn(values),
        initial,
        gradOut,
        ...grads,
        normalised: epsilon !== undefined && out && denominator ? { epsilon, out, denominator } : undefined,
        gradFinal: { state: gradState, keySum: gradKeySum },
        gradInitial: { state: gradInitialState, keySum: gradInitialKeySum },
      };
    };
    const given = presentOf({ gradOut, gradState, gradKeySum, out, denominator });
    return compute(backward, { q, k, v, ...states, ...given }, specs(), call, options, { known });
  },
});

/** @internal */
export const linearAttentionStepOp = defineComposite({
  name: 'linearAttentionStep',
  inputs: {
    q: floats('b 1 h d', STRIDED),
    k: floats('b 1 g d', STRIDED),
    v: floats('b 1 g e', STRIDED),
    state: f32('b h d e'),
  },
  options: {
    /** For each head, in (0, 1]; default 1. */
    decay: optional(decay),
    /** [b, h, d], f32, contiguous: the sum of the keys before this token; with it the output is normalised. */
    keySum,
    /** At least 0, default 1e-6. */
    epsilon: optional(number({ least: 0 })),
    /** Write the new state, and sum of keys, over the old one. Default false: they are new tensors. */
    inPlace: boolean(false),
  },
  results: {
    out: floats('b 1 h e', { like: 'q' }),
    denominator: f32('b 1 h', { fresh: true, when: 'keySum' }),
  },
  largest,
  fits: checkHeads,
  run({ q, k, v, state, keySum, decay, epsilon, inPlace }, options, { h }, specs): StepResult {
    if (epsilon !== undefined && !keySum) throw new ParameterError('epsilon needs keySum');
    const states = { state, ...(keySum && { keySum }) };
    if (inPlace) checkApart({ q, k, v }, states);
    const { known, decayIn } = decayOf(decay, h as number);
    const likeOld = ({ shape }: Tensor): ResultSpec => ({ shape, dtype: 'f32' });
    const results = {
      ...specs(),
      ...(!inPlace && { state: likeOld(state), ...(keySum && { keySum: likeOld(keySum) }) }),
    };
    const call = (computed: object, values: Values): LinearAttentionStepCall => {
      const { out, denominator, ...final } = { ...states, ...computed } as Required<LinearAttentionResult>;
      const normaliser = keySum && { epsilon: epsilon ?? EPSILON, denominator };
      return { q, k, v, decay: decayIn(values), initial: states, out, final, ...normaliser };
    };
    const written = inPlace ? Object.values(states) : [];
    const computed: object = compute(step, { q, k, v, ...states }, results, call, options, { written, known });
    const { denominator, ...result } = computed as LinearAttentionResult;
    denominator?.dispose();
    return { ...states, ...result } as StepResult;
  },
});

export interface LinearAttentionSettings extends OptionsOf<typeof linearAttentionOp> {}

export interface LinearAttentionOptions extends LinearAttentionSettings, Control {
  /** Where to write: contiguous tensors that no input shares memory with. */
  readonly out?: Tensor | undefined;
  readonly state?: Tensor | undefined;
}

export interface LinearAttentionResult extends Computed<typeof results> {}

/** A loss's gradients with respect to the results of `linearAttention`, and with `normalise` what it returned. */
export interface LinearAttentionGradients
  extends Members<typeof linearAttentionBackwardOp.declaration.inputs.gradients> {}

export interface LinearAttentionBackwardOptions extends LinearAttentionSettings, Control {}

/** Each of the shape and dtype of its input. */
export interface LinearAttentionBackwardResult extends Computed<typeof inputGradients> {}

/**
 * Causal: out_i = q_i S_i for S_i = decay S_(i-1) + k_i^T v_i; else out_i = q_i S for the S of all keys. There is no
 * softmax and no scale: multiply q before, or map q and k to features.
 *
 * q [b,n,h,d], k [b,m,g,d], v [b,m,g,e]; g divides h and query head i uses key/value head floor(i * g / h); d is from
 * 1 to 8192 and e from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic and state; inputs must be finite. Beyond the
 * results it needs memory for states only, however long the rows are; with more than 256 features, which go in blocks on
 * the CPU, also for f32 sums [b,n,h,e] if results are f16 or bf16. A call on the rows that follow, from the returned
 * state, continues it.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} an option that is unknown or out of range; with `normalise`, a denominator of 0
 */
export function linearAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: LinearAttentionOptions = {},
): LinearAttentionResult {
  return linearAttentionOp({ q, k, v }, options);
}

function derivativeOf({ causal, decay, normalise, epsilon }: Settings): Derivative {
  return {
    saves: ['q', 'k', 'v', 'initialState', 'initialKeySum', 'decay', ...(normalise ? ['out', 'denominator'] : [])],
    gradients(saved, gradients, _, control) {
      const { q, k, v } = saved as Readonly<Record<'q' | 'k' | 'v', Tensor>>;
      const { initialState, initialKeySum, out, denominator } = saved;
      const settings = { causal, decay: saved.decay ?? decay, ...control };
      const { state: gradState, keySum: gradKeySum, denominator: gradDenominator } = gradients;
      const [b, n, h] = q.shape as [number, number, number];
      const gradOut = gradients.out ?? zeros(q.runtime, [b, n, h, v.shape[3] as number]);
      const given = { gradOut, gradState, gradKeySum, out, denominator };
      const all = { ...settings, normalise, epsilon, initialState, initialKeySum };
      const grads = linearAttentionBackward(q, k, v, given, all);
      const found = { q: grads.gradQ, k: grads.gradK, v: grads.gradV };
      const initial = { initialState: grads.gradInitialState, initialKeySum: grads.gradInitialKeySum };
      if (!gradDenominator) return { ...found, ...initial };
      // A denominator is what linear attention makes of values that are all one.
      const [, m, g, d] = k.shape as [number, number, number, number];
      const ones = q.runtime.tensor(new Float32Array(b * m * g).fill(1), [b, m, g, 1]);
      const alone = { gradOut: gradDenominator.reshape([b, n, h, 1]) };
      const start = initialKeySum?.reshape([b, h, d, 1]);
      const beside = linearAttentionBackward(q, k, ones, alone, { ...settings, initialState: start });
      const keySum = beside.gradInitialState?.reshape([b, h, d]);
      return {
        q: add(found.q, beside.gradQ),
        k: add(found.k, beside.gradK),
        v: found.v,
        initialState: initial.initialState,
        initialKeySum: keySum && add(initial.initialKeySum as Tensor, keySum),
      };
    },
  };
}

/**
 * Gradients of a loss with respect to the inputs of `linearAttention`, from those by its results; the settings must be
 * the same.
 * The same bits whatever the number of threads. The decay has none: it is a constant.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function linearAttentionBackward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  gradients: LinearAttentionGradients,
  options: LinearAttentionBackwardOptions = {},
): LinearAttentionBackwardResult {
  return linearAttentionBackwardOp({ q, k, v, gradients }, options);
}

export interface LinearAttentionStepOptions extends OptionsOf<typeof linearAttentionStepOp>, Control {
  /** Where to write the output: a contiguous tensor that no input shares memory with. */
  readonly out?: Tensor | undefined;
}

type StepResult = Omit<LinearAttentionResult, 'denominator'>;

/**
 * One more token of causal linear attention: state' = decay state + k^T v, out = q state'.
 *
 * q [b,1,h,d], k [b,1,g,d], v [b,1,g,e], state [b,h,d,e], f32 and contiguous. With `inPlace` the returned state is the
 * given tensor; with `out` too, nothing is allocated that stays.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} an option that is unknown or out of range; a denominator of 0
 */
export function linearAttentionStep(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  state: Tensor,
  options: LinearAttentionStepOptions = {},
): StepResult {
  return linearAttentionStepOp({ q, k, v, state }, options);
}

/** Throws if a state that is to be overwritten shares memory with anything. */
function checkApart(inputs: Readonly<Record<string, Tensor>>, states: Readonly<Record<string, Tensor>>): void {
  const seen = Object.entries(inputs);
  for (const [name, tensor] of Object.entries(states)) {
    const other = seen.find(([, given]) => sharesMemory(given, tensor));
    if (other) throw new ParameterError(`${name} shares memory with ${other[0]}: pass a tensor of its own`);
    seen.push([name, tensor]);
  }
}
