/** The guide: the project's own documents, as pages. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { methods } from '../../src/methods/registry';
import { type Html, html } from './html';
import { anchor, sectionsOf } from './markdown';
import { folderOf, ROOT } from './standing';

/** Documents by the path of their page. */
const DOCUMENTS: Readonly<Record<string, string>> = {
  'guide/index.html': 'README.md',
  'guide/coming-from/index.html': 'docs/coming-from.md',
  'guide/nn/index.html': 'src/nn/README.md',
  'guide/train/index.html': 'src/train/README.md',
  'guide/decoder/index.html': 'src/models/decoder/README.md',
  'guide/platforms/index.html': 'docs/platforms.md',
};
/** Sections for those who work on the project. */
const INSIDE = ['Tests', 'More'];

export const guides = Object.entries(DOCUMENTS).filter(([, file]) => existsSync(resolve(ROOT, file)));

const titleIn = (text: string) => text.split('\n', 1)[0].replace('# ', '');
const read = (file: string) => readFileSync(resolve(ROOT, file), 'utf8');

/** What a page of the guide is called. */
export const guideTitle = (file: string) => (file === 'README.md' ? 'Guide' : titleIn(read(file)));

export function guidePage(path: string, file: string): Html {
  const [intro, ...sections] = sectionsOf(read(file), (target) => addressOf(target, path, file));
  const shown = sections.filter(({ title }) => !INSIDE.includes(title));
  const links = guides.map(
    ([other, source]) =>
      html`<li><a href="${relative(dirname(path), other)}"${other === path && html` aria-current="page"`}>${guideTitle(source)}</a></li>`,
  );
  return html`<div class="title plain"><div><h1>${guideTitle(file)}</h1><nav aria-label="Guide"><ul class="parts">${links}</ul></nav></div></div>
<section class="section"><nav aria-label="On this page"><ul class="contents">${shown.map(({ title }) => html`<li><a href="#${anchor(title)}">${title}</a></li>`)}</ul></nav><div class="prose">${intro.body}</div></section>
${shown.map(({ title, body }) => html`<section class="section"><h2 id="${anchor(title)}">${title}</h2><div class="prose">${body}</div></section>`)}`;
}

/** Where a link of a document leads in the atlas, as an address relative to the page; undefined for nowhere. */
export function addressOf(target: string, page: string, file: string): string | undefined {
  const [path, hash] = target.split('#') as [string, string?];
  const wanted = resolve(ROOT, dirname(file), path);
  const method = methods.find(({ name }) => resolve(folderOf(name), 'README.md') === wanted);
  const guide = guides.find(([, source]) => resolve(ROOT, source) === wanted);
  const to = method ? `methods/${method.name}/index.html` : guide?.[0];
  return to && `${relative(dirname(page), to)}${hash ? `#${hash}` : ''}`;
}
