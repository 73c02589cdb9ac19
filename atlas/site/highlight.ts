/** Code as HTML whose comments, strings, words of the language and numbers have inks. */

const TOKENS =
  /(\/\/[^\n]*|\/\*[\s\S]*?\*\/|(?:^|(?<=\s))#[^\n]*)|('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)|\b(import|from|export|const|let|await|async|function|return|new|for|of|in|if|else|using|type|interface|extends|class|true|false|null|undefined|throw|try|catch)\b|\b(\d[\d_.]*(?:e[+-]?\d+)?)\b/g;
const KINDS = ['comment', 'string', 'word', 'number'];

/** Text within HTML. */
export const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

export function highlighted(code: string): string {
  let [html, end] = ['', 0];
  for (const found of code.matchAll(TOKENS)) {
    const kind = KINDS[found.slice(1).findIndex((group) => group !== undefined)];
    html += `${escaped(code.slice(end, found.index))}<span class="${kind}">${escaped(found[0])}</span>`;
    end = found.index + found[0].length;
  }
  return html + escaped(code.slice(end));
}
