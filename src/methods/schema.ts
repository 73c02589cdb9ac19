/** Params that several methods have. */
import * as valibot from 'valibot';

/** A number that float32, in which kernels compute, can hold. */
export function float32() {
  return valibot.check((value: number) => Number.isFinite(Math.fround(value)));
}

export const causal = valibot.optional(
  valibot.pipe(valibot.boolean(), valibot.description('a query sees no key after its own position')),
  false,
);

export const scale = valibot.optional(
  valibot.pipe(valibot.number(), float32(), valibot.description('factor on the scores; else 1 / sqrt(d)')),
);

/** A whole number, of at least 0 unless told otherwise. */
export function count(description: string, least = 0) {
  return valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(least), valibot.description(description));
}

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
