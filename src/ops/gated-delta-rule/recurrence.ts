/** The gated delta rule as its recurrence in float64, and the gradients of that, token by token. */
import { type HostTensor, toFloat64 } from '../../tensor/host';
import { dot, rowOf, zeros } from '../../tensor/wide';

export interface DeltaRuleInputs {
  /** [b,n,h,d]. */
  readonly q: HostTensor;
  /** [b,n,h,d]. */
  readonly k: HostTensor;
  /** [b,n,h,e]. */
  readonly v: HostTensor;
  /** [b,n,h]: logarithms of the decays. */
  readonly g: HostTensor;
  /** [b,n,h]: how much of the error is written. */
  readonly beta: HostTensor;
  /** [b,h,d,e]; default: zeros. */
  readonly initialState?: HostTensor | undefined;
}

export interface DeltaRuleGradients {
  /** [b,n,h,e]. */
  readonly gradOut: HostTensor;
  /** [b,h,d,e]; default: the loss does not depend on the last state. */
  readonly gradState?: HostTensor | undefined;
  /** [b,t,h,d,e]: by the states before every so many tokens; default: the loss does not depend on them. */
  readonly gradStates?: HostTensor | undefined;
}

type Numbers = Float64Array;
type Gradient = 'gradQ' | 'gradK' | 'gradV' | 'gradG' | 'gradBeta' | 'gradInitialState' | 'gradStates';

/** States are kept every so many tokens; those between are computed again. */
const SEGMENT = 64;

/**
 * For each token: S = e^g S; error = v - S^T k; S = S + k (beta error)^T; out = scale S^T q.
 * Returns out [b,n,h,e], the last state [b,h,d,e] and the states [b,t,h,d,e] before every so many tokens, default n.
 */
export function gatedDeltaRule(
  inputs: DeltaRuleInputs,
  scale: number,
  every = inputs.q.shape[1] as number,
): Record<'out' | 'state' | 'states', HostTensor<'f64'>> {
  const { b, n, h, d, e } = extentsOf(inputs);
  const numbers = numbersOf(inputs);
  const out = zeros(inputs.v.shape);
  const state = zeros([b, h, d, e]);
  const states = zeros([b, Math.ceil(n / every), h, d, e]);
  for (let place = 0; place < b * h; place++) {
    let current = matrix(numbers.initialState, place, d * e);
    for (let t = 0; t < n; t++) {
      if (t % every === 0) states.data.set(current, placeOf(states, place, t / every));
      const token = tokenOf(inputs, numbers, place, t);
      current = step(current, token).state;
      const result = read(current, token.q, e).map((x) => scale * x);
      out.data.set(result, token.at * e);
    }
    state.data.set(current, place * d * e);
  }
  return { out, state, states };
}

/**
 * Gradients of a loss with respect to the inputs, from those by out and by states; and in all with respect to the states
 * before every so many tokens.
 */
export function gatedDeltaRuleBackward(
  inputs: DeltaRuleInputs,
  { gradOut, gradState, gradStates }: DeltaRuleGradients,
  scale: number,
  every = inputs.q.shape[1] as number,
): Record<Gradient, HostTensor<'f64'>> {
  const { b, n, h, d, e } = extentsOf(inputs);
  const numbers = numbersOf(inputs);
  const byOut = toFloat64(gradOut);
  const byState = gradState && toFloat64(gradState);
  const { q, k, v, g, beta } = inputs;
  const [gradQ, gradK, gradV, gradG, gradBeta] = [q, k, v, g, beta].map(({ shape }) => zeros(shape)) as [
    HostTensor<'f64'>,
    HostTensor<'f64'>,
    HostTensor<'f64'>,
    HostTensor<'f64'>,
    HostTensor<'f64'>,
  ];
  const gradInitialState = zeros([b, h, d, e]);
  const totals = zeros([b, Math.ceil(n / every), h, d, e]);
  if (gradStates) totals.data.set(toFloat64(gradStates));
  for (let place = 0; place < b * h; place++) {
    const kept = [matrix(numbers.initialState, place, d * e)];
    for (let t = 0; t + SEGMENT < n; t += SEGMENT) {
      kept.push(statesFrom(kept.at(-1) as Numbers, inputs, numbers, place, t, t + SEGMENT).at(-1) as Numbers);
    }
    let gradNext = matrix(byState, place, d * e);
    for (let segment = kept.length - 1; segment >= 0; segment--) {
      const first = segment * SEGMENT;
      const past = Math.min(n, first + SEGMENT);
      const states = statesFrom(kept[segment] as Numbers, inputs, numbers, place, first, past);
      for (let t = past - 1; t >= first; t--) {
        const token = tokenOf(inputs, numbers, place, t);
        const grads = stepBackward(states[t - first] as Numbers, token, gradNext, rowOf(byOut, token.at, e), scale);
        gradQ.data.set(grads.q, token.at * d);
        gradK.data.set(grads.k, token.at * d);
        gradV.data.set(grads.v, token.at * e);
        gradG.data[token.at] = grads.g;
        gradBeta.data[token.at] = grads.beta;
        gradNext = grads.state;
        if (t % every > 0) continue;
        const before = rowOf(totals.data, placeOf(totals, place, t / every) / (d * e), d * e);
        before.forEach((x, i) => {
          before[i] = x + (gradNext[i] as number);
        });
        gradNext = before.slice();
      }
    }
    gradInitialState.data.set(gradNext, place * d * e);
  }
  return { gradQ, gradK, gradV, gradG, gradBeta, gradInitialState, gradStates: totals };
}

interface Token {
  /** Row in [b, n, h]. */
  readonly at: number;
  readonly q: Numbers;
  readonly k: Numbers;
  readonly v: Numbers;
  readonly g: number;
  readonly beta: number;
}

/** The state after a token, and what it passed on the way. */
function step(before: Numbers, { k, v, g, beta }: Token) {
  const e = v.length;
  const decayed = before.map((x) => Math.exp(g) * x);
  const known = read(decayed, k, e);
  const error = v.map((x, c) => x - (known[c] as number));
  const state = decayed.map((x, at) => x + (k[Math.floor(at / e)] as number) * beta * (error[at % e] as number));
  return { decayed, error, state };
}

/**
 * The gradients with respect to a token and the state before it, from those by the state after it and by the token's
 * result.
 */
function stepBackward(before: Numbers, token: Token, gradNext: Numbers, byOut: Numbers, scale: number) {
  const { q, k, v, g, beta } = token;
  const e = v.length;
  const { decayed, error, state } = step(before, token);
  const byState = gradNext.map((x, at) => x + scale * (q[Math.floor(at / e)] as number) * (byOut[at % e] as number));
  const byWrite = read(byState, k, e);
  const gradError = byWrite.map((x) => beta * x);
  const gradDecayed = byState.map((x, at) => x - (k[Math.floor(at / e)] as number) * (gradError[at % e] as number));
  const throughWrite = times(byState, error);
  const throughError = times(decayed, gradError);
  return {
    q: times(state, byOut).map((x) => scale * x),
    k: throughWrite.map((x, r) => beta * x - (throughError[r] as number)),
    v: gradError,
    g: dot(decayed, gradDecayed),
    beta: dot(error, byWrite),
    state: gradDecayed.map((x) => Math.exp(g) * x),
  };
}

/** The states before the tokens `first` to `past`, and after the last of them. */
function statesFrom(
  before: Numbers,
  inputs: DeltaRuleInputs,
  numbers: AllNumbers,
  place: number,
  first: number,
  past: number,
): Numbers[] {
  const states = [before];
  for (let t = first; t < past; t++) {
    states.push(step(states.at(-1) as Numbers, tokenOf(inputs, numbers, place, t)).state);
  }
  return states;
}

/** state^T x for a state [x.length][e]. */
function read(state: Numbers, x: Numbers, e: number): Numbers {
  const result = new Float64Array(e);
  for (let r = 0; r < x.length; r++) {
    for (let c = 0; c < e; c++) result[c]! += (x[r] as number) * (state[r * e + c] as number);
  }
  return result;
}

/** state x for a state [rows][x.length]. */
function times(state: Numbers, x: Numbers): Numbers {
  const e = x.length;
  return Float64Array.from({ length: state.length / e }, (_, r) => dot(rowOf(state, r, e), x));
}

type AllNumbers = Readonly<Record<'q' | 'k' | 'v' | 'g' | 'beta', Numbers>> & {
  readonly initialState?: Numbers | undefined;
};

function numbersOf({ q, k, v, g, beta, initialState }: DeltaRuleInputs): AllNumbers {
  return {
    q: toFloat64(q),
    k: toFloat64(k),
    v: toFloat64(v),
    g: toFloat64(g),
    beta: toFloat64(beta),
    initialState: initialState && toFloat64(initialState),
  };
}

function extentsOf({ q, v }: DeltaRuleInputs): Record<'b' | 'n' | 'h' | 'd' | 'e', number> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  return { b, n, h, d, e: v.shape[3] as number };
}

function tokenOf(inputs: DeltaRuleInputs, { q, k, v, g, beta }: AllNumbers, place: number, t: number): Token {
  const { n, h, d, e } = extentsOf(inputs);
  const at = (Math.floor(place / h) * n + t) * h + (place % h);
  return {
    at,
    q: rowOf(q, at, d),
    k: rowOf(k, at, d),
    v: rowOf(v, at, e),
    g: g[at] as number,
    beta: beta[at] as number,
  };
}

/** Where in [b, t, h, d, e] the state of a head lies. */
function placeOf({ shape }: HostTensor, place: number, at: number): number {
  const [, periods, h, d, e] = shape as [number, number, number, number, number];
  return ((Math.floor(place / h) * periods + at) * h + (place % h)) * d * e;
}

function matrix(numbers: Numbers | undefined, place: number, size: number): Numbers {
  return numbers ? rowOf(numbers, place, size) : new Float64Array(size);
}
