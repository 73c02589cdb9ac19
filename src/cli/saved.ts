/** Files that an earlier run left: errors name them. */
import { labelled } from '../check';
import { ParseError } from '../errors';
import { readSafetensors, readSafetensorsMetadata } from '../io';

export function parsedJson(path: string, given: Uint8Array | string): unknown {
  try {
    return JSON.parse(typeof given === 'string' ? given : new TextDecoder().decode(given));
  } catch (error) {
    throw new ParseError(`${path} is not JSON: ${(error as Error).message}`);
  }
}

/** The tensors of a file, and what it says beside them. */
export function savedTensors(path: string, bytes: Uint8Array) {
  try {
    return { tensors: readSafetensors(bytes), metadata: readSafetensorsMetadata(bytes) };
  } catch (error) {
    throw labelled(path, error);
  }
}
