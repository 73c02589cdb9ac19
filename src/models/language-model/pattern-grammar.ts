/** Regular expressions as grammars in EBNF of what stands between the quotes of a JSON string. */
import { ParameterError } from '../../errors';
import { choice, literal } from './grammar-text';

/** Code points: some, and perhaps all beyond ASCII. */
interface Points {
  readonly some: ReadonlySet<number>;
  readonly isBeyond: boolean;
}

const ASCII = Array.from({ length: 128 }, (_, point) => point);
/** Letters beyond ASCII that a class may list: classes of EBNF itself know ranges of ASCII alone. */
const MOST_LETTERS = 512;
const MOST_GROUPS = 100;
const ofAscii = (isIn: RegExp): Points => ({
  some: new Set(ASCII.filter((point) => isIn.test(String.fromCharCode(point)))),
  isBeyond: false,
});
const SETS: Record<string, Points> = Object.fromEntries(
  ['d', 'w', 's'].map((name) => [name, ofAscii(RegExp(`\\${name}`))]),
);
const CONTROLS: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };
/** What two characters stand for in a JSON string. */
const ESCAPES: Record<string, number> = { '\\"': 34, '\\\\': 92, '\\n': 10, '\\t': 9, '\\r': 13, '\\b': 8, '\\f': 12 };
const isBare = (point: number) => point >= 32 && point !== 34 && point !== 92;
const QUANTIFIER = /^(?:[*+?]|\{\d+(?:,\d*)?\})/;

/** Any character of a JSON string that is written as it is. */
export const PLAIN = '[^"\\\\\\x00-\\x1f]';
/** Any character of a JSON string, in any way that it can be written. */
export const CHARACTER = `(${PLAIN} | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4}))`;

/** @throws {ParameterError} a pattern that is none, or that says what a grammar cannot; `place` is where it stands */
export function patternGrammar(pattern: string, place: string): string {
  const refuse = (why: string): never => {
    throw new ParameterError(`schema of format: ${place} must be a pattern that can be kept: ${why}, got ${pattern}`);
  };
  try {
    new RegExp(pattern);
  } catch (error) {
    refuse((error as Error).message);
  }
  return new Pattern(pattern, refuse).choice(true);
}

class Pattern {
  readonly #text: string;
  readonly #refuse: (why: string) => never;
  #at = 0;
  #depth = 0;

  constructor(text: string, refuse: (why: string) => never) {
    this.#text = text;
    this.#refuse = refuse;
  }

  /** The whole begins and ends with anything, unless its anchors say otherwise. */
  choice(isWhole: boolean): string {
    const parts: string[][] = [];
    do {
      const terms = isWhole && !this.#take('^') ? [`${CHARACTER}*`] : [];
      let isEnded = !isWhole;
      while (this.#at < this.#text.length && !/^[|)]/.test(this.#rest)) {
        if (isEnded && isWhole) this.#refuse('an anchor within');
        if (isWhole && this.#take('$')) isEnded = true;
        else terms.push(this.#term());
      }
      parts.push([...terms, ...(isEnded ? [] : [`${CHARACTER}*`])]);
    } while (this.#take('|'));
    return choice(parts);
  }

  get #rest(): string {
    return this.#text.slice(this.#at);
  }

  #take(text: string): boolean {
    const isThere = this.#text.startsWith(text, this.#at);
    if (isThere) this.#at += text.length;
    return isThere;
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    const found = pattern.exec(this.#rest) ?? undefined;
    this.#at += found?.[0].length ?? 0;
    return found;
  }

  #term(): string {
    const atom = this.#atom();
    const [quantifier = ''] = this.#match(QUANTIFIER) ?? [];
    // As much or as little as possible: the strings are the same.
    if (quantifier) this.#take('?');
    return atom + quantifier;
  }

  #atom(): string {
    if (this.#take('(')) {
      if (!this.#take('?:') && this.#rest.startsWith('?') && !this.#match(/^\?<[^=!>]*>/))
        this.#refuse('it looks around');
      if (++this.#depth > MOST_GROUPS) this.#refuse(`groups deeper than ${MOST_GROUPS}`);
      const inner = this.choice(false);
      this.#depth--;
      this.#take(')');
      return `(${inner})`;
    }
    if (this.#take('[')) return this.#set();
    if (this.#take('.')) return PLAIN;
    if (/^[$^]/.test(this.#rest)) this.#refuse('an anchor within');
    return this.#written(this.#points());
  }

  /** What stands in brackets. Where it says what it is not, it is nothing that has to be escaped. */
  #set(): string {
    const isNegated = this.#take('^');
    const some = new Set<number>();
    let isBeyond = false;
    while (!this.#take(']')) {
      const first = this.#points();
      const [from = 0] = first.some;
      const last = first.some.size === 1 && this.#match(/^-(?!\])/) ? this.#points() : undefined;
      const [to = 0] = last?.some ?? [];
      if (last?.some.size === 1) {
        if (to - Math.max(from, 127) > MOST_LETTERS)
          this.#refuse(`a class of over ${MOST_LETTERS} letters beyond ASCII`);
        for (let point = from; point <= to; point++) some.add(point);
      } else for (const point of [...first.some, ...(last ? [45, ...last.some] : [])]) some.add(point);
      isBeyond ||= first.isBeyond || (last?.isBeyond ?? false);
    }
    if (!isNegated) return this.#written({ some, isBeyond });
    if ([...some].some((point) => point > 127)) this.#refuse('a class of all but letters beyond ASCII');
    return plainBut(some, !isBeyond) || this.#refuse('a class of nothing');
  }

  #written(points: Points): string {
    return written(points) || this.#refuse('a class of nothing');
  }

  /** One character, or a class of them by its letter. */
  #points(): Points {
    const one = (point: number): Points => ({ some: new Set([point]), isBeyond: false });
    const [letter] = this.#match(/^./su) as RegExpExecArray;
    if (letter !== '\\') return one(letter?.codePointAt(0) as number);
    const [, x, u] = this.#match(/^(?:x([\da-f]{2})|u([\da-f]{4}))/i) ?? [];
    if (x ?? u) return one(Number.parseInt((x ?? u) as string, 16));
    const kind = this.#text[this.#at++] as string;
    if (/[dsw]/.test(kind)) return SETS[kind] as Points;
    const set = SETS[kind.toLowerCase()];
    if (set) return { some: new Set(plain(set.some)), isBeyond: true };
    if (kind in CONTROLS) return one(CONTROLS[kind] as number);
    if (/[\dBbcPpku]/.test(kind)) this.#refuse(`a \\${kind}`);
    return one(kind.codePointAt(0) as number);
  }
}

const plain = (but: ReadonlySet<number>) => ASCII.filter((point) => isBare(point) && !but.has(point));

/** A character that is written as it is, and is none of these of ASCII; perhaps one beyond ASCII. */
export const plainBut = (but: ReadonlySet<number>, isBeyond: boolean) =>
  written({ some: new Set(plain(but)), isBeyond });

/** As they are, or by two characters where they have to be; empty if none can be. */
function written({ some, isBeyond }: Points): string {
  const escapes = Object.entries(ESCAPES).filter(([, point]) => some.has(point));
  const bare = ASCII.filter((point) => isBare(point) && some.has(point));
  const letters = isBeyond ? [] : [...some].filter((point) => point > 127);
  const left = ASCII.filter((point) => !bare.includes(point));
  const all = [
    ...(isBeyond ? [`[^${left.map(code).join('')}]`] : bare.length > 0 ? [`[${bare.map(code).join('')}]`] : []),
    ...letters.map((point) => literal(String.fromCodePoint(point))),
    ...escapes.map(([text]) => literal(text)),
  ];
  return all.length > 1 ? `(${all.join(' | ')})` : (all[0] ?? '');
}

const code = (point: number) => `\\x${point.toString(16).padStart(2, '0')}`;
