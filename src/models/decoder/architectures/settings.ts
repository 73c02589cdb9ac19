/** Reads the settings of a `config.json`, and names those that are wrong. */
import { checkBoolean, checkWhole, show } from '../../../check';
import { ParameterError } from '../../../errors';
import type { Activation } from '../../../nn/activation';

/** As parsed from a file, under its names. */
export type DecoderConfig = Readonly<Record<string, unknown>>;

/** Layers, and heads of each: more than any published model has, and few enough to be described at once. */
export const [MOST_LAYERS, MOST_HEADS] = [1024, 1024];

/** As Hugging Face names them. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  relu: 'relu',
  sigmoid: 'sigmoid',
  none: 'none',
};

/** A setting that is null counts as left out; others are checked when they are read. */
export class Settings {
  constructor(readonly config: DecoderConfig) {}

  given<T>(name: string, usual: T): T {
    return (this.config[name] ?? usual) as T;
  }

  whole(name: string, usual?: number, least = 1, most?: number): number {
    const value = this.given(name, usual) as number;
    checkWhole(`${name} of config`, value, least, most);
    return value;
  }

  flag(name: string, usual = false): boolean {
    const value = this.given(name, usual);
    checkBoolean(`${name} of config`, value);
    return value;
  }

  /** Finite, and not negative. */
  number(name: string, usual: number): number {
    const value = this.given(name, usual);
    if (!(typeof value === 'number' && value >= 0 && Number.isFinite(value)))
      throw refusal(name, 'a finite number >= 0', value);
    return value;
  }

  /** Finite, and above 0. */
  positive(name: string, usual: number): number {
    const value = this.number(name, usual);
    if (value === 0) throw refusal(name, 'a positive number', value);
    return value;
  }

  /** A positive number; null for none, which is not the same as left out. */
  bound(name: string, usual: number | undefined): number | undefined {
    const given = this.config[name];
    if (given === null || (given === undefined && usual === undefined)) return undefined;
    return this.positive(name, usual ?? 0);
  }

  activation(name: string, usual: string): Activation {
    const value = this.given(name, usual);
    const names = Object.keys(ACTIVATIONS);
    if (!names.includes(value)) throw refusal(name, `one of ${names.join(', ')}`, value);
    return ACTIVATIONS[value] as Activation;
  }

  /** Throws if one of these settings has another value than the one with which it changes nothing. */
  refuse(harmless: DecoderConfig): void {
    for (const [name, value] of Object.entries(harmless))
      if (this.given(name, value) !== value)
        throw new ParameterError(`config has ${name} ${show(this.config[name])}, which is not supported`);
  }
}

export function refusal(name: string, expected: string, value: unknown): ParameterError {
  return new ParameterError(`${name} of config must be ${expected}, got ${show(value)}`);
}
