import { statSync } from 'node:fs';
import { ParameterError } from '../errors';

/** Throws unless there is such a file. */
export function checkFile(what: string, path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isFile())
    throw new ParameterError(`${what} must be a file, got '${path}', which ${found ? 'is none' : 'does not exist'}`);
}
