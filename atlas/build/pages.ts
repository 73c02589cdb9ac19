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
  const all = new Map<string, Omit<Page, 'up'>>();
  all.set('index.html', {
    title: `Saccade atlas: ${papers.length} papers on efficient attention and kernel methods`,
    description:
      'Every paper on one page, every method live in the browser: masks, reach, cost, and what was measured.',
    script: 'list-page.ts',
    current: 'Methods',
    body: indexPage(),
  });
  all.set('choose/index.html', {
    title: 'Choose attention, Saccade atlas',
    description: 'Which attention for your length, device and model: ranked, each with its reason.',
    script: 'choose-page.ts',
    current: 'Choose',
    body: choosePage(),
  });
  for (const { path, title, body } of guidePages()) {
    all.set(path, {
      title: `${title}, Saccade atlas`,
      description: `How to use Saccade: ${title}.`,
      script: 'text-page.ts',
      current: 'Guide',
      body,
    });
  }
  for (const { path, title, body } of apiPages()) {
    all.set(path, {
      title: `${title}, Saccade atlas`,
      description: `What ${title} has: functions, classes and types, with their shapes, options and errors.`,
      script: 'api-page.ts',
      current: 'API',
      body,
    });
  }
  all.set('benchmarks/index.html', {
    title: 'Benchmarks, Saccade atlas',
    description: 'Stored benchmark runs: what was measured, on which machine, and the command that repeats it.',
    script: 'text-page.ts',
    current: 'Benchmarks',
    body: benchIndex(),
  });
  for (const { suite, body } of benchPages()) {
    all.set(`benchmarks/${suite}/index.html`, {
      title: `Benchmark ${suite}, Saccade atlas`,
      description: `The stored runs of saccade bench ${suite}.`,
      script: 'bench-page.ts',
      current: 'Benchmarks',
      body,
    });
  }
  for (const method of methods) {
    all.set(`methods/${method.name}/index.html`, {
      title: `${titleOf(method)}, Saccade atlas`,
      description: `${method.name}: ${method.summary}`,
      script: 'method-page.ts',
      current: 'Methods',
      family: paperOf(method).family,
      body: methodPage(method),
    });
  }
  for (const model of models) {
    all.set(modelPath(model.name), {
      title: `${modelTitle(model)}, Saccade atlas`,
      description: `${model.name}: ${model.summary}`,
      script: 'model-page.ts',
      current: 'Methods',
      ...(findPaper(model.paper) && { family: findPaper(model.paper)!.family }),
      body: modelPage(model),
    });
  }
  for (const paper of papers) {
    all.set(paperPath(paper.id), {
      title: `${paper.name}, Saccade atlas`,
      description: paper.summary,
      script: 'text-page.ts',
      current: 'Methods',
      family: paper.family,
      body: paperPage(paper),
    });
  }
  all.set('404.html', {
    title: 'Not here, Saccade atlas',
    description: 'There is no such page.',
    script: 'text-page.ts',
    current: 'Methods',
    body: html`<div class="title plain"><div><h1>Nothing here</h1><p class="lede">There is no page at this address. The <a href="index.html">list of papers</a> has a search, the <a href="guide/index.html">guide</a> shows how to begin, and the <a href="api/index.html">API reference</a> has every name.</p></div></div>`,
  });
  const paths = new Set(all.keys());
  return new Map(
    [...all].map(([path, page]) => [path, layout({ ...page, up: '../'.repeat(path.split('/').length - 1) }, paths)]),
  );
}

/** An entry for each method, model, paper and stored run, the newest first. Atom wants absolute names: URNs. */
export function feed(): string {
  const began = '2026-11-01T00:00:00Z';
  const entry = (id: string, title: string, path: string, updated: string, summary: string) =>
    `<entry><id>urn:saccade:${id}</id><title>${escaped(title)}</title><link href="${path}"/><updated>${updated}</updated><summary>${escaped(summary)}</summary></entry>`;
  const results = [...runs.values()].map(({ paper, findings, machine: { date }, title }) => ({
    updated: date,
    text: entry(
      `run:${paper.id}`,
      `${paper.id}: ${findings.length} claims measured`,
      `${paperPath(paper.id)}#claims`,
      date,
      title,
    ),
  }));
  const added = methods.map((method) => {
    const { name, summary } = method;
    const updated = runs.get(paperOf(method).id)?.machine.date ?? began;
    return { updated, text: entry(`method:${name}`, name, `methods/${name}/index.html`, updated, summary) };
  });
  const listed = papers.map(({ id, name, summary }) => ({
    updated: runs.get(id)?.machine.date ?? began,
    text: entry(`paper:${id}`, name, paperPath(id), runs.get(id)?.machine.date ?? began, summary),
  }));
  const networks = models.map(({ name, summary }) => ({
    updated: began,
    text: entry(`model:${name}`, name, modelPath(name), began, summary),
  }));
  const entries = [...added, ...networks, ...listed, ...results].sort((a, b) => b.updated.localeCompare(a.updated));
  return `<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><id>urn:saccade:atlas</id><title>Saccade atlas</title><subtitle>Papers, methods, models and results</subtitle><author><name>Saccade</name></author><link rel="self" href="feed.xml"/><link href="index.html"/><updated>${entries[0].updated}</updated>
${entries.map(({ text }) => text).join('\n')}
</feed>
`;
}
