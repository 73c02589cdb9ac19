/** Activations as means of waves by a Fourier transform that is given, or computed from the activation. */
import { checkFunction, checkKnown, checkWhole, isRecord, show } from '../../../check';
import { ParameterError, ShapeError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { productOfWaves } from './features';
import { amplitudesOf, quantiles, type Waves } from './waves';

/** f(t) = constant + linear t + the integral over w > 0 of cosine(w) (cos(w t) - 1 if pinned) + sine(w) sin(w t). */
export interface ActivationTransform {
  transform(w: number): readonly [cosine: number, sine: number];
  /** Whether cosines count from their value at 0, as activations need that grow; default false. */
  readonly isPinned?: boolean | undefined;
  /** Default 0. */
  readonly constant?: number | undefined;
  /** Default 0. */
  readonly linear?: number | undefined;
}

export interface ActivationWavesOptions {
  /** How many waves: as many as a layer has projections. */
  readonly count: number;
  /** The waves are f for |t| up to this; default 4. */
  readonly radius?: number | undefined;
  /** The largest frequency; default 8. Features grow as e^(frequency^2 |x|^2 / 2). */
  readonly most?: number | undefined;
}

/** The waves of an activation. */
export interface ActivationWaves extends Waves {
  /** The mean of the waves at t. */
  evaluate(t: number): number;
  /** The largest |evaluate(t) - f(t)| for |t| up to the radius, where f is known. */
  readonly error: number | undefined;
}

/** Steps of the law of frequencies, and of a computed transform. */
const [STEPS, NODES] = [512, 2048];

/**
 * An activation as waves, which `snnkLayer` takes. For a function the transform is computed: that of f less the line through its
 * values at both ends, tapered to 0 between one radius and two, so that f itself may grow.
 *
 * @throws {ParameterError} an option that is unknown or out of range, an activation or a transform that is not finite
 */
export function activationWaves(
  activation: ((t: number) => number) | ActivationTransform,
  options: ActivationWavesOptions,
): ActivationWaves {
  checkKnown('options', options, ['count', 'radius', 'most'], (name) => `activationWaves has no option '${name}'`);
  const { count, radius = 4, most = 8 } = options;
  checkWhole('count', count, 1, MOST_WAVES);
  for (const [name, value] of Object.entries({ radius, most }))
    if (!(Number.isFinite(value) && value > 0))
      throw new ParameterError(`${name} must be a finite number above 0, got ${show(value)}`);
  const f = typeof activation === 'function' ? checkedValues(activation) : undefined;
  const { transform, isPinned, constant, linear } = f ? computed(f, radius) : given(activation as ActivationTransform);
  const steps = Float64Array.from({ length: STEPS }, (_, at) => {
    const w = ((at + 0.5) * most) / STEPS;
    const [cosine, sine] = transform(w);
    // A slow sine, and a pinned cosine, are small however much they weigh.
    const slow = Math.min(1, radius * w);
    return Math.abs(cosine) * (isPinned ? slow * slow : 1) + Math.abs(sine) * slow;
  });
  if (!steps.some((value) => value > 0)) steps.fill(1);
  const { frequencies, densities } = quantiles(steps, most, count);
  const amplitudes = amplitudesOf(frequencies, (w, at) => {
    const [cosine, sine] = transform(w);
    return [cosine / densities[at]!, sine / densities[at]!];
  });
  const waves = { frequencies, ...amplitudes, isPinned, constant, linear };
  const evaluate = (t: number) => meanOf(waves, t);
  const points = Array.from({ length: 257 }, (_, at) => radius * (at / 128 - 1));
  return { ...waves, evaluate, error: f && Math.max(...points.map((t) => Math.abs(evaluate(t) - f(t)))) };
}

const MOST_WAVES = 2 ** 20;

function checkedValues(activation: (t: number) => number): (t: number) => number {
  return (t) => finite(`activation(${t})`, activation(t));
}

function finite(what: string, value: unknown): number {
  if (!Number.isFinite(value)) throw new ParameterError(`${what} must be a finite number, got ${show(value)}`);
  return value as number;
}

function given(activation: ActivationTransform): Required<ActivationTransform> & Pick<Waves, LineNames> {
  if (!isRecord(activation))
    throw new ParameterError(`activation must be a function or an object with its transform, got ${show(activation)}`);
  const known = ['transform', 'isPinned', 'constant', 'linear'];
  checkKnown('activation', activation, known, (name) => `activation has no '${name}'`);
  const { transform, isPinned = false, constant = 0, linear = 0 } = activation;
  checkFunction('transform of activation', transform);
  if (typeof isPinned !== 'boolean')
    throw new ParameterError(`isPinned of activation must be true or false, got ${show(isPinned)}`);
  finite('constant of activation', constant);
  finite('linear of activation', linear);
  return {
    isPinned,
    constant,
    linear,
    transform(w) {
      const both = transform(w);
      if (!Array.isArray(both) || both.length !== 2)
        throw new ParameterError(`transform(${w}) must be two numbers, of cosine and sine, got ${show(both)}`);
      const what = `transform(${w})`;
      return [finite(`the cosine of ${what}`, both[0]), finite(`the sine of ${what}`, both[1])];
    },
  };
}

type LineNames = 'isPinned' | 'constant' | 'linear';

/** By the trapezoidal rule, which is as exact as float64 for what is smooth and ends smoothly. */
function computed(f: (t: number) => number, radius: number): ReturnType<typeof given> {
  const [low, high] = [f(-radius), f(radius)];
  const [constant, linear] = [(low + high) / 2, (high - low) / (2 * radius)];
  const step = (4 * radius) / NODES;
  const at = (node: number) => node * step - 2 * radius;
  const values = Float64Array.from({ length: NODES }, (_, node) => {
    const t = at(node);
    const share = taper(Math.abs(t) / radius - 1);
    return share === 0 ? 0 : share * (f(t) - constant - linear * t);
  });
  return {
    isPinned: false,
    constant,
    linear,
    transform(w) {
      let [cosine, sine] = [0, 0];
      // Each angle from the one before it by a rotation: a tenth of the time of cosines and sines.
      const [turnReal, turnImaginary] = [Math.cos(w * step), Math.sin(w * step)];
      let [real, imaginary] = [Math.cos(w * at(0)), Math.sin(w * at(0))];
      for (let node = 0; node < NODES; node++) {
        cosine += values[node]! * real;
        sine += values[node]! * imaginary;
        const next = real * turnReal - imaginary * turnImaginary;
        imaginary = real * turnImaginary + imaginary * turnReal;
        real = next;
      }
      return [(cosine * step) / Math.PI, (sine * step) / Math.PI];
    },
  };
}

/** 1 up to 0, 0 from 1, with all derivatives. */
function taper(u: number): number {
  if (u <= 0) return 1;
  if (u >= 1) return 0;
  return 1 / (1 + Math.exp(1 / (1 - u) - 1 / u));
}

function meanOf({ frequencies, cosines, sines, isPinned, constant, linear }: Waves, t: number): number {
  let sum = 0;
  for (let j = 0; j < frequencies.length; j++) {
    const angle = frequencies[j]! * t;
    sum += cosines[j]! * (Math.cos(angle) - (isPinned ? 1 : 0)) + sines[j]! * Math.sin(angle);
  }
  return constant + linear * t + sum / frequencies.length;
}

export interface SnnkLayerInputs {
  /** [b, d]; rows must be short, about 0.5: a factor can be moved to w. */
  readonly x: Tensor;
  /** [l, d] */
  readonly w: Tensor;
  /** [r, d] from N(0, 1), as many as waves. */
  readonly projections: Tensor;
  /** [l] */
  readonly bias?: Tensor | undefined;
}

/**
 * An unbiased estimate of f(x w^T + bias) [b, l] by features of x and features of w, for any activation as waves; f32 and
 * contiguous, with gradients.
 *
 * @throws {ShapeError} extents that do not fit, among them as many projections as waves
 */
export function snnkLayer(inputs: SnnkLayerInputs, waves: Waves): Tensor<'f32'> {
  checkKnown('inputs', inputs, ['x', 'w', 'projections', 'bias'], (name) => `snnkLayer has no input '${name}'`);
  const { x, w, projections, bias } = inputs;
  const tensors = { x, w, projections, ...(bias !== undefined && { bias }) };
  checkFloat32('snnkLayer', tensors, {});
  checkContiguous(tensors);
  const { r } = bindShapes(
    { x: 'b d', w: 'l d', projections: 'r d', ...(bias && { bias: 'l' }) },
    Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, [...shape]])),
  ) as Record<'r', number>;
  if (!isRecord(waves) || !(waves.frequencies instanceof Float64Array))
    throw new ParameterError(`waves must be those that activationWaves gives, got ${show(waves)}`);
  if (waves.frequencies.length !== r)
    throw new ShapeError(`projections must be as many as waves, ${waves.frequencies.length}, got ${r}`);
  return x.runtime.scope(() => productOfWaves({ x, w, projections, bias }, waves)) as Tensor<'f32'>;
}
