/** Values as they are written in programs. */
import { printable } from './printable';

/** What JSON can hold, as one writes it in a program. */
export function literal(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return printable(JSON.stringify(value));
  const entries = Object.entries(value).map(([name, each]) => `${nameOf(name)}: ${literal(each)}`);
  return entries.length > 0 ? `{ ${entries.join(', ')} }` : '{}';
}

/** `__proto__` is no name like others, even in quotes. */
const nameOf = (name: string) => (/^[a-z]\w*$/i.test(name) ? name : `[${literal(name)}]`);
