/** READMEs and guides as HTML, with formulas set by KaTeX at build, so that pages need none of its script. */
import katex from 'katex';
import { Marked } from 'marked';
import { Html } from './html';

/** A part of a document under a heading of the second level; the first, without a title, is what comes before. */
export interface Section {
  readonly title: string;
  readonly body: Html;
}

/** Sections of a document; `link` gives the address that a relative link becomes, or undefined for none. */
export function sectionsOf(text: string, link: (target: string) => string | undefined): Section[] {
  const marked = markedWith(link);
  const body = text.replace(/^# .*\n/, '').replace(/<!-- reproduce -->[\s\S]*?<!-- end -->/, '');
  return body.split(/^## /m).map((part, at) => {
    const [title = '', ...lines] = at === 0 ? ['', part] : part.split('\n');
    return { title: title.trim(), body: new Html(marked.parse(lines.join('\n')) as string) };
  });
}

/** A docstring; `address` gives where code leads that is the name of an export. */
export function markdown(text: string, address: (name: string) => string | undefined): Html {
  const linked = text.replace(/`(\w+)(\(\))?`/g, (code, name) => {
    const target = address(name);
    return target ? `[${code}](${target})` : code;
  });
  return new Html(markedWith((target) => target).parse(linked) as string);
}

/** The id of a heading, as on GitHub. */
export const anchor = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');

function markedWith(link: (target: string) => string | undefined): Marked {
  const formula = (name: string, level: 'block' | 'inline', pattern: RegExp) => ({
    name,
    level,
    start: (source: string) => source.indexOf('$'),
    tokenizer(source: string) {
      const found = pattern.exec(source);
      return found ? { type: name, raw: found[0], text: found[1] } : undefined;
    },
    renderer: ({ text }: { text?: string }) => {
      const set = katex.renderToString(text as string, { displayMode: level === 'block', output: 'htmlAndMathml' });
      return level === 'block'
        ? `<div class="formula" tabindex="0" role="region" aria-label="formula">${set}</div>`
        : set;
    },
  });
  return new Marked({
    extensions: [
      formula('formulas', 'block', /^\$\$([\s\S]+?)\$\$/),
      formula('formula', 'inline', /^\$([^$\n]+?)\$(?!\d)/),
    ] as never,
    renderer: {
      link({ href, tokens }) {
        const text = this.parser.parseInline(tokens);
        const target = /^(https?:|#)/.test(href) ? href : link(href);
        return target === undefined ? text : `<a href="${target}">${text}</a>`;
      },
      heading({ depth, tokens, text }) {
        return `<h${depth} id="${anchor(text)}">${this.parser.parseInline(tokens)}</h${depth}>`;
      },
      image: () => '',
      table(token) {
        const row = (cells: typeof token.header, tag: string) =>
          `<tr>${cells.map((cell) => `<${tag}>${this.parser.parseInline(cell.tokens)}</${tag}>`).join('')}</tr>`;
        const head = `<thead>${row(token.header, 'th')}</thead>`;
        const rows = token.rows.map((cells) => row(cells, 'td')).join('');
        return `<div class="scroll" tabindex="0" role="region" aria-label="table"><table class="table plain">${head}<tbody>${rows}</tbody></table></div>`;
      },
      code: ({ text }) =>
        `<div class="code"><pre tabindex="0"><code>${text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`)}</code></pre></div>`,
    },
  });
}
