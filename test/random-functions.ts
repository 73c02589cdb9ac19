/** Random functions over indices, as source, for the tests of what compiles them. */
import fc from 'fast-check';

export interface Choices {
  /** Names of numbers. */
  readonly numbers: readonly string[];
  /** How an array is read at an index, such as `c.doc[$]`. */
  readonly arrays: readonly string[];
  /** How an array of booleans is read. */
  readonly flags: readonly string[];
  readonly unary: readonly string[];
  readonly binary: readonly string[];
  readonly constants: fc.Arbitrary<number>;
}

/** The source of a number and of a boolean expression. */
export function randomSources(choices: Choices): Record<'number' | 'boolean', fc.Arbitrary<string>> {
  const { numbers, arrays, flags, unary, binary, constants } = choices;
  const filled = (templates: readonly string[], ...args: fc.Arbitrary<string>[]) =>
    fc
      .tuple(fc.constantFrom(...templates), ...args)
      .map(([template, ...values]) => values.reduce((text, value) => text.replace('$', () => value), template));
  const { number, boolean } = fc.letrec<{ number: string; boolean: string }>((tie) => {
    const leaf = fc.oneof(fc.constantFrom(...numbers), constants.map(literal));
    const [x, b] = [tie('number'), tie('boolean')];
    const compare = filled(
      ['<', '<=', '>', '>=', '===', '!=='].map((operator) => `($ ${operator} $)`),
      x,
      x,
    );
    return {
      number: fc.oneof(
        { maxDepth: 4, depthSize: 'medium' },
        leaf,
        filled(unary, x),
        filled(binary, x, x),
        filled(['($ ? $ : $)'], b, x, x),
        ...(arrays.length > 0 ? [filled(arrays, x)] : []),
      ),
      boolean: fc.oneof(
        { maxDepth: 4, depthSize: 'medium' },
        compare,
        filled(['($ && $)', '($ || $)'], b, b),
        filled(['!$'], b),
        ...(flags.length > 0 ? [filled(flags, x)] : []),
      ),
    };
  });
  return { number, boolean };
}

export const ARITHMETIC = ['+', '-', '*', '/', '%'].map((operator) => `($ ${operator} $)`);
export const BITS = ['&', '|', '^', '<<', '>>', '>>>'].map((operator) => `($ ${operator} $)`);
export const EXTREMES = ['Math.min($, $)', 'Math.max($, $)'];

/** The function of that source and parameters. */
export function functionOf(parameters: string, source: string): (...args: unknown[]) => unknown {
  return new Function(`return (${parameters}) => ${source}`)();
}

function literal(value: number): string {
  return value < 0 || Object.is(value, -0) ? `(${value < 0 ? value : '-0'})` : `${value}`;
}
