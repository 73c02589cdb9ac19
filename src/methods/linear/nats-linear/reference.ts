/**
 * NAtS-L in float64, as its definition says it: a recurrence and a softmax for each head, joined after a normalisation.
 * The choices z are numbers, of which only 0 and 1 occur; their derivatives are the search gradient.
 */
import { softmaxAttention, softmaxAttentionBackward } from '../../../ops/attention/softmax';
import { gatedDeltaRule, gatedDeltaRuleBackward } from '../../../ops/gated-delta-rule/recurrence';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { dotAt } from '../../../tensor/wide';
import { add, at, tensor, type Wide, zeros } from '../../reference';
import type { Params } from './params';
import type { Problem } from './problem';

export type Given = Readonly<Record<string, HostTensor | undefined>>;

/** [b, c, h] each: what of a chunk softmax attention sees, as log z beside the scores, and how much the state keeps. */
export interface Choices {
  readonly softmax: Float64Array;
  readonly delta: Float64Array;
}

export function reference(given: Given, params: Params, gradOut?: HostTensor): Record<string, Wide> {
  const layer = layerOf(given, params);
  const route = toFloat64(given.route as HostTensor);
  const softmax = Float64Array.from({ length: route.length / 2 }, (_, i) =>
    at(route, 2 * i) < at(route, 2 * i + 1) ? 0 : 1,
  );
  const z = { softmax, delta: softmax.map((x) => 1 - x) };
  const results = forward(layer, z);
  const { out, delta, lse } = results;
  return { out, softmax: results.softmax, delta, lse, ...(gradOut && backward(layer, z, results, toFloat64(gradOut))) };
}

/** The outputs for any choices z between 0 and 1, for finite differences of the search gradient. */
export function relaxed(given: Given, params: Params, z: Choices): Record<string, Wide> {
  return forward(layerOf(given, params), z);
}

type Layer = ReturnType<typeof layerOf>;
type Forward = ReturnType<typeof forward>;

function layerOf(given: Given, params: Params) {
  const problem = problemOf(given, params);
  const { b, n, h, d, e, a, p, r } = problem;
  const wide = (name: string, length: number): Float64Array => {
    const host = given[name];
    return host ? toFloat64(host) : new Float64Array(length).fill(1);
  };
  const { epsilon, scale = 1 / Math.sqrt(p) } = params;
  const x = Object.fromEntries(
    ['q', 'k', 'v', 'g', 'beta', 'route', 'mix'].map((name) => [name, wide(name, 0)]),
  ) as Record<'q' | 'k' | 'v' | 'g' | 'beta' | 'route' | 'mix', Float64Array>;
  const gains = {
    q: wide('gain_q', p),
    k: wide('gain_k', p),
    softmax: wide('gain_softmax', r),
    delta: wide('gain_delta', r),
  };
  // |x| = sqrt(mean of squares) sqrt(d): unit length is the root mean square, with its epsilon over d.
  const unit = (rows: Float64Array) => normed(rows, d, epsilon / d).map((value) => value / Math.sqrt(d));
  const heads = (rows: Float64Array, gain: Float64Array) => tensor(times(normed(rows, p, epsilon), gain), [b, n, a, p]);
  return {
    given,
    params,
    problem,
    scale,
    x,
    gains,
    gate: given.gate && toFloat64(given.gate),
    unit: {
      q: tensor(unit(x.q), [b, n, h, d]),
      k: tensor(unit(x.k), [b, n, h, d]),
      v: tensor(x.v, [b, n, h, e]),
      g: tensor(x.g, [b, n, h]),
      beta: tensor(x.beta, [b, n, h]),
    },
    softmax: { q: heads(x.q, gains.q), k: heads(x.k, gains.k), v: tensor(x.v, [b, n, a, r]) },
    // The weights of both branches, [b, n, a, 2].
    weights: Float64Array.from(x.mix, (logit, i) => 1 / (1 + Math.exp(at(x.mix, i ^ 1) - logit))),
  };
}

function forward(layer: Layer, z: Choices) {
  const { params, problem, gains, gate, weights } = layer;
  const { b, n, h, e, a, r } = problem;
  const softmax = softmaxAttention(layer.softmax, layer.scale, seesOf(layer, z), modifierOf(layer, z));
  const delta = deltaForward(layer, z);
  const normal = {
    softmax: normed(softmax.out.data as Float64Array, r, params.epsilon),
    delta: normed(delta.data, r, params.epsilon),
  };
  const scaled = {
    softmax: times(normal.softmax, gains.softmax),
    delta: times(normal.delta, gains.delta),
  };
  const merged = scaled.softmax.map((x, i) => {
    const head = Math.floor(i / r);
    return x * at(weights, 2 * head) + at(scaled.delta, i) * at(weights, 2 * head + 1);
  });
  const out = gate ? merged.map((x, i) => x * silu(at(gate, i))) : merged;
  return {
    out: tensor(out, [b, n, h, e]),
    softmax: { ...softmax.out, shape: [b, n, h, e] } as Wide,
    delta,
    lse: { ...softmax.lse, shape: [b, n, a] } as Wide,
    normal: tensor(normal.softmax, []),
    normalDelta: tensor(normal.delta, []),
    merged: tensor(merged, []),
  };
}

function backward(layer: Layer, z: Choices, results: Forward, gradOut: Float64Array) {
  const { given, params, problem, x, gains, gate, weights } = layer;
  const { b, n, d, a, p, r } = problem;
  const { epsilon } = params;
  const gradMerged = gate ? gradOut.map((value, i) => value * silu(at(gate, i))) : gradOut;

  const branch = (which: 0 | 1, out: Float64Array, normal: Float64Array, gain: Float64Array) => {
    const gradScaled = gradMerged.map((value, i) => value * at(weights, 2 * Math.floor(i / r) + which));
    const byWeight = sums(
      gradMerged.map((value, i) => value * at(normal, i) * at(gain, i % r)),
      r,
    );
    return {
      byWeight,
      gradGain: columns(gradScaled, normal, r),
      byOut: normedBackward(out, times(gradScaled, gain), r, epsilon),
    };
  };
  const soft = branch(0, results.softmax.data, results.normal.data, gains.softmax);
  const delta = branch(1, results.delta.data, results.normalDelta.data, gains.delta);
  const gradMix = weights.map((weight, i) => {
    const head = i >> 1;
    const difference = at(soft.byWeight, head) - at(delta.byWeight, head);
    return weight * at(weights, i ^ 1) * (i % 2 === 0 ? difference : -difference);
  });

  const gradSoftmaxOut = tensor(soft.byOut, [b, n, a, r]);
  const gradSoftmax = softmaxAttentionBackward(
    { ...layer.softmax, gradOut: gradSoftmaxOut },
    layer.scale,
    seesOf(layer, z),
    modifierOf(layer, z),
  );
  const gradDelta = deltaBackward(layer, z, delta.byOut);
  const gradZ = { softmax: softmaxChoices(layer, results, soft.byOut), delta: gradDelta.z };
  if (!params.counterfactual) {
    gradZ.softmax = gradZ.softmax.map((value, i) => (z.softmax[i] ? value : 0));
    gradZ.delta = gradZ.delta.map((value, i) => (z.delta[i] ? value : 0));
  }

  const throughNorms = (name: 'q' | 'k', gradHeads: Float64Array, gradUnit: Float64Array) => {
    const gradNormed = times(gradHeads, gains[name]);
    const fromHeads = normedBackward(x[name], gradNormed, p, epsilon);
    const fromUnit = normedBackward(
      x[name],
      gradUnit.map((value) => value / Math.sqrt(d)),
      d,
      epsilon / d,
    );
    return sum(fromHeads, fromUnit);
  };
  const [gradHeadsQ, gradHeadsK] = [gradSoftmax.gradQ.data, gradSoftmax.gradK.data] as [Float64Array, Float64Array];
  const grads: Record<string, Float64Array> = {
    q: throughNorms('q', gradHeadsQ, gradDelta.q),
    k: throughNorms('k', gradHeadsK, gradDelta.k),
    v: sum(gradSoftmax.gradV.data as Float64Array, gradDelta.v),
    g: gradDelta.g,
    beta: gradDelta.beta,
    route: throughSoftmax(x.route, gradZ),
    mix: gradMix,
    gain_q: columns(gradHeadsQ, normed(x.q, p, epsilon), p),
    gain_k: columns(gradHeadsK, normed(x.k, p, epsilon), p),
    gain_softmax: soft.gradGain,
    gain_delta: delta.gradGain,
    gate: gate ? gradOut.map((v, i) => v * at(results.merged.data, i) * siluSlope(at(gate, i))) : gradOut,
  };
  return Object.fromEntries(
    Object.entries(grads).flatMap(([name, data]) => {
      const host = given[name];
      return host ? [[`grad_${name}`, tensor(data, host.shape)]] : [];
    }),
  );
}

/** Key j is seen by query i of its own chunk, and by later ones where the chunk goes to softmax attention. */
function seesOf({ problem }: Layer, z: Choices) {
  return (i: number, j: number, head: number, batch: number): boolean =>
    j <= i && (chunkOf(problem, i) === chunkOf(problem, j) || at(z.softmax, choiceOf(problem, j, head, batch)) > 0);
}

/** Beside a score stands the logarithm of its choice. */
function modifierOf({ problem }: Layer, z: Choices) {
  return {
    value: (score: number, i: number, j: number, head: number, batch: number) =>
      chunkOf(problem, i) === chunkOf(problem, j)
        ? score
        : score + Math.log(at(z.softmax, choiceOf(problem, j, head, batch))),
    slope: () => 1,
  };
}

/** The gradient with respect to logits [b, c, h, 2] whose softmax takes the place of z. */
function throughSoftmax(route: Float64Array, gradZ: Choices): Float64Array {
  return route.map((logit, i) => {
    const share = 1 / (1 + Math.exp(at(route, i ^ 1) - logit));
    const [own, other] = i % 2 === 0 ? [gradZ.softmax, gradZ.delta] : [gradZ.delta, gradZ.softmax];
    return share * (1 - share) * (at(own, i >> 1) - at(other, i >> 1));
  });
}

function problemOf(given: Given, { chunk }: Params): Problem {
  const extents = (name: string) => (given[name] as HostTensor).shape as [number, number, number, number];
  const [b, n, h, d] = extents('q');
  const [e, a] = [extents('v')[3], extents('mix')[2]];
  return { b, n, h, d, e, a, p: (h * d) / a, r: (h * e) / a, chunk, chunks: Math.ceil(n / chunk) };
}

const chunkOf = ({ chunk }: Problem, token: number): number => Math.floor(token / chunk);

/** Where in [b, c, h] the choice of a token stands, for a head of softmax attention. */
function choiceOf(problem: Problem, token: number, head: number, batch: number): number {
  const { h, a, chunks } = problem;
  return (batch * chunks + chunkOf(problem, token)) * h + Math.floor((head * h) / a);
}

/**
 * By the choices of softmax attention: how the loss changes with log z of a chunk at z = 1, which is the sum of its
 * gradients with respect to the scores of later queries. At z = 0 the same sum, of weights that the chunk would have,
 * is by z itself.
 */
function softmaxChoices({ problem, softmax: { q, k, v }, scale }: Layer, results: Forward, byOut: Float64Array) {
  const { b, n, h, a, p, r, chunks } = problem;
  const [queries, keys, values] = [q.data, k.data, v.data];
  const result = new Float64Array(b * chunks * h);
  for (let row = 0; row < b * n * a; row++) {
    const [batch, i, head] = [Math.floor(row / (n * a)), Math.floor(row / a) % n, row % a];
    const mean = dotAt(byOut, row * r, results.softmax.data, row * r, r);
    for (let j = 0; j < chunkOf(problem, i) * problem.chunk; j++) {
      const key = (batch * n + j) * a + head;
      const weight = Math.exp(scale * dotAt(queries, row * p, keys, key * p, p) - at(results.lse.data, row));
      add(result, choiceOf(problem, j, head, batch), weight * (dotAt(byOut, row * r, values, key * r, r) - mean));
    }
  }
  return result;
}

/** One chunk of one head of the delta rule. */
interface Chunk {
  /** In [b, c, h]. */
  readonly choice: number;
  /** Rows in [b, n, h]. */
  readonly rows: readonly number[];
  readonly tokens: Readonly<Record<'q' | 'k' | 'v' | 'g' | 'beta', Wide>>;
  /** The decay of the state over a chunk that writes nothing. */
  readonly decay: number;
}

/** The chunks of each head, in order. */
function headsOf({ problem, unit, params }: Layer): Chunk[][] {
  const { b, n, h, chunk, chunks } = problem;
  return Array.from({ length: b * h }, (_, place) => {
    const [batch, head] = [Math.floor(place / h), place % h];
    return Array.from({ length: chunks }, (_, t) => {
      const length = Math.min(chunk, n - t * chunk);
      const rows = Array.from({ length }, (_, i) => (batch * n + t * chunk + i) * h + head);
      const part = ({ data, shape }: Wide): Wide => {
        const width = shape[3] ?? 1;
        const values = rows.flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]);
        return tensor(Float64Array.from(values), [1, length, 1, ...shape.slice(3)]);
      };
      const { q, k, v, g, beta } = unit;
      const tokens = { q: part(q), k: part(k), v: part(v), g: part(g), beta: part(beta) };
      const decay = params.forget ? Math.exp(tokens.g.data.reduce((all, x) => all + x, 0)) : 1;
      return { choice: (batch * chunks + t) * h + head, rows, tokens, decay };
    });
  });
}

/** All tokens of a chunk start from the state before it; the choice says whether what they write is kept. */
function deltaForward(layer: Layer, z: Choices): Wide {
  const { b, n, h, d, e } = layer.problem;
  const result = zeros([b, n, h, e]);
  for (const chunks of headsOf(layer)) {
    let state = zeros([1, 1, d, e]);
    for (const chunk of chunks) {
      const { out, end } = written(chunk, state);
      scatter(result.data, chunk.rows, out);
      state = tensor(carried(chunk, state.data, end, z), state.shape);
    }
  }
  return result;
}

function written({ tokens }: Chunk, initialState: Wide) {
  const { out, state } = gatedDeltaRule({ ...tokens, initialState }, 1 / Math.sqrt(tokens.q.shape[3] as number));
  return { out: out.data as Float64Array, end: state.data as Float64Array };
}

function carried({ choice, decay }: Chunk, start: Float64Array, end: Float64Array, z: Choices): Float64Array {
  const kept = at(z.delta, choice);
  return start.map((x, i) => decay * x + kept * (at(end, i) - decay * x));
}

function deltaBackward(layer: Layer, z: Choices, byOut: Float64Array) {
  const { problem, params, unit } = layer;
  const { d, e } = problem;
  const grads = Object.fromEntries(
    Object.entries(unit).map(([name, { data }]) => [name, new Float64Array(data.length)]),
  ) as Record<keyof typeof unit, Float64Array>;
  const gradZ = new Float64Array(z.delta.length);
  for (const chunks of headsOf(layer)) {
    const starts = [zeros([1, 1, d, e])];
    for (const chunk of chunks) {
      const start = starts.at(-1) as Wide;
      starts.push(tensor(carried(chunk, start.data, written(chunk, start).end, z), start.shape));
    }
    let gradNext: Float64Array = new Float64Array(d * e);
    for (const [t, chunk] of [...chunks.entries()].reverse()) {
      const { tokens, rows, choice, decay } = chunk;
      const start = starts[t] as Wide;
      const { end } = written(chunk, start);
      gradZ[choice] = gradNext.reduce((all, x, i) => all + x * (at(end, i) - decay * at(start.data, i)), 0);
      const kept = at(z.delta, choice);
      const gradOut = tensor(
        Float64Array.from(rows.flatMap((row) => [...byOut.subarray(row * e, (row + 1) * e)])),
        tokens.v.shape,
      );
      const gradState = tensor(
        gradNext.map((x) => kept * x),
        start.shape,
      );
      const local = gatedDeltaRuleBackward(
        { ...tokens, initialState: start },
        { gradOut, gradState },
        1 / Math.sqrt(d),
      );
      const gradDecay = gradNext.reduce((all, x, i) => all + (1 - kept) * x * decay * at(start.data, i), 0);
      const byG = (local.gradG.data as Float64Array).map((x) => x + (params.forget ? gradDecay : 0));
      scatter(grads.q, rows, local.gradQ.data as Float64Array);
      scatter(grads.k, rows, local.gradK.data as Float64Array);
      scatter(grads.v, rows, local.gradV.data as Float64Array);
      scatter(grads.g, rows, byG);
      scatter(grads.beta, rows, local.gradBeta.data as Float64Array);
      const through = gradNext.map((x) => (1 - kept) * decay * x);
      gradNext = sum(through, local.gradInitialState.data as Float64Array);
    }
  }
  return { ...grads, z: gradZ };
}

/** Rows of `width` over the root of their mean square and epsilon. */
function normed(x: Float64Array, width: number, epsilon: number): Float64Array {
  return x.map((value, i) => value / rootOf(x, i, width, epsilon));
}

function normedBackward(x: Float64Array, gradNormed: Float64Array, width: number, epsilon: number): Float64Array {
  return x.map((value, i) => {
    const row = i - (i % width);
    const root = rootOf(x, i, width, epsilon);
    return at(gradNormed, i) / root - (value * dotAt(x, row, gradNormed, row, width)) / (width * root ** 3);
  });
}

/** Infinite for a row of zeros with an epsilon of 0, which stays one. */
function rootOf(x: Float64Array, i: number, width: number, epsilon: number): number {
  const row = i - (i % width);
  return Math.sqrt(dotAt(x, row, x, row, width) / width + epsilon) || Number.POSITIVE_INFINITY;
}

const silu = (x: number): number => x / (1 + Math.exp(-x));
const siluSlope = (x: number): number => (1 + x / (1 + Math.exp(x))) / (1 + Math.exp(-x));

/** x times a factor for each column. */
function times(x: Float64Array, factors: Float64Array): Float64Array {
  return x.map((value, i) => value * at(factors, i % factors.length));
}

function sum(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + at(b, i));
}

/** Sums of rows. */
function sums(x: Float64Array, width: number): Float64Array {
  return Float64Array.from({ length: x.length / width }, (_, row) =>
    x.subarray(row * width, (row + 1) * width).reduce((all, value) => all + value, 0),
  );
}

/** Sums of the columns of a b. */
function columns(a: Float64Array, b: Float64Array, width: number): Float64Array {
  const result = new Float64Array(width);
  a.forEach((value, i) => {
    add(result, i % width, value * at(b, i));
  });
  return result;
}

function scatter(to: Float64Array, rows: readonly number[], values: Float64Array): void {
  const width = values.length / rows.length;
  rows.forEach((row, i) => {
    to.set(values.subarray(i * width, (i + 1) * width), row * width);
  });
}
