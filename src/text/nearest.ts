/** The word that another one was probably meant to be, if some differ from it by few letters. */
export function nearestWord(word: string, words: readonly string[]): string | undefined {
  const [nearest] = words
    .map((each) => ({ each, changes: changesBetween(word, each) }))
    .filter(({ each, changes }) => changes <= Math.max(word.length, each.length) / 3)
    .sort((a, b) => a.changes - b.changes);
  return nearest?.each;
}

/** Letters to be put in, taken out or replaced. */
function changesBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++)
      next.push(
        Math.min((row[j] as number) + Number(a[i] !== b[j]), (row[j + 1] as number) + 1, (next[j] as number) + 1),
      );
    row = next;
  }
  return row[b.length] as number;
}
