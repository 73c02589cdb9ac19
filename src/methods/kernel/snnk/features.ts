/** Features of inputs and of weights, whose product is the layer. */
import { concat } from '../../../ops/copy';
import { add, cos, exp, multiply, sin } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { sum } from '../../../ops/reduce';
import type { Tensor } from '../../../tensor/tensor';
import type { Waves } from './waves';

interface Layer {
  readonly x: Tensor;
  readonly w: Tensor;
  readonly projections: Tensor;
  readonly bias: Tensor | undefined;
}

interface Settings {
  readonly activation: 'relu' | 'cos' | 'sin' | 'exp';
  readonly floor: number;
  readonly split: 'asymmetric' | 'symmetric';
}

/** The mean over the projections of the products of features, [b, l]. */
export function productOfFeatures(layer: Layer, settings: Settings): Tensor {
  const [ofInputs, ofWeights] = featuresOf(layer, settings);
  const share = layer.x.runtime.tensor([1 / (layer.projections.shape[0] as number)], []);
  return multiply(matmul(ofInputs, ofWeights, { transposeB: true }), share);
}

/**
 * The same for a sum of waves: e^(g w - |w|^2 / 2) times cos(f g x) e^(f^2 |x|^2 / 2) and the like with sin, f the frequency of the
 * projection. The 1 of pinned cosines is estimated with the same factor, so that slow waves, which weigh much, vary little; it is
 * taken off by -2 sin^2 of half the angle, since of slow waves the difference is far below the rounding of a cosine.
 */
export function productOfWaves({ x, w, projections, bias }: Layer, waves: Waves): Tensor {
  const { runtime } = x;
  const { isPinned, constant, linear } = waves;
  const r = projections.shape[0] as number;
  const row = (values: Float64Array, factor = 1) =>
    runtime.tensor(
      Float32Array.from(values, (value) => factor * value),
      [1, r],
    );
  const [frequency, cosine, sine] = [row(waves.frequencies), row(waves.cosines, 1 / r), row(waves.sines, 1 / r)];
  const along = (points: Tensor) => matmul(points, projections, { transposeB: true });
  const size = map((half, f) => Math.exp(f * f * half), halfSquares(x), frequency);
  const angle = multiply(along(x), frequency);
  const [ofW, halfW] = [along(w), halfSquares(w)];
  const weighing = (amplitude: Tensor) => map((t, half, a) => a * Math.exp(t - half), ofW, halfW, amplitude);
  // Most activations have only one of both.
  const hasSines = waves.sines.some((value) => value !== 0);
  const hasCosines = !hasSines || waves.cosines.some((value) => value !== 0);
  const c = hasCosines ? weighing(cosine) : undefined;
  const s = hasSines ? weighing(sine) : undefined;
  const shift = bias && multiply(bias.reshape([-1, 1]), frequency);
  const [byCosine, bySine] = shift ? shifted(c, s, shift) : [c, s];
  const features: (readonly [ofInputs: Tensor, ofWeights: Tensor])[] = [];
  if (byCosine) {
    const grown = isPinned && map((half, f) => Math.expm1(f * f * half), halfSquares(x), frequency);
    features.push([grown ? add(grown, multiply(pinned(angle), size)) : multiply(cos(angle), size), byCosine]);
  }
  if (bySine) features.push([multiply(sin(angle), size), bySine]);
  if (isPinned && c && shift) features.push([runtime.ones([x.shape[0] as number, r]), multiply(c, pinned(shift))]);
  const [ofInputs, ofWeights] = [0, 1].map((side) =>
    features.map((pair) => pair[side] as Tensor).reduce((all, each) => beside(all, each)),
  ) as [Tensor, Tensor];
  const product = matmul(ofInputs, ofWeights, { transposeB: true });
  const whole = constant === 0 ? product : add(product, runtime.tensor([constant], []));
  if (linear === 0) return whole;
  const line = matmul(x, w, { transposeB: true });
  return add(whole, multiply(bias ? add(line, bias) : line, runtime.tensor([linear], [])));
}

/** What cosines and sines weigh once their angle is larger by `shift`. */
function shifted(
  c: Tensor | undefined,
  s: Tensor | undefined,
  shift: Tensor,
): [Tensor | undefined, Tensor | undefined] {
  const [even, odd] = [cos(shift), sin(shift)];
  const total = (...parts: (Tensor | undefined)[]) =>
    parts.filter((each) => each !== undefined).reduce((a, b) => add(a, b));
  return [
    total(c && multiply(c, even), s && multiply(s, odd)),
    total(s && multiply(s, even), c && negative(multiply(c, odd))),
  ];
}

function featuresOf({ x, w, projections, bias }: Layer, { activation, floor, split }: Settings): [Tensor, Tensor] {
  const along = (points: Tensor) => matmul(points, projections, { transposeB: true });
  const [ofX, ofW] = [along(x), along(w)];
  if (activation === 'relu') {
    const captured = { floor };
    return [
      map((t, { floor }) => Math.max(t, floor), ofX, { captured }),
      map((t, { floor }) => Math.max(t, floor), ofW, { captured }),
    ];
  }
  const [halfX, halfW] = [halfSquares(x), halfSquares(w)];
  const shift = bias?.reshape([-1, 1]);
  if (activation === 'exp') {
    const weights = map((t, half) => t - half, ofW, halfW);
    return [exp(map((t, half) => t - half, ofX, halfX)), exp(shift ? add(weights, shift) : weights)];
  }
  return split === 'asymmetric'
    ? asymmetric(ofX, ofW, [halfX, halfW], shift, activation)
    : symmetric(ofX, ofW, [halfX, halfW], shift, activation);
}

/** |x|^2 / 2 of rows, [b, 1]. */
const halfSquares = (x: Tensor): Tensor =>
  multiply(sum(multiply(x, x), { axes: [1], keepDims: true }), x.runtime.tensor([0.5], []));

/*
 * Real parts of products of complex features, as real features twice as many. With z = g x the asymmetric split is
 * e^(|x|^2 / 2) e^(i z) times e^(g w - |w|^2 / 2) e^(i b), the symmetric one e^(t + i (t - |x|^2 / 2)) of t = g x / sqrt(2), and so
 * of w. The sign of i only decides that of the imaginary part, so that no feature depends on it.
 */
type Halves = readonly [Tensor, Tensor];

function asymmetric(
  ofX: Tensor,
  ofW: Tensor,
  [halfX, halfW]: Halves,
  shift: Tensor | undefined,
  activation: 'cos' | 'sin',
): [Tensor, Tensor] {
  const size = exp(halfX);
  const weights = exp(map((t, half) => t - half, ofW, halfW));
  const [even, odd] = phases(shift, weights, activation);
  return [beside(multiply(cos(ofX), size), multiply(sin(ofX), size)), beside(even, odd)];
}

/** By what weights multiply cosines and sines: those of cos(z + b), or of sin(z + b). */
function phases(shift: Tensor | undefined, weights: Tensor, activation: 'cos' | 'sin'): [Tensor, Tensor] {
  const none = multiply(weights, weights.runtime.tensor([0], []));
  const [even, odd] = shift ? [multiply(weights, cos(shift)), multiply(weights, sin(shift))] : [weights, none];
  return activation === 'cos' ? [even, negative(odd)] : [odd, even];
}

function symmetric(
  ofX: Tensor,
  ofW: Tensor,
  [halfX, halfW]: Halves,
  shift: Tensor | undefined,
  activation: 'cos' | 'sin',
): [Tensor, Tensor] {
  const root = ofX.runtime.tensor([Math.SQRT1_2], []);
  const [x, w] = [multiply(ofX, root), multiply(ofW, root)];
  const angleOfX = map((t, half) => t - half, x, halfX);
  const plain = map((t, half) => t - half, w, halfW);
  const angleOfW = shift ? add(plain, shift) : plain;
  const [sizeX, sizeW] = [exp(x), exp(w)];
  const [even, odd] = [multiply(cos(angleOfW), sizeW), multiply(sin(angleOfW), sizeW)];
  const inputs = beside(multiply(cos(angleOfX), sizeX), multiply(sin(angleOfX), sizeX));
  return [inputs, activation === 'cos' ? beside(even, negative(odd)) : beside(odd, even)];
}

/** cos t - 1. */
const pinned = (angle: Tensor): Tensor => map((t) => -2 * Math.sin(t / 2) * Math.sin(t / 2), angle);
const negative = (x: Tensor): Tensor => multiply(x, x.runtime.tensor([-1], []));
const beside = (a: Tensor, b: Tensor): Tensor => concat([a as Tensor<'f32'>, b as Tensor<'f32'>], 1);
