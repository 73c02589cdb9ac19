/** Objects whose insides are no concern of those who print them. */

const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/** Has consoles, debuggers and templates show the objects of a class by `toString()`; `name` is that of the class. */
export function describesItself({ prototype }: { readonly prototype: object }, name: string): void {
  Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
  Object.defineProperty(prototype, INSPECT, {
    value(this: object) {
      return this.toString();
    },
    configurable: true,
    writable: true,
  });
}
