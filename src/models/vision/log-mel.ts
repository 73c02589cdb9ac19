/**
 * Log-mel features of sounds as Kaldi computes them, which UniRepLKNet takes: frames of 25 ms every 10 ms, with their mean taken away, a
 * pre-emphasis of 0.97, a Hann window, the powers of their frequencies, and the logarithms of triangles of these on the mel scale.
 * Source: the authors' call of torchaudio's kaldi.fbank with 128 bins and without dither, whose other settings are its defaults.
 */
import { checkNumber, checkOptions, checkWhole, show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import { linear } from '../../nn/linear';
import { conv } from '../../ops/conv';
import { map } from '../../ops/map/map';
import { formatShape } from '../../tensor/shape';
import { Tensor } from '../../tensor/tensor';

export interface LogMelOptions {
  /** Samples a second; default 16000. */
  readonly rate?: number | undefined;
  /** Default 128. */
  readonly bins?: number | undefined;
}

const [WINDOW_SECONDS, SHIFT_SECONDS] = [0.025, 0.01];
const PRE_EMPHASIS = 0.97;
/** The lowest frequency of a triangle, in hertz. */
const LOWEST = 20;
/** Powers are no less before their logarithm: the epsilon of f32. */
const LEAST = 2 ** -23;

/**
 * Sounds [b, samples], from -1 to 1 -> log-mel features [b, frames, bins], which `audioPicture` takes. Samples after the last whole
 * frame count for nothing: a second of 16000 has 98 frames.
 */
export function logMel(waves: Tensor, options: LogMelOptions = {}): Tensor<'f32'> {
  checkOptions('logMel', options, ['rate', 'bins']);
  const { rate = 16_000, bins = 128 } = options;
  checkWhole('bins', bins, 1);
  checkNumber('rate', rate, 'from 1000 to 1000000', (value) => value >= 1000 && value <= 1e6);
  if (!(waves instanceof Tensor)) throw new ParameterError(`waves must be a Tensor, got ${show(waves)}`);
  const [window, shift] = [Math.floor(rate * WINDOW_SECONDS), Math.floor(rate * SHIFT_SECONDS)];
  const [b, samples] = waves.shape;
  if (waves.rank !== 2 || (samples as number) < window)
    throw new ShapeError(`waves must have shape [b, samples], of at least ${window}, got ${formatShape(waves.shape)}`);
  const { runtime } = waves;
  return runtime.scope(() => {
    const size = 2 ** Math.ceil(Math.log2(window));
    const count = size / 2;
    // All up to the powers is linear: one kernel for each part of each frequency.
    const kernels = runtime.tensor(frequencies(window, size), [2 * count, 1, window]);
    const parts = conv(waves.reshape([b as number, samples as number, 1]), kernels, { stride: shift });
    const powers = map(
      (real, imaginary) => real * real + imaginary * imaginary,
      parts.slice(2, 0, count),
      parts.slice(2, count, 2 * count),
    ) as Tensor<'f32'>;
    const energies = linear(powers, runtime.tensor(triangles(bins, count, rate), [bins, count]));
    return map((energy, { least }) => Math.log(Math.max(energy, least)), energies, {
      captured: { least: LEAST },
    }) as Tensor<'f32'>;
  });
}

/** What multiplies the samples of a frame for the real parts of its frequencies, and then for the imaginary ones: [size, window]. */
function frequencies(window: number, size: number): Float32Array {
  const hann = Float64Array.from(
    { length: window },
    (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / (window - 1)),
  );
  const out = new Float32Array(size * window);
  const row = new Float64Array(window);
  for (let part = 0; part < size; part++) {
    const [frequency, turn] = part < size / 2 ? [part, 0] : [part - size / 2, Math.PI / 2];
    for (let at = 0; at < window; at++)
      row[at] = (hann[at] as number) * Math.cos((2 * Math.PI * frequency * at) / size + turn);
    // Each sample has a part of the one before it taken away, the first one of itself.
    const emphasised = row.map((value, at) => value - PRE_EMPHASIS * ((row[at + 1] ?? 0) + (at === 0 ? value : 0)));
    const mean = emphasised.reduce((sum, value) => sum + value, 0) / window;
    out.set(
      emphasised.map((value) => value - mean),
      part * window,
    );
  }
  return out;
}

const mel = (hertz: number) => 1127 * Math.log1p(hertz / 700);

/** Triangles side by side on the mel scale, each over two of equal steps: [bins, frequencies]. */
function triangles(bins: number, count: number, rate: number): Float32Array {
  const lowest = mel(LOWEST);
  const step = (mel(rate / 2) - lowest) / (bins + 1);
  return Float32Array.from({ length: bins * count }, (_, at) => {
    const place = (mel(((at % count) * rate) / (2 * count)) - lowest) / step - Math.floor(at / count);
    return Math.max(0, Math.min(place, 2 - place));
  });
}
