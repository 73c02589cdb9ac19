/** Whether a name is chosen by a prefix, or by a glob: `*` is any characters, dots included, `?` is one. */
export function isSelected(name: string, pattern: string): boolean {
  if (!/[*?]/.test(pattern)) return name.startsWith(pattern);
  let [at, next, star, resume] = [0, 0, -1, 0];
  // Only the last star is ever given more characters, so that no pattern takes long.
  while (at < name.length) {
    if (pattern[next] === '*') [star, resume] = [next++, at];
    else if (pattern[next] === '?' || pattern[next] === name[at]) [at, next] = [at + 1, next + 1];
    else if (star !== -1) [at, next, resume] = [resume + 1, star + 1, resume + 1];
    else return false;
  }
  return /^\**$/.test(pattern.slice(next));
}
