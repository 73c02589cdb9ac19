/** Every method of the library, by its name. */
import { show } from '../check';
import { ParameterError } from '../errors';
import { nearestWord } from '../text/nearest';
import type { Method } from './define';
import * as declared from './published';

type Declared = (typeof declared)[keyof typeof declared];
type ByName = { readonly [Name in Declared['name']]: Extract<Declared, { readonly name: Name }> };

export { baseline } from './baseline';

/** All methods of the library, by family and name: `dense`, which the others are compared with, comes first. */
export const methods: readonly Method[] = Object.values<Method>(declared).sort(
  (a, b) =>
    Number(b.family === 'dense') - Number(a.family === 'dense') ||
    a.family.localeCompare(b.family) ||
    a.name.localeCompare(b.name),
);

/**
 * The library's method of that name, with the types of its declaration where the name is a literal.
 *
 * @throws {ParameterError} another name; it lists the known ones
 */
export function findMethod<Name extends keyof ByName>(name: Name): ByName[Name];
export function findMethod(name: string): Method;
export function findMethod(name: string): Method {
  const method = methods.find((each) => each.name === name);
  if (method) return method;
  const names = methods.map((each) => each.name);
  const meant = typeof name === 'string' ? nearestWord(name.slice(0, 100), names) : undefined;
  const question = meant === undefined ? '' : `: did you mean ${meant}?`;
  throw new ParameterError(`method must be one of ${names.join(', ')}, got ${show(name)}${question}`);
}
