import { inject, test } from 'vitest';
import { type Need, NOT_TESTED } from './needs';

/** Whether this machine has what some tests of a file need; if not, a skipped test says so, and `skipped.ts` at the end. */
export function has(need: Need): boolean {
  const missing = inject('missing')[need];
  if (missing) test.skip(NOT_TESTED + missing);
  return !missing;
}
