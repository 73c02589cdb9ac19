/** The result of a command that did its work, although some of its measurements failed. */
export class WithFailuresError extends Error {}

/** Help text of commands that take several measurements. */
export const WITH_FAILURES =
  '\nWhat fails costs its own row or claim, which says why. Exit code: 0 all was measured, 1 some of it failed, 2 bad input.';

/** Throws a WithFailuresError, for exit code 1, unless none of the `total` things, such as variants, failed. */
export function failIfAny(failed: readonly string[], total: number, things: string): void {
  if (failed.length === 0) return;
  throw new WithFailuresError(`${failed.length} of ${total} ${things} failed: ${failed.join(', ')}`);
}
