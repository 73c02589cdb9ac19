/** How many states a format has once its repetitions are written out, estimated before they are. */

const REPEAT = /^\{(\d+)(?:,(\d*))?\}/;
/** What a list of optional things costs: each may be the first behind each other. */
const optional = (count: number) => count + Math.ceil(count ** 2 / 16);
/** Values, of which schemas say nothing further. */
const VALUES = new Set(['enum', 'const', 'default', 'examples', 'description', 'title']);
const COUNTS = /^(?:min|max)(?:Length|Items|Properties|Contains)$/;

/** Of a schema, whose parts are rules of their own, so that only what patterns nest multiplies. */
export function statesOfSchema(schema: unknown): number {
  if (Array.isArray(schema)) return schema.reduce((sum: number, each) => sum + statesOfSchema(each), 0);
  if (typeof schema !== 'object' || schema === null) return 1;
  let states = 1;
  for (const [key, value] of Object.entries(schema)) {
    if (COUNTS.test(key) && typeof value === 'number') states += value;
    else if (key === 'pattern' && typeof value === 'string') states += statesOfGrammar(value, true);
    else if (VALUES.has(key)) states += JSON.stringify(value).length / 8;
    else states += statesOfSchema(value);
    if (key === 'patternProperties')
      for (const pattern of Object.keys(value ?? {})) states += statesOfGrammar(pattern, true);
    if (key === 'properties') states += optional(Object.keys(value ?? {}).length - lengthOf(schema, 'required'));
  }
  return Math.ceil(states);
}

const lengthOf = (schema: object, name: string) => (schema as Record<string, { length?: number }>)[name]?.length ?? 0;

/** Of a grammar in EBNF, or of a regular expression: atoms, each as often as the repetitions around it say. */
export function statesOfGrammar(text: string, isPattern = false): number {
  const open = [0];
  let atom = 0;
  /** The last atom is part of what is open. */
  const add = (states: number) => {
    open.push((open.pop() as number) + atom);
    atom = states;
  };
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] as string;
    const [repeat, least, most] = REPEAT.exec(text.slice(at, at + 24)) ?? [];
    if (repeat !== undefined) {
      atom *= Math.max(1, Number(most || least));
      at += repeat.length - 1;
    } else if (letter === '(') {
      add(0);
      open.push(0);
    } else if (letter === ')' && open.length > 1) {
      add(0);
      atom = open.pop() as number;
    } else if (letter === '[') {
      const end = endOf(text, at, ']');
      add(1);
      at = end;
    } else if (letter === '#' && !isPattern) at = lineEnd(text, at);
    else if (letter === '"' && !isPattern) {
      const end = endOf(text, at, '"');
      add(Math.max(1, end - at - 1));
      at = end;
    } else if (letter === '\\') {
      add(1);
      at++;
    } else if (isPattern || /[\w.-]/.test(letter)) {
      // A name of a rule is one atom.
      const [name = letter] = isPattern ? [letter] : (/^[\w.-]+/.exec(text.slice(at, at + 256)) ?? []);
      add(1);
      at += name.length - 1;
    }
  }
  add(0);
  return open.reduce((a, b) => a + b, 0);
}

const lineEnd = (text: string, from: number) => (text.indexOf('\n', from) + 1 || text.length + 1) - 1;

/** Where what begins at `from` ends. */
function endOf(text: string, from: number, end: string): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === end) return at;
  }
  return text.length;
}
