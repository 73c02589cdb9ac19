/** The frame of every page. */
import { Html, html } from '../site/html';
import { POLICY, THEME_SCRIPT } from './policy';
import { placeOf } from './sprite';

export interface Page {
  readonly title: string;
  readonly description: string;
  /** The way up to the root, such as `../../`; empty at the root. */
  readonly up: string;
  /** The script of the page, below `site/`. */
  readonly script: string;
  /** The link of `LINKS` that leads to this page. */
  readonly current: keyof typeof LINKS;
  readonly family?: string;
  readonly body: Html;
}

const LINKS = {
  Methods: 'index.html',
  Choose: 'choose/index.html',
  Guide: 'guide/index.html',
  API: 'api/index.html',
  Benchmarks: 'benchmarks/index.html',
} as const;

export const slug = (text: string) => text.replaceAll(' ', '-');

export function glyphBox(id: string, label?: string, place = placeOf(id)): Html {
  const named = label ? html`role="img" aria-label="${label}"` : html`aria-hidden="true"`;
  return html`<span class="glyph" style="${place}" ${named}></span>`;
}

export function layout(
  { title, description, up, script, current, family, body }: Page,
  pages: ReadonlySet<string>,
): string {
  const links = Object.entries(LINKS).filter(([, path]) => pages.has(path));
  const page = html`<!doctype html>
<html lang="en" data-up="${up}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Html(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<meta name="description" content="${description}">
<link rel="stylesheet" href="/site/style.css">
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M0 0v16h16z' fill='%230a6a8a'/%3E%3C/svg%3E">
<link rel="alternate" type="application/atom+xml" title="Saccade atlas" href="${up}feed.xml" data-plain>
<script>${new Html(THEME_SCRIPT)}</script>
<script type="module" src="/site/${script}"></script>
</head>
<body${family && html` data-family="${slug(family)}"`}>
<a class="hidden" href="#main">Skip to the content</a>
<div class="page">
<header class="top">
  <a class="wordmark" href="${up}index.html" aria-label="Saccade atlas, front page"><svg viewBox="0 0 46 20" aria-hidden="true"><path d="M3 15a3 3 0 0 1 6 0 6 6 0 0 1 12 0 11 11 0 0 1 22 0"/><circle cx="3" cy="15" r="2"/><circle cx="9" cy="15" r="2"/><circle cx="21" cy="15" r="2"/><circle cx="43" cy="15" r="2"/></svg>Saccade atlas</a>
  <nav aria-label="Atlas"><ul>${links.map(([name, path]) => html`<li><a href="${up}${path}"${name === current && html` aria-current="page"`}>${name}</a></li>`)}</ul></nav>
  <button class="theme" type="button">Dark</button>
</header>
<main id="main">
${body}
</main>
<footer class="notes quiet" id="notes" role="status"></footer>
</div>
</body>
</html>
`;
  return page.text;
}
