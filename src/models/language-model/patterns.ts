/** Regular expressions of strangers, which may take for ever where they repeat what has several ways to match one text. */

const REPETITION = /^(?:[*+?]|\{(\d+)(?:,(\d*))?\})/;
/** Repetitions without end that may follow each other, as each multiplies the time by the length of a text. */
const MOST_ENDLESS = 3;

interface Group {
  /** Whether it matches one text in several ways, or several texts: repetitions that vary, and alternatives. */
  varies: boolean;
  /** Of the alternative that is read. */
  endless: number;
  /** The most of an alternative. */
  most: number;
}

/** Why a pattern may take for ever; undefined if it cannot. It stays linear in the pattern's length. */
export function faultOfPattern(pattern: string): string | undefined {
  const open: Group[] = [{ varies: false, endless: 0, most: 0 }];
  const current = () => open.at(-1) as Group;
  /** The group that has just ended. */
  let last: Group | undefined;
  for (let at = 0; at < pattern.length; ) {
    const letter = pattern[at] as string;
    const [whole, least, most = least] = REPETITION.exec(pattern.slice(at, at + 24)) ?? [];
    if (whole !== undefined) {
      const isEndless = letter === '*' || letter === '+' || most === '';
      const isOnce = letter === '?' || (!isEndless && Number(most) <= 1);
      if (last?.varies && !isOnce) return 'repeats a part that has alternatives or repetitions itself';
      if (isEndless && ++current().endless > MOST_ENDLESS)
        return `has more than ${MOST_ENDLESS} endless repetitions in a row`;
      if (isEndless || letter === '?' || least !== most) current().varies = true;
      at += whole.length;
      // It may be lazy or possessive.
      if (/[?+]/.test(pattern[at] ?? '')) at++;
      last = undefined;
      continue;
    }
    last = undefined;
    if (letter === '(') open.push({ varies: false, endless: 0, most: 0 });
    else if (letter === '|') {
      const group = current();
      group.varies = true;
      group.most = Math.max(group.most, group.endless);
      group.endless = 0;
    } else if (letter === ')' && open.length > 1) {
      last = open.pop() as Group;
      current().varies ||= last.varies;
      current().endless += Math.max(last.most, last.endless);
      if (current().endless > MOST_ENDLESS) return `has more than ${MOST_ENDLESS} endless repetitions in a row`;
    } else if (letter === '[') at = endOfClass(pattern, at);
    else if (letter === '\\') {
      at++;
      if (/[1-9k]/.test(pattern[at] ?? '')) return 'refers to what it matched before';
      const end = /^[pP]\{/.test(pattern.slice(at, at + 2)) ? pattern.indexOf('}', at) : at;
      at = end < 0 ? pattern.length : end;
    }
    at++;
    // What stands behind a bracket says what kind of group it is.
    if (letter === '(' && pattern[at] === '?') at = pattern.slice(at).search(/[:=!>]|$/) + at + 1;
  }
  return undefined;
}

/** Where a class of characters ends, which may hold others. */
function endOfClass(pattern: string, from: number): number {
  for (let at = from + 1, depth = 1; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++;
    else if (pattern[at] === '[') depth++;
    else if (pattern[at] === ']' && --depth === 0) return at;
  }
  return pattern.length;
}
