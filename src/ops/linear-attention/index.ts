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
import { bindShapes, formatShape, type Shape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import { Tensor } from '../../tensor/tensor';
import { checkControl, checkGradients, checkOptions, checkTensors, presentOf, sharesMemory } from '../check';
import { compute, type ResultSpec, type Values } from '../compute';
import { zeros } from '../float32';
import { add } from '../map';
import type { LinearAttentionBackwardCall, LinearAttentionCall, LinearAttentionStepCall } from './call';
import { planLinearAttention, planLinearAttentionBackward, planLinearAttentionStep } from './cpu';
import { MOST_COLUMNS, MOST_FEATURES } from './params';
import { kernels } from './params.generated';

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

/** The same for the forward and the backward pass. */
export { MOST_FEATURES } from './params';

export interface LinearAttentionSettings {
  /** Query i sees the keys up to i, and n = m. Default false: every query sees every key. */
  readonly causal?: boolean | undefined;
  /**
   * For each head, by what the state is multiplied from row to row: in (0, 1], default 1. Needs `causal`. Powers that
   * vanish, of a decay however small, are 0. It has no gradient. As a tensor [h]: what it holds once it is computed.
   */
  readonly decay?: ArrayLike<number> | Tensor | undefined;
  /** Divide by denominator_i = q_i (sum of the keys, decayed as the state is) + epsilon. Default false. */
  readonly normalise?: boolean | undefined;
  /** At least 0, default 1e-6. */
  readonly epsilon?: number | undefined;
  /** [b, h, d, e], f32: the state before the first row, as a call returned it. Default zeros. */
  readonly initialState?: Tensor | undefined;
  /** [b, h, d], f32, contiguous: with `normalise`, the sum of keys that belongs to `initialState`; one needs the other. */
  readonly initialKeySum?: Tensor | undefined;
}

export interface LinearAttentionOptions extends LinearAttentionSettings, Control {
  /** Where to write: contiguous tensors that no input shares memory with. */
  readonly out?: Tensor | undefined;
  readonly state?: Tensor | undefined;
}

export interface LinearAttentionResult {
  /** [b, n, h, e] in the dtype of q. */
  readonly out: Tensor;
  /** [b, h, d, e], f32: the state after the last row. */
  readonly state: Tensor<'f32'>;
  /** With `normalise`: [b, h, d], the sum of the keys after the last row, and [b, n, h], the denominators; f32. */
  readonly keySum?: Tensor<'f32'>;
  readonly denominator?: Tensor<'f32'>;
}

/** A loss's gradients with respect to the results of `linearAttention`, and with `normalise` what it returned. */
export interface LinearAttentionGradients {
  /** [b, n, h, e]. */
  readonly gradOut: Tensor;
  /** [b, h, d, e] and [b, h, d], f32; default: the loss does not depend on them. */
  readonly gradState?: Tensor | undefined;
  readonly gradKeySum?: Tensor | undefined;
  readonly out?: Tensor | undefined;
  readonly denominator?: Tensor | undefined;
}

export interface LinearAttentionBackwardOptions extends LinearAttentionSettings, Control {}

export interface LinearAttentionBackwardResult {
  /** Shape and dtype of q. */
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  /** Where the initial ones were given, f32. */
  readonly gradInitialState?: Tensor<'f32'>;
  readonly gradInitialKeySum?: Tensor<'f32'>;
}

const SETTINGS = ['causal', 'decay', 'normalise', 'epsilon', 'initialState', 'initialKeySum'];
const CONTROL = ['signal', 'onProgress'];
const GRADIENTS = ['gradOut', 'gradState', 'gradKeySum'];
/** May stand beside the gradients, as the forward pass returned them. */
const RESULTS = ['out', 'denominator', 'state', 'keySum'];
const STORAGE = ['f32', 'f16', 'bf16'];
const EPSILON = 1e-6;

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
  checkTensors({ q, k, v });
  checkOptions('linearAttention', options, [...SETTINGS, ...CONTROL, 'out', 'state']);
  const { b, n, h, d, e, given, problem, known, epsilon } = checkProblem({ q, k, v }, options);
  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    state: { shape: [b, h, d, e], dtype: 'f32', given: options.state },
    ...(epsilon !== undefined && {
      keySum: { shape: [b, h, d], dtype: 'f32' },
      denominator: { shape: [b, n, h], dtype: 'f32' },
    }),
  } as const satisfies Record<string, ResultSpec>;
  const call = (computed: object, values: Values): LinearAttentionCall => {
    const { out, state, keySum, denominator } = computed as LinearAttentionResult;
    const normaliser = epsilon !== undefined && denominator ? { epsilon, denominator } : undefined;
    return { ...problem(values), out, final: { state, keySum }, normaliser };
  };
  const derivative = derivativeOf(options);
  return compute(forward, { q, k, v, ...given }, results, call, options, {
    known,
    derivative,
  }) as LinearAttentionResult;
}

function derivativeOf({ causal, decay: given, normalise, epsilon }: LinearAttentionSettings): Derivative {
  // The numbers of now, whatever becomes of the caller's array.
  const decay = given && !(given instanceof Tensor) ? Array.from(given) : undefined;
  return {
    saves: ['q', 'k', 'v', 'initialState', 'initialKeySum', 'decay', ...(normalise ? ['out', 'denominator'] : [])],
    gradients(saved, gradients, _, control) {
      const { q, k, v, ...others } = saved as Readonly<Record<'q' | 'k' | 'v', Tensor>> & Saved;
      const { initialState, initialKeySum, out, denominator } = others;
      const settings = { causal, decay: others.decay ?? decay, ...control };
      const { state: gradState, keySum: gradKeySum, denominator: gradDenominator } = gradients;
      const [b, n, h] = q.shape as [number, number, number];
      const gradOut = gradients.out ?? zeros(q.runtime, [b, n, h, v.shape[3] as number]);
      const grads = linearAttentionBackward(
        ...([q, k, v, { gradOut, gradState, gradKeySum, out, denominator }] as const),
        { ...settings, normalise, epsilon, initialState, initialKeySum },
      );
      const found = { q: grads.gradQ, k: grads.gradK, v: grads.gradV };
      const initial = { initialState: grads.gradInitialState, initialKeySum: grads.gradInitialKeySum };
      if (!gradDenominator) return { ...found, ...initial };
      // A denominator is what linear attention makes of values that are all one.
      const [, m, g, d] = k.shape as [number, number, number, number];
      const ones = q.runtime.tensor(new Float32Array(b * m * g).fill(1), [b, m, g, 1]);
      const beside = linearAttentionBackward(
        ...([q, k, ones, { gradOut: gradDenominator.reshape([b, n, h, 1]) }] as const),
        { ...settings, initialState: initialKeySum?.reshape([b, h, d, 1]) },
      );
      const keySum = beside.gradInitialState?.reshape([b, h, d]);
      return {
        q: add(found.q, beside.gradQ),
        k: add(found.k, beside.gradK),
        v: found.v,
        ...{
          initialState: initial.initialState,
          initialKeySum: keySum && add(initial.initialKeySum as Tensor, keySum),
        },
      };
    },
  };
}

type Saved = Readonly<
  Partial<Record<'initialState' | 'initialKeySum' | 'decay' | 'out' | 'denominator', Tensor | undefined>>
>;

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
  checkGradients('linearAttentionBackward', gradients, [...GRADIENTS, ...RESULTS]);
  const { gradOut, gradState, gradKeySum, out, denominator } = gradients;
  checkTensors({ q, k, v, gradOut });
  checkOptions('linearAttentionBackward', options, [...SETTINGS, ...CONTROL]);
  const { b, n, h, d, e, given, problem, known, epsilon } = checkProblem({ q, k, v }, options);
  checkStorage('gradOut', gradOut, [b, n, h, e]);
  const optional = presentOf({ gradState, gradKeySum, out, denominator });
  checkTensors(optional);
  if (gradState) checkState('gradState', gradState, [b, h, d, e]);
  if (epsilon !== undefined) {
    if (!out || !denominator)
      throw new ParameterError('normalise needs out and denominator, as linearAttention returned them');
    checkStorage('out', out, [b, n, h, e]);
    checkVector('denominator', denominator, [b, n, h]);
    if (gradKeySum) checkVector('gradKeySum', gradKeySum, [b, h, d]);
  } else if (gradKeySum) throw new ParameterError('gradKeySum needs normalise: true');
  const { initialState, initialKeySum } = options;
  const results = {
    gradQ: { shape: q.shape, dtype: q.dtype },
    gradK: { shape: k.shape, dtype: k.dtype },
    gradV: { shape: v.shape, dtype: v.dtype },
    ...(initialState && { gradInitialState: { shape: [b, h, d, e], dtype: 'f32' } }),
    ...(initialKeySum && { gradInitialKeySum: { shape: [b, h, d], dtype: 'f32' } }),
  } as const satisfies Record<string, ResultSpec>;
  const inputs = { q, k, v, ...given, gradOut, ...optional };
  const call = (computed: object, values: Values): LinearAttentionBackwardCall => {
    const { gradQ, gradK, gradV, gradInitialState, gradInitialKeySum } = computed as LinearAttentionBackwardResult;
    return {
      ...problem(values),
      gradOut,
      gradQ,
      gradK,
      gradV,
      normalised: epsilon !== undefined && out && denominator ? { epsilon, out, denominator } : undefined,
      gradFinal: { state: gradState, keySum: gradKeySum },
      gradInitial: { state: gradInitialState, keySum: gradInitialKeySum },
    };
  };
  return compute(backward, inputs, results, call, options, { known }) as object as LinearAttentionBackwardResult;
}

export interface LinearAttentionStepOptions extends Control {
  /** For each head, in (0, 1]; default 1. */
  readonly decay?: ArrayLike<number> | Tensor | undefined;
  /** [b, h, d], f32, contiguous: the sum of the keys before this token; with it the output is normalised. */
  readonly keySum?: Tensor | undefined;
  /** At least 0, default 1e-6. */
  readonly epsilon?: number | undefined;
  /** Write the new state, and sum of keys, over the old one. Default false: they are new tensors. */
  readonly inPlace?: boolean | undefined;
  /** Where to write the output: a contiguous tensor that no input shares memory with. */
  readonly out?: Tensor | undefined;
}

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
): Omit<LinearAttentionResult, 'denominator'> {
  checkTensors({ q, k, v, state });
  checkOptions('linearAttentionStep', options, ['decay', 'keySum', 'epsilon', 'inPlace', 'out', ...CONTROL]);
  const { keySum, inPlace = false, decay, epsilon } = options;
  if (typeof inPlace !== 'boolean') throw new ParameterError(`inPlace must be true or false, got ${show(inPlace)}`);
  if (keySum !== undefined) checkTensors({ keySum });
  if (epsilon !== undefined && !keySum) throw new ParameterError('epsilon needs keySum');
  const normalise = keySum !== undefined;
  const { signal, onProgress } = options;
  const settings = { decay, normalise, epsilon, initialState: state, initialKeySum: keySum, signal, onProgress };
  const checked = checkProblem({ q, k, v }, { ...settings, causal: true }, { state: 'state', keySum: 'keySum' });
  const { b, n, h, e, given, problem, known } = checked;
  if (n !== 1) throw new ShapeError(`q must have shape [b, 1, h, d], got ${formatShape(q.shape)}`);
  if (!state.isContiguous) throw new ShapeError(`state must be contiguous, got strides ${formatShape(state.strides)}`);
  const states = { state, ...(keySum && { keySum }) };
  if (inPlace) checkApart({ q, k, v }, states);
  const results = {
    out: { shape: [b, 1, h, e], dtype: q.dtype, given: options.out },
    ...(!inPlace && { state: { shape: state.shape, dtype: 'f32' } }),
    ...(!inPlace && keySum && { keySum: { shape: keySum.shape, dtype: 'f32' } }),
    ...(keySum && { denominator: { shape: [b, 1, h], dtype: 'f32' } }),
  } as const satisfies Record<string, ResultSpec>;
  const call = (computed: object, values: Values): LinearAttentionStepCall => {
    const { out, denominator, ...final } = { ...states, ...computed } as Required<LinearAttentionResult>;
    return { ...problem(values), initial: states, out, final, epsilon: checked.epsilon, denominator };
  };
  const written = inPlace ? Object.values(states) : [];
  const computed: object = compute(step, { q, k, v, ...given }, results, call, options, { written, known });
  const { denominator, ...result } = computed as LinearAttentionResult;
  denominator?.dispose();
  return { ...states, ...result } as LinearAttentionResult;
}

/** The extents and the plan's part of a problem; throws where inputs or settings, or the states so named, do not fit. */
function checkProblem(
  { q, k, v }: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
  options: LinearAttentionSettings & Control,
  { state, keySum } = { state: 'initialState', keySum: 'initialKeySum' },
) {
  checkControl(options);
  const letters = bindShapes(
    { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
    { q: q.shape, k: k.shape, v: v.shape },
  ) as Record<'b' | 'n' | 'm' | 'h' | 'g' | 'd' | 'e', number>;
  const { b, n, m, h, g, d, e } = letters;
  if (h % g !== 0)
    throw new ShapeError(
      `the ${g} heads of k ${formatShape(k.shape)} must divide the ${h} heads of q ${formatShape(q.shape)}`,
    );
  if (d > MOST_FEATURES)
    throw new ShapeError(`the features d must be at most ${MOST_FEATURES}, got ${formatShape(q.shape)} for q`);
  if (e > MOST_COLUMNS)
    throw new ShapeError(`the value dimension e must be at most ${MOST_COLUMNS}, got ${formatShape(v.shape)} for v`);
  for (const [name, tensor] of Object.entries({ q, k, v })) checkStorage(name, tensor);
  const { causal = false, normalise = false, initialState, initialKeySum } = options;
  for (const [name, value] of Object.entries({ causal, normalise })) {
    if (typeof value !== 'boolean') throw new ParameterError(`${name} must be true or false, got ${show(value)}`);
  }
  if (causal && n !== m)
    throw new ShapeError(
      `causal needs as many queries as keys, got q ${formatShape(q.shape)} and k ${formatShape(k.shape)}`,
    );
  const given = presentOf({ [state]: initialState, [keySum]: initialKeySum });
  checkTensors(given);
  if (initialState) checkState(state, initialState, [b, h, d, e]);
  if (initialKeySum) checkVector(keySum, initialKeySum, [b, h, d]);
  if (initialKeySum && !normalise) throw new ParameterError(`${keySum} needs normalise: true`);
  if (normalise && !initialState !== !initialKeySum)
    throw new ParameterError(
      `with normalise, ${state} and ${keySum} belong together: pass both or neither, got ${initialState ? state : keySum} alone`,
    );
  const initial = { state: initialState, keySum: initialKeySum };
  const { known, decayOf } = deferredDecay(options.decay, h, causal);
  const problem = (values: Values) => ({ q, k, v, causal, decay: decayOf(values), initial });
  return { ...letters, given, epsilon: checkEpsilon(options), known, problem };
}

/** The decays of the heads: now, or once the tensor that holds them is computed. */
function deferredDecay(
  decay: ArrayLike<number> | Tensor | undefined,
  heads: number,
  causal: boolean,
): { readonly known: Readonly<Record<string, Tensor>>; decayOf(values: Values): number[] } {
  if (!(decay instanceof Tensor)) {
    const numbers = checkDecay(decay, heads, causal);
    return { known: {}, decayOf: () => numbers };
  }
  checkStorage('decay', decay, [heads]);
  return {
    known: { decay },
    decayOf: (values) => checkDecay(toFloat64(values.decay as HostTensor), heads, causal),
  };
}

/** One number for each head. */
function checkDecay(decay: ArrayLike<number> | undefined, heads: number, causal: boolean): number[] {
  if (decay === undefined) return new Array<number>(heads).fill(1);
  if (!causal) throw new ParameterError('decay needs causal: true');
  if (!isNumbers(decay)) throw new ParameterError(`decay must be numbers, one for each head, got ${show(decay)}`);
  if (decay.length !== heads)
    throw new ShapeError(`decay must have one number for each of the ${heads} heads, got ${decay.length}`);
  const values = Array.from(decay);
  const wrong = values.findIndex((value) => !(typeof value === 'number' && value > 0 && value <= 1));
  if (wrong !== -1) throw new ParameterError(`decay must be in (0, 1], got ${show(values[wrong])} for head ${wrong}`);
  return values;
}

/** What is added to the denominators; undefined where there are none. */
function checkEpsilon({ normalise, epsilon }: LinearAttentionSettings): number | undefined {
  if (epsilon !== undefined && !(Number.isFinite(epsilon) && epsilon >= 0))
    throw new ParameterError(`epsilon must be a finite number >= 0, got ${show(epsilon)}`);
  if (epsilon !== undefined && !normalise) throw new ParameterError('epsilon needs normalise: true');
  return normalise ? (epsilon ?? EPSILON) : undefined;
}

function checkStorage(name: string, { dtype, shape }: Tensor, wanted: Shape = shape): void {
  if (!STORAGE.includes(dtype)) throw new DTypeError(`${name} must be one of ${STORAGE.join(', ')}, got ${dtype}`);
  if (!sameShape(shape, wanted))
    throw new ShapeError(`${name} must have shape ${formatShape(wanted)}, got ${formatShape(shape)}`);
}

function checkState(name: string, { dtype, shape }: Tensor, wanted: Shape): void {
  if (!sameShape(shape, wanted))
    throw new ShapeError(`${name} must have shape ${formatShape(wanted)}, got ${formatShape(shape)}`);
  if (dtype !== 'f32') throw new DTypeError(`${name} must be f32, got ${dtype}`);
}

function checkVector(name: string, x: Tensor, wanted: Shape): void {
  checkState(name, x, wanted);
  if (!x.isContiguous) throw new ShapeError(`${name} must be contiguous, got strides ${formatShape(x.strides)}`);
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
