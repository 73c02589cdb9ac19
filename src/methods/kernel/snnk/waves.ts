/**
 * Activations as means of waves, by their Fourier transforms in closed form:
 * tanh t is the integral over frequencies w > 0 of sin(w t) / sinh(pi w / 2), sigmoid t that of sin(w t) / sinh(pi w), and 1/2, and
 * GELU t that of (1 - cos(w t)) e^(-w^2 / 2) (1 + 1 / w^2) / pi, and t / 2.
 */
import { BoundedMap } from '../../../bounded-map';

export type WaveActivation = 'tanh' | 'sigmoid' | 'gelu';

/** f(t) = constant + linear t + mean over j of cosines_j (cos(w_j t) - 1 if pinned) + sines_j sin(w_j t), w_j the frequencies. */
export interface Waves {
  readonly frequencies: Float64Array;
  readonly cosines: Float64Array;
  readonly sines: Float64Array;
  /** Whether cosines count from their value at 0. */
  readonly isPinned: boolean;
  readonly constant: number;
  readonly linear: number;
}

interface Transform extends Pick<Waves, 'isPinned' | 'constant' | 'linear'> {
  /** The law of frequencies, up to a factor, and what waves weigh under it. */
  density(w: number): number;
  amplitude(w: number): readonly [cosine: number, sine: number];
}

const TRANSFORMS: Readonly<Record<WaveActivation, Transform>> = {
  // w / sinh(pi w / 2) sums to 1, w / sinh(pi w) to 1/4.
  tanh: {
    ...{ isPinned: false, constant: 0, linear: 0 },
    density: (w) => w / Math.sinh((Math.PI * w) / 2),
    amplitude: (w) => [0, 1 / w],
  },
  sigmoid: {
    ...{ isPinned: false, constant: 0.5, linear: 0 },
    density: (w) => w / Math.sinh(Math.PI * w),
    amplitude: (w) => [0, 0.25 / w],
  },
  gelu: {
    ...{ isPinned: true, constant: 0, linear: 0.5 },
    density: (w) => Math.exp((-w * w) / 2),
    amplitude: (w) => [-(1 + 1 / (w * w)) / Math.sqrt(2 * Math.PI), 0],
  },
};

/** Where laws have ended, and into how many steps they are cut. */
const [END, STEPS] = [16, 2 ** 14];

/** As many waves as projections. */
export const wavesOf = (activation: WaveActivation, count: number): Waves =>
  found.get(`${activation} ${count}`, () => findWaves(activation, count));

/** The waves of the last settings, which are not to be changed. */
const found = new BoundedMap<string, Waves>(8);

function findWaves(activation: WaveActivation, count: number): Waves {
  const { density, amplitude, ...rest } = TRANSFORMS[activation];
  const { frequencies } = quantiles(
    Float64Array.from({ length: STEPS }, (_, at) => density(((at + 0.5) * END) / STEPS)),
    END,
    count,
  );
  return { ...rest, frequencies, ...amplitudesOf(frequencies, amplitude) };
}

/** The amplitudes of cosines and of sines. */
export function amplitudesOf(
  frequencies: Float64Array,
  amplitude: (w: number, at: number) => readonly [cosine: number, sine: number],
): Pick<Waves, 'cosines' | 'sines'> {
  const both = Array.from(frequencies, amplitude);
  return { cosines: Float64Array.from(both, ([cosine]) => cosine), sines: Float64Array.from(both, ([, sine]) => sine) };
}

/**
 * The frequencies below which (j + 1/2) / count of a law on [0, end] lies, and its density there; the law is constant in steps,
 * which are given up to a factor.
 */
export function quantiles(steps: Float64Array, end: number, count: number) {
  const width = end / steps.length;
  const total = steps.reduce((sum, value) => sum + value, 0);
  const [frequencies, densities] = [new Float64Array(count), new Float64Array(count)];
  for (let j = 0, at = 0, below = 0; j < count; j++) {
    const wanted = ((j + 0.5) / count) * total;
    while (below + steps[at]! < wanted && at + 1 < steps.length) below += steps[at++]!;
    frequencies[j] = (at + (wanted - below) / steps[at]!) * width;
    densities[j] = steps[at]! / (total * width);
  }
  return { frequencies, densities };
}
