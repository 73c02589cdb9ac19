/** The guide: the project's own documents, as pages. */
import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { methods } from '../../src/methods/registry';
import { type Html, html } from '../site/html';
import { apiAddress } from './api';
import { exampleBox, examples } from './examples';
import { anchor, sectionsOf } from './markdown';
import { folderOf, ROOT } from './standing';

/** Documents by the path of their page, in the order of the guide. */
const DOCUMENTS: Readonly<Record<string, string>> = {
  'guide/index.html': 'docs/guide/README.md',
  'guide/runtimes/index.html': 'docs/guide/runtimes.md',
  'guide/tensors/index.html': 'docs/guide/tensors.md',
  'guide/weights/index.html': 'docs/guide/weights.md',
  'guide/language-models/index.html': 'docs/guide/language-models.md',
  'guide/pictures/index.html': 'docs/guide/pictures.md',
  'guide/masks-and-scores/index.html': 'docs/guide/masks-and-scores.md',
  'guide/linear-attention/index.html': 'docs/guide/linear-attention.md',
  'guide/kernels/index.html': 'docs/guide/kernels.md',
  'guide/decoding/index.html': 'docs/guide/decoding.md',
  'guide/gradients/index.html': 'docs/guide/gradients.md',
  'guide/own-method/index.html': 'docs/guide/own-method.md',
  'guide/nn/index.html': 'src/nn/README.md',
  'guide/train/index.html': 'src/train/README.md',
  'guide/models/index.html': 'src/models/README.md',
  'guide/decoder/index.html': 'src/models/decoder/README.md',
  'guide/webgpu/index.html': 'docs/guide/webgpu.md',
  'guide/bundlers/index.html': 'docs/guide/bundlers.md',
  'guide/workers/index.html': 'docs/guide/workers.md',
  'guide/ranks/index.html': 'docs/guide/ranks.md',
  'guide/command-line/index.html': 'docs/guide/command-line.md',
  'guide/coming-from/index.html': 'docs/coming-from.md',
  'guide/platforms/index.html': 'docs/platforms.md',
};
const EXAMPLES = 'guide/examples/index.html';

interface GuidePage {
  readonly path: string;
  readonly title: string;
  readonly body: Html;
}

const read = (file: string) => readFileSync(resolve(ROOT, file), 'utf8');
const documents = Object.entries(DOCUMENTS).map(([path, file]) => {
  const text = read(file);
  return { path, file, text, title: text.split('\n', 1)[0].replace('# ', '') };
});
const all = [...documents, { path: EXAMPLES, title: 'Examples' }];

export function guidePages(): GuidePage[] {
  const pages = documents.map(({ path, file, text, title }) => {
    const [intro, ...sections] = sectionsOf(
      withExamples(text),
      (target) => addressOf(target, path, file),
      (name) => apiAddress(name, path),
    );
    return page(path, title, intro.body, sections);
  });
  const sections = examples.map(({ name, source }) => ({ title: name, body: exampleBox({ name, source }) }));
  const intro = html`<p>Each runs unchanged in this page, where a worker imports it and its output appears below, and in Node. <code>npm install saccade</code>, then <code>node attention.ts</code>.</p>`;
  return [...pages, page(EXAMPLES, 'Examples', intro, sections)];
}

function page(path: string, title: string, intro: Html, sections: readonly { title: string; body: Html }[]): GuidePage {
  const parts = html`<ul>${sections.map((section) => html`<li><a href="#${anchor(section.title)}">${section.title}</a></li>`)}</ul>`;
  const links = all.map((other) => {
    const isHere = other.path === path;
    return html`<li><a href="${relative(dirname(path), other.path)}"${isHere && html` aria-current="page"`}>${other.title}</a>${isHere && sections.length > 1 && parts}</li>`;
  });
  const body = html`<div class="title plain"><h1>${title}</h1></div>
<div class="document"><nav class="side" aria-label="Guide"><ul class="contents">${links}</ul></nav>
<div class="prose">${intro}${sections.map((section) => html`<h2 id="${anchor(section.title)}">${section.title}</h2>${section.body}`)}</div></div>`;
  return { path, title, body };
}

/** Where a paragraph is a link to an example, the example itself. */
function withExamples(text: string): string {
  return text.replace(/^\[[^\]]*\]\(\.\.\/\.\.\/examples\/([\w-]+)\.ts\)$/gm, (link, wanted) => {
    const example = examples.find(({ name }) => name === wanted);
    // On one line, since Markdown's blocks of HTML end at an empty one.
    return example ? exampleBox(example).text.replaceAll('\n', '&#10;') : link;
  });
}

/** Where a link of a document leads in the atlas, as an address relative to the page; undefined for nowhere. */
export function addressOf(target: string, page: string, file: string): string | undefined {
  const [path, hash] = target.split('#') as [string, string?];
  const wanted = resolve(ROOT, dirname(file), path);
  const method = methods.find(({ name }) => resolve(folderOf(name), 'README.md') === wanted);
  const guide = documents.find(({ file }) => resolve(ROOT, file) === wanted);
  const to = method ? `methods/${method.name}/index.html` : guide?.path;
  return to && `${relative(dirname(page), to)}${hash ? `#${hash}` : ''}`;
}
