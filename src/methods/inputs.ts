/** Checks of the inputs of methods and models. */
import { checkKnown } from '../check';
import { checkTensors, commonRuntime } from '../ops/check';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';

/** What is declared of inputs, in letters by name. */
export interface Declared {
  readonly name: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly optional?: Readonly<Record<string, string>> | undefined;
}

/** The runtime of the inputs; throws unless all that are required are there, under known names, and are tensors of one runtime. */
export function runtimeOf({ name, inputs, optional }: Declared, given: object): Runtime {
  checkKnown('inputs', given, Object.keys({ ...inputs, ...optional }), (other) => `${name} has no input '${other}'`);
  const values = given as Readonly<Record<string, Tensor | undefined>>;
  const required = Object.keys(inputs).map((each) => [each, values[each]]);
  const all = Object.entries(values).filter(([, tensor]) => tensor !== undefined);
  const tensors = Object.fromEntries([...required, ...all]) as Record<string, Tensor>;
  checkTensors(tensors);
  return commonRuntime(tensors);
}
