/**
 * The angles of rotary position embeddings, in float64.
 * Source: Su et al. 2021, RoFormer, arXiv 2104.09864. Scaled frequencies: Chen et al. 2023, position interpolation, arXiv
 * 2306.15595 (linear); Peng et al. 2023, YaRN, arXiv 2309.00071; Llama 3.1's as in its published code.
 */
import { BoundedMap } from '../../bounded-map';
import { checkRecord, checkWhole } from '../../check';
import { ParameterError } from '../../errors';
import { LARGEST_HEAD } from '../../runtime/cpu/params';
import { choice, number, type Options, optional, record, type Setting, setting, whole } from '../define';

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
    }
  /** What each pair's frequency is divided by, as GGUF has Llama 3's, and what queries and keys are multiplied by; default 1. */
  | { readonly type: 'factors'; readonly factors: readonly number[]; readonly attentionFactor?: number | undefined };

const factor = number({ least: 1 });
const originalLength = whole({ least: 1 });
const positive = (fallback?: number) =>
  setting<number>('a positive number', (value) => Number.isFinite(value) && value > 0, fallback);

const areFactors = (list: readonly number[]) =>
  Array.isArray(list) && list.every((value) => typeof value === 'number' && Number.isFinite(value) && value > 0);

/** The settings of each type of scaling. */
export const SCALINGS = {
  linear: record({ factor }),
  llama3: record({ factor, lowFrequencyFactor: positive(), highFrequencyFactor: positive(), originalLength }),
  yarn: record({
    factor,
    originalLength,
    betaFast: positive(32),
    betaSlow: positive(1),
    attentionFactor: optional(positive()),
  }),
  factors: record({
    factors: setting<readonly number[]>('positive numbers', areFactors),
    attentionFactor: optional(positive()),
  }),
};
const TYPES = Object.keys(SCALINGS);
const type = setting<RopeScaling['type']>(`one of ${TYPES.join(', ')}`, (value) => TYPES.includes(value));

type Scaling = {
  [Type in keyof typeof SCALINGS]: { readonly type: Type } & ReturnType<(typeof SCALINGS)[Type]['check']>;
}[keyof typeof SCALINGS];

const scaling: Setting<RopeScaling, Scaling | undefined> = {
  expected: 'an object of type linear, llama3, yarn or factors',
  check(name, value, ...rest) {
    if (value === undefined) return undefined;
    checkRecord(name, value);
    const { type: given, ...parts } = value;
    const checked = type.check(`type of ${name}`, given, ...rest);
    const found = { type: checked, ...SCALINGS[checked].check(name, parts as never, ...rest) } as Scaling;
    if (found.type === 'llama3') checkAbove(name, found, 'highFrequencyFactor', 'lowFrequencyFactor');
    if (found.type === 'yarn' && found.betaFast !== found.betaSlow) checkAbove(name, found, 'betaFast', 'betaSlow');
    return found;
  },
};

function checkAbove<Name extends string>(
  what: string,
  values: Readonly<Record<Name, number>>,
  high: Name,
  low: Name,
): void {
  if (values[high] > values[low]) return;
  throw new ParameterError(`${high} of ${what} must be above ${low} ${values[low]}, got ${values[high]}`);
}

/** Even, up to d. */
const dimensions: Setting<number> = {
  expected: 'an even integer from 2 to d',
  check(name, value, { d = 0 }) {
    const own = value === undefined ? 'd, of which all dimensions are rotated,' : name;
    const dimensions = value === undefined ? d : value;
    checkWhole(own, dimensions, 2, Math.min(d, LARGEST_HEAD));
    if (dimensions % 2 !== 0) throw new ParameterError(`${own} must be even, got ${dimensions}`);
    return dimensions;
  },
};

/** Which pairs are rotated, and how fast. */
export const ropeSettings = {
  /** Pair j of so many dimensions turns by theta^(-2 j / dimensions) radians from one position to the next; default 10000. */
  theta: number({ least: 1 }, 10_000),
  /**
   * Which elements are pair j: `'half'`, j and j + dimensions / 2 (default; Llama in Hugging Face's layout), or
   * `'interleaved'`, 2 j and 2 j + 1 (GPT-J, and Llama's own checkpoints).
   */
  layout: choice('half', 'half', 'interleaved'),
  /** How many elements of each head are rotated, the first ones; an even number up to d, the default. */
  dimensions,
  /** How frequencies are changed for contexts longer than those of training. */
  scaling,
};

export interface RopeSettings extends Options<typeof ropeSettings> {}

export const ropeSetting = record(ropeSettings);
type Checked = ReturnType<typeof ropeSetting.check>;

export interface Rotation {
  /** Quarter turns from one position to the next, for each pair. */
  readonly quarters: Float64Array;
  readonly isInterleaved: boolean;
  /** What is rotated is multiplied by it. */
  readonly amplitude: number;
}

const KEPT = 64;
const known = new BoundedMap<string, Rotation>(KEPT);

/** The one rotation by settings that were checked. */
export function rotationOf({ theta, layout, dimensions, scaling }: Checked): Rotation {
  return known.get(`${theta} ${layout} ${dimensions} ${scaling ? JSON.stringify(scaling) : ''}`, () => ({
    quarters: frequencies(theta, dimensions, scaling).map((radians) => radians / (Math.PI / 2)),
    isInterleaved: layout === 'interleaved',
    amplitude: amplitudeOf(scaling),
  }));
}

/** Radians from one position to the next, for each pair. */
function frequencies(theta: number, dimensions: number, scaling: Scaling | undefined): Float64Array {
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
    case 'factors': {
      const { factors } = scaling;
      if (factors.length !== own.length)
        throw new ParameterError(`factors of rope must be ${own.length}, one for each pair, got ${factors.length}`);
      return own.map((frequency, j) => frequency / (factors[j] as number));
    }
    case 'yarn': {
      const { factor, originalLength, betaFast, betaSlow } = scaling;
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

function amplitudeOf(scaling: Scaling | undefined): number {
  if (scaling?.type === 'factors') return scaling.attentionFactor ?? 1;
  return scaling?.type === 'yarn' ? (scaling.attentionFactor ?? 0.1 * Math.log(scaling.factor) + 1) : 1;
}
