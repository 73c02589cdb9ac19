/** HTML as text: what is put into a template is escaped, unless it is HTML itself. */
import { escaped } from './highlight';

export class Html {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

type Value = Html | string | number | false | undefined | readonly Value[];

export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(strings.reduce((text, part, at) => text + textOf(values[at - 1]) + part));
}

/** What a template says, as an element of the page. */
export function element<E extends Element = HTMLElement>({ text }: Html): E {
  const template = document.createElement('template');
  template.innerHTML = text;
  return template.content.firstElementChild as E;
}

function textOf(value: Value): string {
  if (value === false || value === undefined) return '';
  if (value instanceof Html) return value.text;
  return Array.isArray(value) ? value.map(textOf).join('') : escaped(String(value));
}
