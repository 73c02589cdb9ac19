import { show } from '../check';
import { ParameterError } from '../errors';
import { Runtime } from '../runtime/runtime';

export function checkRuntime(runtime: Runtime): void {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
}
