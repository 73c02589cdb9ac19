/**
 * Activations as means of waves, by their Fourier transforms in closed form:
 * tanh t is the integral over frequencies w > 0 of sin(w t) / sinh(pi w / 2), sigmoid t that of sin(w t) / sinh(pi w), and 1/2, and
 * GELU t that of (1 - cos(w t)) e^(-w^2 / 2) (1 + 1 / w^2) / pi, and t / 2.
 */
export type WaveActivation = 'tanh' | 'sigmoid' | 'gelu';

/** f(t) = constant + linear t + mean over j of amplitudes_j wave(frequencies_j t), where the wave is sin t, or 1 - cos t. */
export interface Waves {
  readonly wave: 'sine' | 'versine';
  readonly frequencies: Float64Array;
  readonly amplitudes: Float64Array;
  readonly constant: number;
  readonly linear: number;
}

interface Transform extends Pick<Waves, 'wave' | 'constant' | 'linear'> {
  /** The law of frequencies, up to a factor, and what waves weigh under it. */
  density(w: number): number;
  amplitude(w: number): number;
}

const TRANSFORMS: Readonly<Record<WaveActivation, Transform>> = {
  // w / sinh(pi w / 2) sums to 1, w / sinh(pi w) to 1/4.
  tanh: {
    ...{ wave: 'sine', constant: 0, linear: 0 },
    density: (w) => w / Math.sinh((Math.PI * w) / 2),
    amplitude: (w) => 1 / w,
  },
  sigmoid: {
    ...{ wave: 'sine', constant: 0.5, linear: 0 },
    density: (w) => w / Math.sinh(Math.PI * w),
    amplitude: (w) => 0.25 / w,
  },
  gelu: {
    ...{ wave: 'versine', constant: 0, linear: 0.5 },
    density: (w) => Math.exp((-w * w) / 2),
    amplitude: (w) => (1 + 1 / (w * w)) / Math.sqrt(2 * Math.PI),
  },
};

/** Where laws have ended, and into how many steps they are cut. */
const [END, STEPS] = [16, 2 ** 14];

/** As many waves as projections: their frequencies are those below which (j + 1/2) / count of the law lies. */
export function wavesOf(activation: WaveActivation, count: number): Waves {
  const { density, amplitude, ...rest } = TRANSFORMS[activation];
  const sums = new Float64Array(STEPS + 1);
  for (let at = 1; at <= STEPS; at++) sums[at] = sums[at - 1]! + density(((at - 0.5) * END) / STEPS);
  const frequencies = new Float64Array(count);
  for (let j = 0, at = 1; j < count; j++) {
    const wanted = ((j + 0.5) / count) * sums[STEPS]!;
    while (sums[at]! < wanted) at++;
    const part = (wanted - sums[at - 1]!) / (sums[at]! - sums[at - 1]!);
    frequencies[j] = ((at - 1 + part) * END) / STEPS;
  }
  return { ...rest, frequencies, amplitudes: frequencies.map(amplitude) };
}
