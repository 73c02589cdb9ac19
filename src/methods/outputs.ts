/**
 * What methods and models return: tensors by name, and promises of tensors for outputs whose extents the data decides, such as
 * boxes that were found. A promised output takes part in no gradient, and whoever awaits its tensor disposes it.
 */
import { checkRecord, show } from '../check';
import { ParameterError } from '../errors';
import { Tensor } from '../tensor/tensor';

export type Output = Tensor | Promise<Tensor>;

/** By name; those that some params do not give may be undefined. */
export type Results = Readonly<Record<string, Output | undefined>>;

/** Throws unless the outputs of `promised` names, where given, are promises, and all others are not. */
export function checkResults(what: string, promised: readonly string[], results: object): void {
  checkRecord(`what ${what} returns`, results);
  for (const [name, output] of Object.entries(results)) {
    if (output instanceof Promise) {
      // Who does not await it shall not hear of its failure: an unhandled rejection would end the process.
      output.catch(() => undefined);
      if (promised.includes(name)) continue;
      throw new ParameterError(`${name} of ${what} is not declared as promised, got a promise`);
    }
    if (promised.includes(name) && output !== undefined)
      throw new ParameterError(`${name} of ${what} must be a promise of a tensor, got ${show(output)}`);
  }
}

/** All tensors by name, once those that are promised are there; if one fails, the others are disposed. */
export async function settled(results: Results): Promise<Record<string, Tensor>> {
  const given = Object.entries(results).filter(([, output]) => output !== undefined);
  try {
    return Object.fromEntries(await Promise.all(given.map(async ([name, output]) => [name, (await output) as Tensor])));
  } catch (error) {
    disposeResults(results);
    throw error;
  }
}

/** Disposes results that nobody needs, promised ones once they are there. */
export function disposeResults(results: Results): void {
  for (const output of Object.values(results)) {
    if (output instanceof Tensor) output.dispose();
    else output?.then((tensor) => tensor.dispose()).catch(() => undefined);
  }
}
