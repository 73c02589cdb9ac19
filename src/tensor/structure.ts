/** Tensors in arrays and plain objects, however deep, which are trees. */
import { Tensor } from './tensor';

export function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  return isBranch(value) ? Object.values(value).flatMap(tensorsIn) : [];
}

/** The same tree with what `map` gives for each leaf, a tensor or any other value, by its path such as `.layers[0].q`. */
export function mapLeaves(value: unknown, map: (leaf: unknown, path: string) => unknown, path = ''): unknown {
  if (Array.isArray(value)) return value.map((each, at) => mapLeaves(each, map, `${path}[${at}]`));
  if (!isBranch(value)) return map(value, path);
  const entries = Object.entries(value).map(([key, each]) => [key, mapLeaves(each, map, `${path}.${key}`)]);
  return Object.fromEntries(entries);
}

function isBranch(value: unknown): value is object {
  if (Array.isArray(value)) return true;
  return value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype;
}
