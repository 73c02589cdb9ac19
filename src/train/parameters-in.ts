import { partOf } from '../nn/module';

/** The prefixes of names in a checkpoint's file. */
export const [PARAMETERS, STATE] = ['parameters', 'optimizer'] as const;

/** The parameters in a checkpoint's file by their own names; the content of other files as it is. */
export function parametersIn<T>(file: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  const isCheckpoint = ['losses', 'gradientNorms', 'validation'].every((name) => Object.hasOwn(file, name));
  return isCheckpoint ? partOf(file, PARAMETERS) : file;
}
