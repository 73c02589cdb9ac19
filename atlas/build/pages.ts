/** Every page of the site by its path, and the feed. */
import { methods } from '../../src/methods/registry';
import { models } from '../../src/models/registry';
import { papers } from '../../src/papers';
import { findPaper } from '../../src/papers/find';
import { escaped } from '../site/highlight';
import { html } from '../site/html';
import { apiPages } from './api';
import { benchIndex, benchPages } from './bench-page';
import { choosePage } from './choose-page';
import { guidePages } from './guide';
import { indexPage } from './index-page';
import { layout, type Page } from './layout';
import { methodPage } from './method-page';
import { modelPage, modelPath } from './model-page';
import { paperPage, paperPath } from './paper-page';
import { paperOf, runs } from './standing';
import { modelTitle, titleOf } from './titles';

export function pages(): Map<string, string> {
  const all = new Map<string, Omit<Page, 'up'>>([
    [
      'index.html',
      {
        title: `Saccade atlas: ${papers.length} papers on efficient attention and kernel methods`,
        description:
          'Every paper on one page, every method live in the browser: masks, reach, cost, and what was measured.',
        script: 'list-page.ts',
        current: 'Methods',
        body: indexPage(),
      },
    ],
  ]);
  const add = (path: string, { title, ...page }: Omit<Page, 'up'>) =>
    all.set(path, { title: `${title}, Saccade atlas`, ...page });
  add('choose/index.html', {
    title: 'Choose attention',
    description: 'Which attention for your length, device and model: ranked, each with its reason.',
    script: 'choose-page.ts',
    current: 'Choose',
    body: choosePage(),
  });
  for (const { path, title, body } of guidePages()) {
    const description = `How to use Saccade: ${title}.`;
    add(path, { title, description, script: 'text-page.ts', current: 'Guide', body });
  }
  for (const { path, title, body } of apiPages()) {
    const description = `What ${title} has: functions, classes and types, with their shapes, options and errors.`;
    add(path, { title, description, script: 'api-page.ts', current: 'API', body });
  }
  add('benchmarks/index.html', {
    title: 'Benchmarks',
    description: 'Stored benchmark runs: what was measured, on which machine, and the command that repeats it.',
    script: 'text-page.ts',
    current: 'Benchmarks',
    body: benchIndex(),
  });
  for (const { suite, body } of benchPages()) {
    const [title, description] = [`Benchmark ${suite}`, `The stored runs of saccade bench ${suite}.`];
    add(`benchmarks/${suite}/index.html`, { title, description, script: 'bench-page.ts', current: 'Benchmarks', body });
  }
  const ofMethods = { current: 'Methods' } as const;
  for (const method of methods) {
    const { name, summary } = method;
    const [title, description, { family }] = [titleOf(method), `${name}: ${summary}`, paperOf(method)];
    const body = methodPage(method);
    add(`methods/${name}/index.html`, { ...ofMethods, title, description, script: 'method-page.ts', family, body });
  }
  for (const model of models) {
    const { name, summary } = model;
    const [title, description] = [modelTitle(model), `${name}: ${summary}`];
    const { family } = findPaper(model.paper) ?? {};
    const body = modelPage(model);
    add(modelPath(name), {
      ...ofMethods,
      title,
      description,
      script: 'model-page.ts',
      ...(family && { family }),
      body,
    });
  }
  for (const paper of papers) {
    const { id, name: title, summary: description, family } = paper;
    const body = paperPage(paper);
    add(paperPath(id), { ...ofMethods, title, description, script: 'text-page.ts', family, body });
  }
  add('404.html', {
    ...ofMethods,
    title: 'Not here',
    description: 'There is no such page.',
    script: 'text-page.ts',
    body: html`<div class="title plain"><div><h1>Nothing here</h1><p class="lede">There is no page at this address. The <a href="index.html">list of papers</a> has a search, the <a href="guide/index.html">guide</a> shows how to begin, and the <a href="api/index.html">API reference</a> has every name.</p></div></div>`,
  });
  const paths = new Set(all.keys());
  return new Map(
    [...all].map(([path, page]) => [path, layout({ ...page, up: '../'.repeat(path.split('/').length - 1) }, paths)]),
  );
}

/** Where the date of a run is not known. */
const BEGAN = '2026-11-01T00:00:00Z';
const updatedOf = (id: string) => runs.get(id)?.machine.date ?? BEGAN;

/** An entry for each method, model, paper and stored run, the newest first. Atom wants absolute names: URNs. */
export function feed(): string {
  const entries = [
    ...methods.map((method) => {
      const { name, summary } = method;
      const path = `methods/${name}/index.html`;
      return { id: `method:${name}`, title: name, path, updated: updatedOf(paperOf(method).id), summary };
    }),
    ...models.map(({ name, summary }) => {
      return { id: `model:${name}`, title: name, path: modelPath(name), updated: BEGAN, summary };
    }),
    ...papers.map(({ id, name, summary }) => {
      return { id: `paper:${id}`, title: name, path: paperPath(id), updated: updatedOf(id), summary };
    }),
    ...[...runs.values()].map(({ paper: { id }, findings, title }) => {
      const [said, path] = [`${id}: ${findings.length} claims measured`, `${paperPath(id)}#claims`];
      return { id: `run:${id}`, title: said, path, updated: updatedOf(id), summary: title };
    }),
  ].sort((a, b) => b.updated.localeCompare(a.updated));
  const written = entries.map(
    ({ id, title, path, updated, summary }) =>
      `<entry><id>urn:saccade:${id}</id><title>${escaped(title)}</title><link href="${path}"/><updated>${updated}</updated><summary>${escaped(summary)}</summary></entry>`,
  );
  return `<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><id>urn:saccade:atlas</id><title>Saccade atlas</title><subtitle>Papers, methods, models and results</subtitle><author><name>Saccade</name></author><link rel="self" href="feed.xml"/><link href="index.html"/><updated>${entries[0].updated}</updated>
${written.join('\n')}
</feed>
`;
}
