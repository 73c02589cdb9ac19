import { printable } from './printable';

/** What went wrong, in one line. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return printable(String(error));
  return printable(error.message.replace(/\s+/g, ' ').trim() || error.name);
}
