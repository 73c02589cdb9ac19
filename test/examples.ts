/** What an example says at its end that it prints. */
export function printedBy(source: string): string {
  const [, said] = source.split('\n// Prints:\n') as [string, string?];
  if (said === undefined) throw new Error('the example does not say what it prints');
  return said.replace(/^\/\/ ?/gm, '');
}
