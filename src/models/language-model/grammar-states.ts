/** How many states a grammar has once its repetitions are written out, estimated before they are. */

const REPEAT = /^\{(\d+)(?:,(\d*))?\}/;

/** Atoms of a grammar in EBNF, each as often as the repetitions around it say. */
export function statesOfGrammar(text: string): number {
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
    } else if (letter === '#') at = lineEnd(text, at);
    else if (letter === '"') {
      const end = endOf(text, at, '"');
      add(Math.max(1, end - at - 1));
      at = end;
    } else if (letter === '\\') {
      add(1);
      at++;
    } else if (/[\w.-]/.test(letter)) {
      // A name of a rule is one atom.
      const [name = letter] = /^[\w.-]+/.exec(text.slice(at, at + 256)) ?? [];
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
