/** The value of `key` in a map, made if it is not there. */
export function getOrMake<Key, Value extends NonNullable<unknown>>(
  map: { get(key: Key): Value | undefined; set(key: Key, value: Value): unknown },
  key: Key,
  make: () => Value,
): Value {
  const found = map.get(key);
  if (found !== undefined) return found;
  const value = make();
  map.set(key, value);
  return value;
}

/** A map that holds at most `limit` values and forgets the one unused for longest. */
export class BoundedMap<Key, Value> {
  #values = new Map<Key, Value>();

  constructor(readonly limit: number) {}

  /** The value of `key`, made if it is not there. */
  get(key: Key, make: () => Value): Value {
    const value = this.#values.has(key) ? (this.#values.get(key) as Value) : make();
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size > this.limit) this.#values.delete(this.#values.keys().next().value as Key);
    return value;
  }

  /** Forgets the value of `key` if it is this one. */
  delete(key: Key, value: Value): void {
    if (this.#values.get(key) === value) this.#values.delete(key);
  }
}
