/** Trees of arrays and plain objects. */
import { partName } from '../check';
import { ParameterError } from '../errors';

/** Most levels of a tree, since it is walked recursively. */
const DEEPEST = 500;

/**
 * The same tree with `map` of each leaf, a tensor or any other value, and its unique path, such as `.layers[0].q`; `what` names
 * the value in error messages.
 *
 * @throws {ParameterError} for arrays and objects that contain themselves, or more than 500 levels of them
 */
export function mapLeaves<T>(
  value: T,
  map: (leaf: unknown, path: string) => unknown,
  what = 'a structure of tensors',
): T {
  const above: object[] = [];
  const visit = (value: unknown, path: string): unknown => {
    if (!isBranch(value)) return map(value, path);
    if (above.includes(value))
      throw new ParameterError(`${what} must be a tree of arrays and objects: ${path} is one that it lies in`);
    if (above.length === DEEPEST)
      throw new ParameterError(`${what} must be arrays and objects of at most ${DEEPEST} levels, got more`);
    above.push(value);
    const mapped = Array.isArray(value)
      ? value.map((each, at) => visit(each, partName(path, at)))
      : Object.fromEntries(Object.entries(value).map(([key, each]) => [key, visit(each, partName(path, key))]));
    above.pop();
    return mapped;
  };
  return visit(value, '') as T;
}

function isBranch(value: unknown): value is object {
  if (Array.isArray(value)) return true;
  return value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype;
}
