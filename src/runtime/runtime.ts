import { Runtime } from '../tensor/tensor';
import type { Backend } from './backend';
import { Calls } from './calls';

export { Runtime };

/** A runtime whose calls a backend computes. */
export const runtimeOn = (backend: Backend): Runtime => new Runtime(backend, new Calls(backend));
