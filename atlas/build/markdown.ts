/** READMEs and guides as HTML, with formulas set by KaTeX at build, so that pages need none of its script. */
import katex from 'katex';
import { Marked, type Tokens } from 'marked';
import { escaped, highlighted } from '../site/highlight';
import { Html } from '../site/html';

/** A part of a document under a heading of the second level; the first, without a title, is what comes before. */
export interface Section {
  readonly title: string;
  readonly body: Html;
}

/** Where something leads; undefined for nowhere. */
type Address = (target: string) => string | undefined;

/** Sections of a document: `link` gives where its relative links lead, `address` where code does that is a name. */
export function sectionsOf(text: string, link: Address, address: Address = () => undefined): Section[] {
  const marked = markedWith(link, address);
  const body = text.replace(/^# .*\n/, '').replace(/<!-- reproduce -->[\s\S]*?<!-- end -->/, '');
  return body.split(/^## /m).map((part, at) => {
    const [title = '', ...lines] = at === 0 ? ['', part] : part.split('\n');
    return { title: title.trim(), body: new Html(marked.parse(lines.join('\n')) as string) };
  });
}

/** A docstring. */
export function markdown(text: string, address: Address): Html {
  return new Html(markedWith((target) => target, address).parse(text) as string);
}

/** The id of a heading, as on GitHub. */
export const anchor = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');

/** About how wide a formula is, in ems, so that it can shrink to fit a narrow page. */
function widthOf(set: string): number {
  const shown = set.slice(set.indexOf('<span class="katex-html"')).replace(/<[^>]*>|&\w+;/g, '');
  const gaps = [...set.matchAll(/margin-right:([\d.]+)em/g)].reduce((sum, [, gap]) => sum + Number(gap), 0);
  return Math.round(0.56 * shown.length + gaps + 2);
}

function markedWith(link: Address, address: Address): Marked {
  const formula = (name: string, level: 'block' | 'inline', pattern: RegExp) => ({
    name,
    level,
    // Elsewhere a paragraph would be cut in two.
    start: (source: string) => (level === 'block' ? source.search(/^\$\$/m) : source.indexOf('$')),
    tokenizer(source: string) {
      const found = pattern.exec(source);
      return found ? { type: name, raw: found[0], text: found[1] } : undefined;
    },
    renderer: ({ text }: { text?: string }) => {
      const isBlock = level === 'block';
      // Equations side by side may stand below one another.
      const parts = isBlock && !/\\begin/.test(text!) ? text!.split('\\qquad') : [text!];
      const set = parts
        .map((part) => katex.renderToString(part, { displayMode: isBlock, output: 'htmlAndMathml' }))
        .map((part) => (isBlock ? `<div style="--ems:${widthOf(part)}">${part}</div>` : part))
        .join('');
      return isBlock ? `<div class="formula" tabindex="0" role="region" aria-label="formula">${set}</div>` : set;
    },
  });
  return new Marked({
    extensions: [
      formula('formulas', 'block', /^\$\$([\s\S]+?)\$\$/),
      formula('formula', 'inline', /^\$([^$\n]+?)\$(?!\d)/),
    ] as never,
    renderer: {
      link({ href, tokens }) {
        const text = this.parser.parseInline(tokens.map((token) => ({ ...token, isInLink: true })));
        const target = /^(https?:|#)/.test(href) ? href : link(href);
        return target === undefined ? text : `<a href="${target}">${text}</a>`;
      },
      codespan(token) {
        const { text, isInLink } = token as Tokens.Codespan & { isInLink?: true };
        const [, name] = /^(\w+)(?:\(.*\))?$/.exec(text) ?? [];
        const target = isInLink || !name ? undefined : address(name);
        const code = `<code>${escaped(text)}</code>`;
        return target ? `<a href="${target}">${code}</a>` : code;
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
      code: ({ text, lang }) => {
        const code = /^[jt]s/.test(lang ?? '') ? highlighted(text) : escaped(text);
        return `<div class="code"><pre tabindex="0"><code>${code}</code></pre></div>`;
      },
    },
  });
}
