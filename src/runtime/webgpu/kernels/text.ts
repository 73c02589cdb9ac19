/** Helpers for writing WGSL. */

/** The components of a vector. */
export const NAMES = ['x', 'y', 'z', 'w'] as const;

/** The lines of 0, 1, .. */
export function each(count: number, line: (at: number) => string, between = '\n'): string {
  return Array.from({ length: count }, (_, at) => line(at)).join(between);
}
