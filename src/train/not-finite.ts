/** Where a number that is not finite came from. */
import type { Runtime } from '../runtime/runtime';
import { isFloat } from '../tensor/dtype';
import { toFloats } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import { mapLeaves } from '../tensor/structure';
import { Tensor } from '../tensor/tensor';

/**
 * The first of `inputs`, tensors in arrays and objects, and of the results of the ops that `work` calls in which a NaN is, or, if
 * there is none, an infinity; in words. Every result is read, so this takes its time.
 */
export async function firstNotFinite(
  runtime: Runtime,
  inputs: unknown,
  work: () => unknown,
): Promise<string | undefined> {
  const looks: Promise<{ readonly name: string; readonly holds: 'NaN' | 'infinity' | undefined }>[] = [];
  const look = (name: string, tensor: Tensor) => {
    if (isFloat(tensor.dtype)) looks.push(tensor.toHost().then((host) => ({ name, holds: worstOf(toFloats(host)) })));
  };
  mapLeaves(inputs, (leaf, path) => {
    if (leaf instanceof Tensor) look(path.replace(/^\./, ''), leaf);
  });
  let calls = 0;
  runtime.calls.watch(
    (op, outputs) => {
      calls++;
      for (const each of outputs)
        look(`${op} (call ${calls} of the step, with a result ${formatShape(each.shape)})`, each);
    },
    () => runtime.scope(() => void work()),
  );
  const found = await Promise.all(looks);
  for (const kind of ['NaN', 'infinity'])
    for (const { name, holds } of found) if (holds === kind) return `the first ${kind} is in ${name}`;
  return undefined;
}

function worstOf(values: ArrayLike<number>): 'NaN' | 'infinity' | undefined {
  let worst: 'infinity' | undefined;
  for (let at = 0; at < values.length; at++) {
    if (Number.isNaN(values[at])) return 'NaN';
    if (!Number.isFinite(values[at])) worst = 'infinity';
  }
  return worst;
}
