/**
 * The angles of rotary position embeddings, in float64.
 * Source: Su et al. 2021, RoFormer, arXiv 2104.09864. Scaled frequencies: Chen et al. 2023, position interpolation, arXiv
 * 2306.15595 (linear); Peng et al. 2023, YaRN, arXiv 2309.00071; Llama 3.1's as in its published code.
 */
import { BoundedMap } from '../../bounded-map';
import { checkChoice, checkKnown, checkWhole, show } from '../../check';
import { ParameterError } from '../../errors';
import { LARGEST_HEAD } from '../../runtime/cpu/params';

/**
 * How frequencies are scaled for longer contexts than a model was trained with, as `rope_scaling` of config.json
 * says.
 */
export type RopeScaling =
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      /** Positions that the model was trained with before its context was extended. */
      readonly originalLength: number;
    }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly originalLength: number;
      /** Pairs that turn more often within the original length keep their frequency; default 32. */
      readonly betaFast?: number | undefined;
      /** Those that turn less often are slowed by the whole factor; default 1. */
      readonly betaSlow?: number | undefined;
      /** What queries and keys are multiplied by; default 0.1 ln(factor) + 1. */
      readonly attentionFactor?: number | undefined;
    };

/** Which pairs are rotated, and how fast. */
export interface RopeSettings {
  /** Pair j of so many dimensions turns by theta^(-2 j / dimensions) radians from one position to the next; default 10000. */
  readonly theta?: number | undefined;
  /**
   * Which elements are pair j: `'half'`, j and j + dimensions / 2 (default; Llama in Hugging Face's layout), or
   * `'interleaved'`, 2 j and 2 j + 1 (GPT-J, and Llama's own checkpoints).
   */
  readonly layout?: 'half' | 'interleaved' | undefined;
  /** How many elements of each head are rotated, the first ones; an even number up to d, the default. */
  readonly dimensions?: number | undefined;
  /** How frequencies are changed for contexts longer than those of training. */
  readonly scaling?: RopeScaling | undefined;
}

export interface Rotation {
  /** Quarter turns from one position to the next, for each pair. */
  readonly quarters: Float64Array;
  readonly isInterleaved: boolean;
  /** What is rotated is multiplied by it. */
  readonly amplitude: number;
}

export const SETTINGS = ['theta', 'layout', 'dimensions', 'scaling'];

const KEPT = 64;
const known = new BoundedMap<string, Rotation>(KEPT);

/** The one rotation of heads of d elements by these settings; throws a ParameterError where they do not fit. */
export function rotationOf(
  { theta = 10_000, layout = 'half', dimensions, scaling }: RopeSettings,
  d: number,
): Rotation {
  checkAtLeast1('theta', theta);
  checkChoice('layout', layout, ['half', 'interleaved']);
  const rotated = dimensions === undefined ? d : dimensions;
  const name = dimensions === undefined ? 'd, of which all dimensions are rotated,' : 'dimensions';
  checkWhole(name, rotated, 2, Math.min(d, LARGEST_HEAD));
  if (rotated % 2 !== 0) throw new ParameterError(`${name} must be even, got ${rotated}`);
  if (scaling !== undefined) checkScaling(scaling);
  return known.get(JSON.stringify([theta, layout, rotated, scaling]), () => ({
    quarters: frequencies(theta, rotated, scaling).map((radians) => radians / (Math.PI / 2)),
    isInterleaved: layout === 'interleaved',
    amplitude: amplitudeOf(scaling),
  }));
}

/** Radians from one position to the next, for each pair. */
function frequencies(theta: number, dimensions: number, scaling: RopeScaling | undefined): Float64Array {
  const own = Float64Array.from({ length: dimensions / 2 }, (_, j) => theta ** ((-2 * j) / dimensions));
  switch (scaling?.type) {
    case undefined:
      return own;
    case 'linear':
      return own.map((frequency) => frequency / scaling.factor);
    case 'llama3': {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalLength } = scaling;
      return own.map((frequency) => {
        const share = (turnsWithin(originalLength, frequency) - low) / (high - low);
        return mixed(frequency, factor, share);
      });
    }
    case 'yarn': {
      const { factor, originalLength, betaFast = 32, betaSlow = 1 } = scaling;
      // The pair, as a real number, that turns so many times within the original length.
      const pairOf = (turns: number) =>
        (dimensions * Math.log(originalLength / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const first = Math.max(0, Math.floor(pairOf(betaFast)));
      const last = Math.min(dimensions - 1, Math.ceil(pairOf(betaSlow)));
      const width = last === first ? 0.001 : last - first;
      return own.map((frequency, j) => mixed(frequency, factor, 1 - (j - first) / width));
    }
  }
}

const turnsWithin = (length: number, frequency: number) => (length * frequency) / (2 * Math.PI);

/** Between a frequency, for shares of 1 and more, and that slowed by the whole factor, for 0 and less. */
function mixed(frequency: number, factor: number, share: number): number {
  const kept = Math.max(0, Math.min(1, share));
  return kept * frequency + ((1 - kept) * frequency) / factor;
}

function amplitudeOf(scaling: RopeScaling | undefined): number {
  if (scaling?.type !== 'yarn') return 1;
  return scaling.attentionFactor ?? 0.1 * Math.log(scaling.factor) + 1;
}

const PARTS = {
  linear: ['factor'],
  llama3: ['factor', 'lowFrequencyFactor', 'highFrequencyFactor', 'originalLength'],
  yarn: ['factor', 'originalLength', 'betaFast', 'betaSlow', 'attentionFactor'],
} as const;

function checkScaling(scaling: RopeScaling): void {
  checkKnown(
    'scaling',
    scaling,
    ['type', ...new Set(Object.values(PARTS).flat())],
    (name) => `scaling has no '${name}'`,
  );
  const { type, factor } = scaling;
  if (type === undefined) throw new ParameterError('scaling must have a type, got none');
  checkChoice('type of scaling', type, Object.keys(PARTS));
  checkKnown('scaling', scaling, ['type', ...PARTS[type]], (name) => `scaling of type '${type}' has no '${name}'`);
  checkAtLeast1('factor of scaling', factor);
  if (type === 'linear') return;
  checkWhole('originalLength of scaling', scaling.originalLength, 1);
  if (type === 'llama3') {
    const { lowFrequencyFactor, highFrequencyFactor } = scaling;
    checkPositive('lowFrequencyFactor of scaling', lowFrequencyFactor);
    checkPositive('highFrequencyFactor of scaling', highFrequencyFactor);
    if (highFrequencyFactor > lowFrequencyFactor) return;
    throw new ParameterError(
      `highFrequencyFactor of scaling must be above lowFrequencyFactor ${lowFrequencyFactor}, got ${highFrequencyFactor}`,
    );
  }
  const { betaFast = 32, betaSlow = 1, attentionFactor = 1 } = scaling;
  checkPositive('betaFast of scaling', betaFast);
  checkPositive('betaSlow of scaling', betaSlow);
  checkPositive('attentionFactor of scaling', attentionFactor);
  if (betaFast >= betaSlow) return;
  throw new ParameterError(`betaFast of scaling must be at least betaSlow ${betaSlow}, got ${betaFast}`);
}

function checkPositive(what: string, value: number): void {
  if (typeof value === 'number' && value > 0 && value < Number.POSITIVE_INFINITY) return;
  throw new ParameterError(`${what} must be a positive number, got ${show(value)}`);
}

/** So that no pair turns by more than a radian, and quarter turns at any i32 position are within i32. */
function checkAtLeast1(what: string, value: number): void {
  if (typeof value === 'number' && value >= 1 && value < Number.POSITIVE_INFINITY) return;
  throw new ParameterError(`${what} must be a number >= 1, got ${show(value)}`);
}
