import { partOf } from '../nn/module';

/** What names in the file of a checkpoint begin with. */
export const [PARAMETERS, STATE] = ['parameters', 'optimizer'] as const;

/** The parameters in the file of a checkpoint, by their own names; what other files hold as it is. */
export function parametersIn<T>(file: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  const isCheckpoint = ['losses', 'gradientNorms', 'validation'].every((name) => Object.hasOwn(file, name));
  return isCheckpoint ? partOf(file, PARAMETERS) : file;
}
