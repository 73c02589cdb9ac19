/** Methods by the names that the command line takes: those of the library, and those of the caller's modules. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ParameterError } from '../errors';
import { checkMethod, type Method } from '../methods/define';
import { findMethod } from '../methods/registry';
import { maskNamed } from '../methods/sparse/longca';

/** How the help of options describes a method. */
export const METHOD_OR_MODULE =
  'a name, also that of a mask of longca, or the path of a module whose default export is a method';

const MODULE = /[\\/]|\.[cm]?[jt]s$/;

/** The method of that name, or exact attention under the mask of LongCA-bench that has it. */
export const findMethodOrMask = (name: string): Method => maskNamed(name) ?? findMethod(name);

/**
 * The method or mask of that name, or, of a path such as `./mine.mjs`, the default export of that module, which runs.
 *
 * @throws {ParameterError} a name that is not known, a module that cannot be loaded, an export that is no method
 */
export async function readMethod(word: string): Promise<Method> {
  if (!MODULE.test(word)) return findMethodOrMask(word);
  const { default: method } = await import(pathToFileURL(resolve(word)).href).catch((error) => {
    throw new ParameterError(`${word} cannot be loaded: ${error instanceof Error ? error.message : error}`);
  });
  checkMethod(`the default export of ${word}`, method);
  return method;
}

/** The methods in a list with commas, each once. */
export async function readMethods(words: string): Promise<Method[]> {
  return [...new Set(await Promise.all(words.split(',').map((word) => readMethod(word.trim()))))];
}
