/** Parts of grammars in EBNF, as XGrammar has it. */

export const literal = (text: string) => JSON.stringify(text);

/** So many times, without a bound if the most is infinite. */
export function repeated(text: string, least: number, most: number): string {
  if (most <= 0) return '';
  const times = most < Number.POSITIVE_INFINITY ? `{${Math.max(0, least)},${most}}` : least > 0 ? `{${least},}` : '*';
  return `(${text})${times}`;
}

/** Sequences of terms of which one comes, so written that no two begin alike: XGrammar takes more than they say where they do. */
export function choice(sequences: readonly (readonly string[])[]): string {
  const [first = []] = sequences;
  let at = 0;
  while (at < first.length && sequences.every((terms) => terms[at] === first[at])) at++;
  const heads = new Map<string, (readonly string[])[]>();
  for (const terms of sequences) {
    const [head] = terms.slice(at, at + 1);
    if (head !== undefined) heads.set(head, [...(heads.get(head) ?? []), terms.slice(at)]);
  }
  const group = heads.size > 0 ? [`(${[...heads.values()].map(choice).join(' | ')})`] : [];
  const isOptional = group.length > 0 && sequences.some((terms) => terms.length === at);
  return [...first.slice(0, at), ...group].join(' ') + (isOptional ? '?' : '') || '""';
}
