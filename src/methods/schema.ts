/** Params that several methods have. */
import * as valibot from 'valibot';

/** A number that float32, the type of the kernels, can hold. */
export function float32() {
  return valibot.check((value: number) => Number.isFinite(Math.fround(value)));
}

interface Limits<T> {
  readonly least?: number;
  readonly above?: number;
  readonly most?: number;
  readonly below?: number;
  /** The value where the param is left out; default: undefined. */
  readonly preset?: T;
}

/** A param that may be left out, and what it is then. */
type Optional<T, Preset> = valibot.OptionalSchema<valibot.GenericSchema<T>, Preset extends T ? T : undefined>;

function limited<Preset extends number | undefined>(
  first: valibot.GenericSchema<number>,
  description: string,
  { least, above, most, below, preset }: Limits<Preset>,
): Optional<number, Preset> {
  const actions = [
    least !== undefined && valibot.minValue<number, number>(least),
    above !== undefined && valibot.gtValue<number, number>(above),
    most !== undefined && valibot.maxValue<number, number>(most),
    below !== undefined && valibot.ltValue<number, number>(below),
    valibot.description<number, string>(description),
  ].filter((action) => action !== false);
  const schema = valibot.pipe(first, ...(actions as [valibot.DescriptionAction<number, string>]));
  return valibot.optional(schema, preset) as unknown as Optional<number, Preset>;
}

/** A number that float32 can hold. */
export function number<const Preset extends number | undefined = undefined>(
  description: string,
  limits: Limits<Preset> = {},
): Optional<number, Preset> {
  return limited(valibot.pipe(valibot.number(), float32()), description, limits);
}

/** A whole number. */
export function whole<const Preset extends number | undefined = undefined>(
  description: string,
  limits: Limits<Preset> = {},
): Optional<number, Preset> {
  return limited(valibot.pipe(valibot.number(), valibot.integer()), description, limits);
}

/** The seed of random numbers. */
export const seed = (description: string, preset = 0) =>
  valibot.optional(valibot.pipe(valibot.number(), valibot.safeInteger(), valibot.description(description)), preset);

/** One of some words. */
export function choice<const Word extends string, Preset extends Word | undefined = undefined>(
  words: readonly Word[],
  description: string,
  preset?: Preset,
): Optional<Word, Preset> {
  const schema = valibot.pipe(valibot.picklist(words), valibot.description(description));
  return valibot.optional(schema, preset) as unknown as Optional<Word, Preset>;
}

/** True or false. */
export function flag<Preset extends boolean | undefined = undefined>(
  description: string,
  preset?: Preset,
): Optional<boolean, Preset> {
  const schema = valibot.pipe(valibot.boolean(), valibot.description(description));
  return valibot.optional(schema, preset) as unknown as Optional<boolean, Preset>;
}

export const causal = flag('a query sees no key after its own position', false);

export const scale = number('factor on the scores; else 1 / sqrt(d)');

/** One value for all spatial axes, or a list of one for each. */
export function perAxis<const Item extends valibot.GenericSchema<number> | valibot.GenericSchema<boolean>>(
  item: Item,
  description: string,
) {
  return valibot.pipe(
    valibot.union([item, valibot.pipe(valibot.array(item), valibot.minLength(1), valibot.maxLength(3))]),
    valibot.description(description),
  );
}
